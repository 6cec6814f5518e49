"""Engines: what one must do (protocol), models by name (registry), and the kinds there are: hf, vllm, server.

The kinds are the only code that knows torch and its friends. Nobody imports them: the registry loads one by name.
"""

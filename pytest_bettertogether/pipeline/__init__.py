"""What users write and what is known of it before anything runs: programs, data, metrics, strategies, recipes, prompts.

Knows the standard library alone: no engine, no file format but its own, no pytest.
"""

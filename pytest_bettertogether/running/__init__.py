"""Running programs: all examples of a split in lock-step on an engine, prompt forms at work, evaluation, progress.

Knows programs and the engines' protocol; nothing of steps, cells, files or pytest.
"""

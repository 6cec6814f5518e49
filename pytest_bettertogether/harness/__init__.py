"""lm-eval, both ways: its tasks as ours (task.py) and beside ours (measuring.py), our engines as its models (lm.py).

Nothing here imports lm-eval when it is loaded, but for lm.py, which is imported by name when a task runs.
"""

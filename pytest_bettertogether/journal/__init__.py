"""What has been paid for: completions and adapters on disk, replayed instead of computed again; the session's budget.

Knows the engines' protocol, and nothing of programs, steps or cells.
"""

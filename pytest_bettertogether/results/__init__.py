"""What a run leaves behind: results of cells, how cells ended, traces, side effects; plain data, JSON and back.

Knows the standard library alone, and nothing of who made a result or who will show it.
"""

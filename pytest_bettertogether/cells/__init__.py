"""Cells, task x model x strategy: where optimisation, engines and results meet. Running, planning, exporting them.

Knows everything below it; nothing of pytest or of how results are shown.
"""

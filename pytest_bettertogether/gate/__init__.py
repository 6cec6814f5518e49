"""Baselines and statistics: is this result worse than that one?"""

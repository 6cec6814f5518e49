"""The console command `bettertogether`: reports out of files, comparisons, upkeep of the journal.

Translates command lines into calls, decides nothing.
"""

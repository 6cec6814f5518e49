"""The errors whose text is for the user: what happened, where, what is allowed, what to type next.

    BetterTogetherError
    ├── DataError        splits that overlap, are empty, or lack a field the program takes
    ├── ProgramError     the user's forward raised, or cannot be run
    ├── MetricError      the user's metric raised, or returned no score
    ├── StepError        a step of somebody else's raised, or did what it does not say of itself
    ├── BackendError     an engine could not do what was asked
    ├── JournalError     the journal cannot be read or written
    ├── BudgetError      the session has spent what it may
    └── BaselineError    a baseline is missing, stale or unreadable

Any other exception that leaves this package is a mistake in it, and keeps its traceback.
"""


class BetterTogetherError(Exception):
    """A fault that the user can mend. Never a score."""


class DataError(BetterTogetherError, ValueError):
    """The data cannot be used as splits, or not by this program."""


class ProgramError(BetterTogetherError):
    """The user's `forward` raised, returned something else than a prediction, or never called the model."""


class MetricError(BetterTogetherError):
    """The user's metric raised or returned something that is no score."""


class StepError(BetterTogetherError):
    """A step raised, returned something else than an outcome, or changed what it does not say that it changes."""


class BackendError(BetterTogetherError):
    """An engine could not do what was asked."""


class JournalError(BetterTogetherError):
    """The journal cannot be used."""


class BudgetError(BetterTogetherError):
    """The session has spent what it may; no fault of the cell that it stops."""


class BaselineError(BetterTogetherError):
    """A baseline is missing, stale or unreadable."""

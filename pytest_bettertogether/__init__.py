"""pytest-bettertogether: optimise language-model programs, evaluate them, gate CI on the result.

PYTEST_DONT_REWRITE: there are no asserts here, and a suite's helper may import this before pytest does.
"""

from .data import Example, Splits, Task
from .metrics import exact_match
from .program import ChainOfThought, Field, Predict, Prediction, Program, Signature
from .prompt import Unparsable

__all__ = [
    "ChainOfThought",
    "Example",
    "Field",
    "Predict",
    "Prediction",
    "Program",
    "Signature",
    "Splits",
    "Task",
    "Unparsable",
    "exact_match",
]

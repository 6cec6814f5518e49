"""T and V: the two parts of train that a search works with."""

from collections.abc import Sequence
from random import Random

from ..pipeline.data import Example
from ..pipeline.errors import DataError
from ..pipeline.recipe import PromptSearch


def divide(
    train: Sequence[Example], recipe: PromptSearch, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Cut a shuffled train into T (traces) and V (scores); a train too small for both sizes is cut 3 : 7."""
    if len(train) < 2:
        raise DataError("a search needs at least two training examples: one to make demos of, one to score them on")
    shuffled = list(train)
    Random(seed).shuffle(shuffled)
    cut = recipe.traces
    if recipe.traces + recipe.valid > len(train):
        cut = max(1, len(train) * 3 // 10)
    return tuple(shuffled[:cut]), tuple(shuffled[cut : cut + recipe.valid])

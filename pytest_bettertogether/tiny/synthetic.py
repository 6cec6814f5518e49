"""Training sequences: synthetic tasks in the product's format, every name, meaning and number drawn anew.

Nothing in a task can be known beforehand, so the only way to a right answer is to read the
prompt, and that is the habit which pre-training is to leave behind.
"""

import random
from dataclasses import dataclass
from typing import Protocol, Self

from .words import HELD_OUT


@dataclass(frozen=True)
class Sample:
    """One training sequence: which of its assistant turns are targets, all of them or only the last."""

    text: str
    last_only: bool = False


class Shape(Protocol):
    """What kind of task, how hard, and how much template around it."""

    @property
    def form(self) -> str:
        """How much of the format stands around a task; "chat" is all of it."""

    @property
    def rows(self) -> int:
        """Rows of a sequence: the demos and the question."""

    def narrowed(self, rng: random.Random) -> Self:
        """The same, with a choice made for all sequences of a batch, so that they are about as long."""

    def shortened(self, rows: int) -> Self:
        """The same with so many rows."""

    def draw(self, rng: random.Random) -> Sample:
        """A sequence of a new task."""


def draw_sample(shape: Shape, rng: random.Random) -> Sample:
    """A sequence of a new task, without any of the words that are left to the suites."""
    while True:
        sample = shape.draw(rng)
        text = sample.text.lower()
        if not any(word in text for word in HELD_OUT):
            return sample

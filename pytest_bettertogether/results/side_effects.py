"""What else a model can do: lm-eval tasks measured on the base model and on what optimisation made of it, paired."""

from dataclasses import dataclass, replace
from typing import Literal

from .statuses import Verdict

Rows = tuple[tuple[float, ...], ...]
"""Scores within 0...1, [seed][document]."""


@dataclass(frozen=True)
class BaseModel:
    """The right-hand side of `result.harness([...]) >= base_model(within=1)`."""

    margin: float
    """The drop, within 0...1, that may not be exceeded."""


def base_model(within: float = 0.0) -> BaseModel:
    """What the model could do before it was tuned, less `within` points of each task's score (0 to 100).

    Raises ValueError for points that are none.
    """
    if not 0 <= within < 100:
        raise ValueError(f"base_model(within={within!r}): expected points of the score from 0 to 100, as in 1")
    return BaseModel(within / 100)


@dataclass(frozen=True)
class SideEffectGate:
    """One comparison of an ability; scores and differences within 0...1."""

    against: Literal["base", "baseline"]
    verdict: Verdict
    before: float
    difference: float
    interval: tuple[float, float]
    """Of the difference, 95 %."""
    p_value: float
    alpha: float
    margin: float
    """The drop that had to be exceeded."""
    detectable: float | None
    """The smallest drop that the test would find with 80 % probability, or None if it finds none."""
    test: str


@dataclass(frozen=True)
class SideEffect:
    """One lm-eval task: what each document scored on the base model, and on the tuned ones, one per seed."""

    task: str
    metric: str
    """lm-eval's key: metric and filter, as in `acc,none`."""
    ids: tuple[str, ...]
    before: Rows
    after: Rows
    identity: dict[str, str]
    """What must be equal for two measurements to be compared: documents, prompts, filters, metric."""
    provenance: dict[str, str]
    """Model, revision, adapters, program, version of lm-eval."""
    gates: tuple[SideEffectGate, ...] = ()

    @property
    def score(self) -> float:
        """Mean over seeds and documents, now; within 0...1."""
        return _mean(self.after)

    @property
    def base(self) -> float:
        """The same of the base model."""
        return _mean(self.before)

    @property
    def n(self) -> int:
        """Documents."""
        return len(self.ids)

    def judged(self, gate: SideEffectGate) -> "SideEffect":
        """With one comparison more; it takes the place of an earlier one against the same."""
        return replace(self, gates=(*(kept for kept in self.gates if kept.against != gate.against), gate))


def _mean(rows: Rows) -> float:
    means = [sum(row) / len(row) for row in rows]
    return sum(means) / len(means)

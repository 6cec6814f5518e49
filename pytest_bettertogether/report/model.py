"""The read model of all reports: all that is to be shown, as plain values that outlets print.

`building.build` makes it, once, from the records. No outlet computes: whatever takes statistics, an order or a decision
(intervals, who is best, what a gate said, what a run cost, which sentences stand below the tables) is in here already,
so that two outlets cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..pipeline.steps import Kinds
from ..results.cell_records import CellRecord, GateRecord
from ..results.cell_results import CellResult
from ..results.side_effects import SideEffect
from ..results.statuses import NOT_RUN, STATUSES, StatusFacts
from .best_of_column import Place
from .cost import Cost
from .factorial import Factorial
from .gains import Gain
from .learning import Reading

NEAR = 0.0005
"""How far, within 0...1, an interval's middle may lie from its score for `score ± half` to be that interval: below
what one decimal of a per cent shows."""


@dataclass(frozen=True)
class Score:
    """A cell's mean score and its 95 % interval, over test examples and seeds, within 0...1."""

    mean: float
    low: float
    high: float

    @property
    def symmetric(self) -> bool:
        """Whether `score ± half` says what the interval says."""
        return abs((self.low + self.high) / 2 - self.mean) < NEAR

    def text(self, symmetric: bool) -> str:
        """For a table, in per cent: `43.3 ± 18.2`, or `43.3 [25.6, 62.0]` where that is to hold for every cell."""
        if symmetric:
            return f"{100 * self.mean:.1f} ± {50 * (self.high - self.low):4.1f}"
        return f"{100 * self.mean:.1f} [{100 * self.low:4.1f}, {100 * self.high:4.1f}]"


@dataclass(frozen=True)
class SideEffectView:
    """An lm-eval task on the base model and after tuning; the difference with its 95 % interval, within -1...1."""

    measured: SideEffect
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class CellView:
    """One cell as every outlet shows it."""

    record: CellRecord
    """All that is known of it, for outlets that carry everything."""
    title: str
    """Its strategy, for people: `p → w → p`."""
    score: Score | None
    """None for a cell that did not run, broke or was refused."""
    place: Place
    """best: the highest score of its task and model among cells that did not fail; tied: not significantly below it."""
    cost: Cost | None
    """What it takes to compute; None without a result."""
    side_effects: tuple[SideEffectView, ...]

    @property
    def id(self) -> str:
        """The form for people: `iris[tiny-pwp]`."""
        return self.record.id

    @property
    def facts(self) -> StatusFacts:
        """What its status means, and how it is shown."""
        return STATUSES[self.record.status]

    @property
    def in_place(self) -> tuple[StatusFacts, ...]:
        """The statuses whose signs stand in place of its score: refused, and what came of that for its test."""
        if self.result and self.result.refused and self.record.status != "invalid":
            return (STATUSES["refused"], self.facts) if self.facts.colour == "bad" else (STATUSES["refused"],)
        return (self.facts if self.facts.sign else NOT_RUN,)

    @property
    def result(self) -> CellResult | None:
        """What its seeds came to, if the run got that far."""
        return self.record.result

    @property
    def scored(self) -> CellResult | None:
        """Its result, if that has a score that may be shown."""
        return self.result if self.score else None

    @property
    def unparsable(self) -> int:
        """Examples, over all seeds, on whose way a completion could not be parsed."""
        seeds = self.result.seeds if self.result else ()
        return sum(example.unparsable for seed in seeds for example in seed.examples)

    @property
    def compared(self) -> str:
        """What the comparison with the baseline came to, in a sentence; empty without one."""
        gate = self.record.gate
        if gate is None or gate.difference is None or gate.baseline is None:
            return ""
        return (
            f"{100 * (gate.baseline + gate.difference):.1f} % against {100 * gate.baseline:.1f} % in the baseline "
            f"({100 * gate.difference:+.1f} points), {len(gate.broken)} examples broken, {len(gate.fixed)} fixed"
        )

    @property
    def gate(self) -> GateRecord | None:
        """The comparison with its baseline, if a test was made."""
        return self.record.gate if self.record.gate and self.record.gate.p_value is not None else None


@dataclass(frozen=True)
class TaskView:
    """One task on one model: its cells, and the scores of all programs on the way."""

    task: str
    model: str
    cells: tuple[CellView, ...]
    readings: tuple[Reading, ...]

    @property
    def results(self) -> list[CellResult]:
        """Those with scores."""
        return [cell.scored for cell in self.cells if cell.scored]


@dataclass(frozen=True)
class ModelView:
    """One model's table: strategies down, tasks across."""

    name: str
    tasks: tuple[str, ...]
    strategies: tuple[str, ...]
    cells: Mapping[tuple[str, str], CellView]
    """By strategy and task; those that no test ran are missing."""


@dataclass(frozen=True)
class Notes:
    """The sentences below the tables. What others wrote in them is inert; an outlet escapes its own markup besides."""

    legend: tuple[str, ...]
    """What numbers and signs mean."""
    remarks: tuple[str, ...]
    """Why cells have no score, and what looks wrong about those that have one."""
    seeds: tuple[str, ...]
    """What the means hide: a line per cell."""
    detectable: tuple[str, ...]
    """What the gates of the run were able to see."""
    cost: tuple[str, ...]
    """What the cells take to compute, and what the run paid of it."""


@dataclass(frozen=True)
class Report:
    """All that reports show of a run."""

    cells: tuple[CellView, ...]
    models: tuple[ModelView, ...]
    tasks: tuple[TaskView, ...]
    """Those with scores."""
    gains: tuple[Gain, ...]
    factorials: tuple[Factorial, ...]
    symmetric: bool
    """Whether every score's interval is told by `score ± half`: one form for all cells of a report."""
    headline: str
    """The verdict in a line."""
    notes: Notes
    run: Mapping[str, Any]
    """When, where and with which options."""
    kinds: Kinds
    """The built-in kinds of step, and the others that its strategies name."""

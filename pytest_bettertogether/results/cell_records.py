"""How cells ended, as reports show them: frozen records that go to JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..pipeline.json_values import from_json
from ..pipeline.steps import StepKind
from .cell_results import CellResult, Usage
from .side_effects import SideEffect
from .statuses import Mode, Status, Verdict


@dataclass(frozen=True)
class GateRecord:
    """A comparison with the baseline: scores within 0...1, and which examples changed (mean over seeds)."""

    mode: Mode
    alpha: float
    gated: bool = False
    """Whether the suite gates the cell, whatever the mode."""
    verdict: Verdict = "holds"
    baseline: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    """Of the difference, 95 %."""
    p_value: float | None = None
    test: str = ""
    margin: float = 0.0
    """The drop that had to be exceeded."""
    detectable: float | None = None
    """The smallest drop that the test would find with 80 % probability, or None if it finds none."""
    broken: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    before: tuple[float, ...] = ()
    """The baseline's score of each test example, mean over its seeds."""


@dataclass(frozen=True)
class Paid:
    """What this run itself spent on a cell; the rest was shared or came out of the journal."""

    usage: Usage = field(default_factory=Usage)
    train_steps: int = 0
    seconds: float = 0.0
    halved: int = 0
    """Batches, of prompts or of training rows, that did not fit into memory and were computed in smaller ones."""

    def __add__(self, other: "Paid") -> "Paid":
        return Paid(
            self.usage + other.usage,
            self.train_steps + other.train_steps,
            self.seconds + other.seconds,
            self.halved + other.halved,
        )


@dataclass(frozen=True)
class CellRecord:
    """One cell as reports show it: how it ended and why, its result if it has one, the verdict, the cost."""

    task: str
    model: str
    strategy: str
    status: Status
    reason: str = ""
    result: CellResult | None = None
    gate: GateRecord | None = None
    paid: Paid = field(default_factory=Paid)
    baselines: str = ""
    """The file that holds its task's baselines."""
    nodeid: str = ""
    """The test's id, and below where it is written: the file, relative to the rootdir, and the line, from 1."""
    file: str = ""
    line: int = 0
    side_effects: tuple[SideEffect, ...] = ()
    """What else changed: lm-eval tasks that its test has measured."""
    kinds: tuple[StepKind, ...] = ()
    """What those steps of its strategy say of themselves that are not built in."""

    @property
    def id(self) -> str:
        """The form for people: `iris[tiny-pwp]`."""
        return f"{self.task}[{self.model}-{self.strategy}]"

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, for the way from an xdist worker; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CellRecord":
        """Read what `to_json` wrote."""
        return from_json(CellRecord, data)

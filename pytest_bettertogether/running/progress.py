"""Progress of a cell: counts what is done and estimates what is left; who sees it is somebody else's business."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Snapshot:
    """Where a cell is at one moment, as plain values that can be sent to another process."""

    cell: str = ""
    """As in `iris[tiny-pwp] seed 0`."""
    stage: str = ""
    """The step of the strategy, by its path (`pw`), or what else is being done, as in `test`."""
    detail: str = ""
    """What the stage is at, as in `candidate 3 of 9`."""
    done: int = 0
    total: int = 0
    """How much there is to do in the stage; 0 where that is not known."""
    unit: str = "runs"
    """What `done` and `total` count: program runs, or the steps of a training."""
    at_most: bool = False
    """The stage may be over before `total` is reached."""
    rate: float = 0.0
    """New tokens per second, or training steps per second; 0 where there is none yet."""
    loss: float | None = None
    """Of the last training step, per completion token."""
    left: float | None = None
    """Seconds that the stage takes from this moment on, if it goes on as it went; None where nothing tells."""


def nobody(_snapshot: Snapshot) -> None:
    """Look away."""


@dataclass
class Progress:
    """Tells `show` where the cell is at each advance; by default nobody looks.

    The clock runs per stage: the part of a step that makes program runs, its training, or an evaluation.
    """

    show: Callable[[Snapshot], None] = nobody
    clock: Callable[[], float] = time.monotonic
    cell: str = ""
    _stage: str = ""
    _detail: str = ""
    _unit: str = "runs"
    _at_most: bool = False
    _began: float = 0.0
    _from: int = 0
    """What was done already when the clock of the stage began."""
    _done: int = 0
    _total: int = 0
    _tokens: int = 0
    _loss: float | None = None

    def begin(self, stage: str, total: int, at_most: bool = False) -> None:
        """Start a stage of `total` program runs, or fewer where that is only a bound."""
        self._stage, self._total, self._at_most, self._detail, self._unit = stage, total, at_most, "", "runs"
        self._done = self._tokens = self._from = 0
        self._loss = None
        self._began = self.clock()
        self._tell()

    def detail(self, text: str) -> None:
        """Say what the stage is at, as in `candidate 3 of 9`."""
        self._detail = text
        self._tell()

    def generated(self, tokens: int) -> None:
        """Count new tokens."""
        self._tokens += tokens
        self._tell()

    def advance(self, runs: int) -> None:
        """Count program runs that are finished."""
        self._done += runs
        self._tell()

    def trained(self, step: int, steps: int, loss: float) -> None:
        """Take note that a training has finished `step` of its `steps`."""
        if (
            self._unit != "steps"
        ):  # the first to be heard of may come out of a checkpoint: what was before it is not timed
            self._unit, self._from, self._began = "steps", step, self.clock()
        self._done, self._total, self._loss, self._at_most = step, steps, loss, False
        self._tell()

    def snapshot(self) -> Snapshot:
        """Where the cell is now."""
        passed, here = self.clock() - self._began, self._done - self._from
        rate, left = 0.0, None
        if passed > 0:
            rate = (self._tokens if self._unit == "runs" else here) / passed
        if here > 0 and self._done < self._total:
            left = passed / here * (self._total - self._done)
        return Snapshot(
            self.cell,
            self._stage,
            self._detail,
            self._done,
            self._total,
            self._unit,
            self._at_most,
            rate,
            self._loss,
            left,
        )

    def _tell(self) -> None:
        self.show(self.snapshot())

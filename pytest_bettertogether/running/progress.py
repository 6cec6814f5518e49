"""Progress of a cell: counts what has been done and words it; where it is shown is somebody else's business."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


def _nobody(_line: str) -> None:
    """Look away."""


@dataclass
class Progress:
    """Tells `show` one line at each advance; by default nobody looks.

    The clock runs per stage: a step of a strategy, or an evaluation.
    """

    show: Callable[[str], None] = _nobody
    clock: Callable[[], float] = time.monotonic
    cell: str = ""
    _stage: str = ""
    _detail: str = ""
    _began: float = 0.0
    _done: int = 0
    _total: int = 0
    _tokens: int = field(default=0)

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of `total` program runs."""
        self._stage, self._total, self._detail = stage, total, ""
        self._done = self._tokens = 0
        self._began = self.clock()
        self.show(self.line())

    def detail(self, text: str) -> None:
        """Say what the stage is at, as in `candidate 3 of 9`."""
        self._detail = text
        self.show(self.line())

    def generated(self, tokens: int) -> None:
        """Count new tokens."""
        self._tokens += tokens
        self.show(self.line())

    def advance(self, runs: int) -> None:
        """Count program runs that are finished."""
        self._done += runs
        self.show(self.line())

    def line(self) -> str:
        """`iris[tiny-pwp] seed 0, p: candidate 3 of 9, 85/330 runs, 1200 tokens/s, 14 s left`."""
        parts = [self._detail] if self._detail else []
        if self._total:
            parts.append(f"{self._done}/{self._total} runs")
        passed = self.clock() - self._began
        if self._tokens and passed > 0:
            parts.append(f"{self._tokens / passed:.0f} tokens/s")
        if 0 < self._done < self._total and passed > 0:
            parts.append(f"{passed / self._done * (self._total - self._done):.0f} s left")
        return f"{self.cell}, {self._stage}: {', '.join(parts)}"

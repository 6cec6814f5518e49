"""What a session may spend. It stops at the border of a batch, so that all that was paid for is kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..pipeline.errors import BudgetError
from ..results.cell_results import Usage

AGAIN = "what is finished is kept: run the same command again to go on, or allow more"


@dataclass
class Budget:
    """Limits of one process, and what it has spent of them; None is no limit. What is replayed costs nothing."""

    calls: int | None = None
    """LM calls: never exceeded, since the size of a batch is known before it."""
    tokens: int | None = None
    """Tokens in and out: the batch that reaches it is the last."""
    minutes: float | None = None
    """Since the budget was made: the batch or training that is under way then is the last."""
    clock: Callable[[], float] = time.monotonic
    spent: Usage = field(default_factory=Usage)
    stopped: str = ""
    """Why nothing more is computed, once that is so."""

    def __post_init__(self) -> None:
        self._began = self.clock()

    def allow(self, calls: int = 0) -> None:
        """Before a batch of so many calls, or a training of none. Raises BudgetError from the first too much."""
        self.stopped = self.stopped or self._exceeded(calls)
        if self.stopped:
            raise BudgetError(f"{self.stopped}; {AGAIN}")

    def allow_wait(self, seconds: float, why: str) -> None:
        """Before a wait for others, of so many seconds. Raises BudgetError if it ended beyond the minutes."""
        if self.minutes is not None and (self.clock() - self._began + seconds) / 60 >= self.minutes:
            self.stopped = self.stopped or f"--bt-max-minutes={self.minutes:g}: {why}, which would end beyond them"
            raise BudgetError(f"{self.stopped}; {AGAIN}")

    def begin(self) -> None:
        """Before a cell. Raises BudgetError if an earlier one was stopped."""
        if self.stopped:
            raise BudgetError(f"not begun, for {self.stopped}; {AGAIN}")

    def spend(self, usage: Usage) -> None:
        """Count what was computed."""
        self.spent += usage

    def _exceeded(self, calls: int) -> str:
        made, used = self.spent.lm_calls, self.spent.prompt_tokens + self.spent.completion_tokens
        passed = (self.clock() - self._began) / 60
        if self.calls is not None and calls and made + calls > self.calls:
            few = f", which is too few for any: allow at least {calls}" if not made else ""
            return f"--bt-max-calls={self.calls}: {made} calls were made, and the next batch has {calls}{few}"
        if self.tokens is not None and used >= self.tokens:
            return f"--bt-max-tokens={self.tokens}: {used} tokens were used"
        if self.minutes is not None and passed >= self.minutes:
            return f"--bt-max-minutes={self.minutes:g}: {passed:.1f} minutes have passed"
        return ""

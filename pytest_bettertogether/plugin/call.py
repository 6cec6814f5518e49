"""What the `better_together` fixture gives a test."""

from typing import TYPE_CHECKING

import pytest

from ..pipeline.strategy import Strategy
from .attempt import Attempt
from .running import run
from .session import Session

if TYPE_CHECKING:  # only named here
    from ..engines.model import Model
    from ..results.cell_results import CellResult


class BetterTogether:
    """Call it to run the test's cell, or another strategy of its task and model."""

    def __init__(self, session: Session, attempt: Attempt, model: "Model") -> None:
        self._session, self._attempt, self._model = session, attempt, model

    def __call__(self, strategy: str | None = None) -> "CellResult":
        """The result; a refused one of the test's own strategy skips the test, unless its baseline has a score."""
        __tracebackhide__ = True
        own = Strategy.parse(self._attempt.strategy)
        try:
            wanted = own if strategy is None else Strategy.parse(strategy)
        except ValueError as error:
            raise ValueError(str(error)) from None
        result = run(self._session, self._attempt, self._model, wanted)
        baseline = self._attempt.baseline
        if result.refused and wanted == own and (baseline is None or baseline.holds(result)):
            pytest.skip(f"refused: {result.refused}")
        return result

    def __repr__(self) -> str:
        return "better_together"

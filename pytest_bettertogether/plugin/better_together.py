"""What the `better_together` fixture gives a test: a call that runs cells, and results that can still be measured."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ..optimize.step import kinds_with
from ..pipeline.inert_text import block
from ..pipeline.strategy import Strategy
from ..results.cell_results import CellResult
from .cell_run import CellRun
from .running import measure, run
from .session import Session

if TYPE_CHECKING:  # only named here
    from ..engines.model import Model
    from ..gate.side_effects import SideEffects
    from ..harness.side_effects import Wanted


class MeasurableResult(CellResult):
    """A `CellResult` in the test that made it, where `harness` can ask the engine and the weights behind it."""

    _ask: ClassVar[Callable[..., Any] | None] = None

    @classmethod
    def of(cls, result: CellResult, ask: "Callable[..., SideEffects]") -> "MeasurableResult":
        """The same result, whose `harness` is answered by `ask`."""
        made = cls(**vars(result))
        object.__setattr__(made, "_ask", ask)  # no field: it is no part of the data, which is frozen
        return made

    def harness(self, tasks: "Wanted", **form: Any) -> "SideEffects":
        """Measure lm-eval tasks on the base model and on the weights that the cell ended with.

        Args:
            tasks: A list of what `harness_task` takes (names, YAML files, dicts), or of what it returned.
            form: How the tasks are put, as for `harness_task`: num_fewshot, chat, multiturn, metric, filter.

        Returns:
            What compares with `base_model(within=1)`, and with `bt_baseline`, by the gate's test.
        """
        __tracebackhide__ = True
        if self._ask is None:  # a copy by dataclasses.replace
            return super().harness(tasks, **form)  # type: ignore[no-any-return]  # it raises
        return self._ask(tasks, **form)  # type: ignore[no-any-return]  # as `of` says


class BetterTogether:
    """The `better_together` fixture: call it to run the test's cell, or another strategy of its task and model."""

    def __init__(self, session: Session, cell_run: CellRun, model: "Model") -> None:
        self._session, self._cell_run, self._model = session, cell_run, model

    def __call__(self, strategy: str | None = None) -> MeasurableResult:
        """Optimise and evaluate; what cells have in common is done once.

        Args:
            strategy: Another strategy than the test's own, as in "p" or "p -> w".

        Returns:
            The cell's result. A refused one of the test's own strategy skips the test instead, unless its baseline
            has a score.

        Raises:
            ValueError: There is no such strategy.
        """
        __tracebackhide__ = True
        own, kinds = Strategy.of(self._cell_run.strategy), kinds_with(self._session.settings.steps)
        try:
            wanted = own if strategy is None else Strategy.parse(strategy, kinds)
        except ValueError as error:
            raise ValueError(str(error)) from None
        result = run(self._session, self._cell_run, self._model, wanted)
        baseline = self._cell_run.baseline
        if result.refused and wanted == own and (baseline is None or baseline.holds(result)):
            pytest.skip(block(f"refused: {result.refused}"))
        return MeasurableResult.of(result, partial(measure, self._session, self._cell_run, self._model, result))

    def __repr__(self) -> str:
        return "better_together"

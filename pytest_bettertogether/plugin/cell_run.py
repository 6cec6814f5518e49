"""An item's run of its cell: what its fixtures and its calls report, and the record that is made of it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from ..pipeline.steps import StepKind
from ..pipeline.suite import Suite
from ..results.cell_records import CellRecord, GateRecord, Paid
from ..results.cell_results import CellResult
from ..results.endings import Ending, Facts, ending
from ..results.side_effects import SideEffect
from ..results.statuses import Status, Verdict

if TYPE_CHECKING:  # the gate's numbers are loaded when a verdict is asked for
    from ..gate.verdict import Baseline

INTERRUPTED = "interrupted: run the same command again, what is finished is kept"


class CellRun:
    """What an item has come to so far. It alone changes what it holds; fixtures and calls report through methods."""

    def __init__(
        self,
        suite: Suite,
        model: str,
        strategy: str,
        place: tuple[str, str, int],
        too_small_fails: bool,
        kinds: tuple[StepKind, ...] = (),
    ) -> None:
        """Begin with nothing known.

        Args:
            suite: the test's suite.
            model: the model's name.
            strategy: the strategy's id, as in `pwp`.
            place: the test's id, its file relative to the rootdir, and its line from 1.
            too_small_fails: whether a verdict of too_small fails the cell.
            kinds: what those steps of the strategy say of themselves that are not built in.
        """
        self.suite, self.model, self.strategy = suite, model, strategy
        self._place, self._too_small_fails, self._kinds = place, too_small_fails, kinds
        self._baseline: Baseline | None = None
        self._result: CellResult | None = None
        self._fault = self._stop = self._inability = ""
        self._compared = set[bool]()
        self._paid = Paid()
        self._measured: dict[str, SideEffect] = {}

    @property
    def baseline(self) -> "Baseline | None":
        """The baseline that the test took."""
        return self._baseline

    @property
    def result(self) -> CellResult | None:
        """The cell's own result."""
        return self._result

    def take_baseline(self, baseline: "Baseline") -> None:
        """Keep the baseline that the test asked for."""
        self._baseline = baseline

    def begin(self) -> None:
        """Forget what broke or stopped an earlier attempt at the cell, as under pytest-rerunfailures."""
        self._fault = self._stop = ""

    def pay(self, paid: Paid) -> None:
        """Add what was spent on behalf of the item."""
        self._paid += paid

    def finish(self, result: CellResult) -> None:
        """Keep the cell's own result."""
        self._result = result

    def break_off(self, fault: str) -> None:
        """Note what broke the run."""
        self._fault = fault

    def stop(self, reason: str) -> None:
        """Note that the session's budget ended the run."""
        self._stop = reason

    def leave_out(self, inability: str) -> None:
        """Note why the model is not asked to do the task; nothing where it is."""
        self._inability = inability

    def note_comparison(self, own_score: bool) -> None:
        """Note that the test compared something with its baseline: the cell's own score, or side effects."""
        self._compared.add(own_score)

    def note(self, measured: Iterable[SideEffect]) -> None:
        """Take in what `result.harness` has measured, or compared."""
        for effect in measured:
            known = self._measured.get(effect.task)
            for gate in known.gates if known and known.after == effect.after else ():
                if all(gate.against != new.against for new in effect.gates):
                    effect = effect.judged(gate)
            self._measured[effect.task] = effect

    def record(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> tuple[CellRecord, Ending]:
        """The record of the cell when its test has ended, and what pytest must be told of it."""
        expected = hasattr(report, "wasxfail")
        gate = self._gate(report.failed or expected)  # once: on large splits the tests take a while
        facts = Facts(
            outcome=report.outcome,
            expected=expected,
            said=_said(report, call),
            fault=self._fault,
            stop=self._stop,
            inability=self._inability,
            scored=self._result is not None,
            refused=self._result.refused if self._result else "",
            mode=None if self._baseline is None else self._baseline.mode,
            compared=bool(self._compared),
            verdict=gate.verdict if gate else "holds",
            side_effects=self._side_effects(),
            too_small_fails=self._too_small_fails,
        )
        found = ending(facts)
        return self._record(found.status, found.reason, gate), found

    def interrupted(self) -> CellRecord:
        """The record of a cell that the user, or the end of the session, interrupted."""
        return self._record("stopped", INTERRUPTED, self._gate(True))

    def _gate(self, failed: bool) -> GateRecord | None:
        """The comparison with the baseline: where it was made, where it explains a failure, or tells a mode."""
        if self._baseline is None or self._result is None:
            return None
        if self._baseline.mode == "gated" and not (True in self._compared or failed):
            return None
        return self._baseline.record(self._result)

    def _side_effects(self) -> Verdict | None:
        if not self._measured:
            return None
        from ..gate.side_effects import worst

        return worst(tuple(self._measured.values()))

    def _record(self, status: Status, reason: str, gate: GateRecord | None) -> CellRecord:
        nodeid, file, line = self._place
        return CellRecord(
            task=self.suite.name,
            model=self.model,
            strategy=self.strategy,
            status=status,
            reason=reason,
            result=self._result,
            gate=gate,
            paid=self._paid,
            baselines=str(self.suite.baselines),
            nodeid=nodeid,
            kinds=self._kinds,
            file=file,
            line=line,
            side_effects=tuple(self._measured.values()),
        )


def _said(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """The first line of what failed or skipped a test."""
    if call.excinfo is None or report.passed:
        return ""
    return str(call.excinfo.value) if report.skipped else call.excinfo.exconly().partition("\n")[0]

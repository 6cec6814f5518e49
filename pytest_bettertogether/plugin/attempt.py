"""An item's attempt at its cell: what its fixtures fill in, and the record that is made of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from ..pipeline.suite import Suite
from ..results.cell_records import CellRecord, GateRecord, Paid
from ..results.cell_results import CellResult
from ..results.side_effects import Ability
from ..results.statuses import Status, Verdict, gravest

if TYPE_CHECKING:  # the gate's numbers are loaded when a verdict is asked for
    from ..gate.verdict import Baseline


@dataclass
class Attempt:
    """What an item has come to so far."""

    suite: Suite
    model: str
    strategy: str
    where: tuple[str, str, int] = ("", "", 0)
    """The test's id, its file and its line."""
    baseline: "Baseline | None" = None
    result: CellResult | None = None
    fault: str = ""
    """Why the run broke."""
    spent: str = ""
    """What the session's budget stopped it with."""
    lacks: str = ""
    """Why the model is not asked to do the task."""
    paid: Paid = field(default_factory=Paid)
    too_small_fails: bool = False
    abilities: dict[str, Ability] = field(default_factory=dict)
    """What else changed, by lm-eval task."""

    def note(self, measured: tuple[Ability, ...]) -> None:
        """Take in what `result.harness` has measured, or compared."""
        for each in measured:
            known = self.abilities.get(each.task)
            for gate in known.gates if known and known.after == each.after else ():
                if all(gate.against != new.against for new in each.gates):
                    each = each.judged(gate)
            self.abilities[each.task] = each

    def record(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> CellRecord:
        """How it ended, as plain data."""
        reason = self.fault or self.spent or self.lacks or (self.result.refused if self.result else "")
        if not reason and report.failed and call.excinfo:
            reason = call.excinfo.exconly().partition("\n")[0]
        if not reason and report.skipped and call.excinfo:
            reason = str(call.excinfo.value)
        gate = self._gate()  # once: on large splits the tests take a while
        return self._record(self._status(report, gate), reason, gate)

    def stopped(self) -> CellRecord:
        """The record of a cell that the user, or the end of the session, interrupted."""
        reason = "interrupted: run the same command again, what is finished is kept"
        return self._record("stopped", reason, self._gate())

    def _gate(self) -> GateRecord | None:
        return self.baseline.judge(self.result) if self.baseline and self.result else None

    def _record(self, status: Status, reason: str, gate: GateRecord | None) -> CellRecord:
        return CellRecord(
            task=self.suite.name,
            model=self.model,
            strategy=self.strategy,
            status=status,
            reason=reason,
            result=self.result,
            gate=gate,
            paid=self.paid,
            baselines=str(self.suite.baselines),
            nodeid=self.where[0],
            file=self.where[1],
            line=self.where[2],
            abilities=tuple(self.abilities.values()),
        )

    def _beside(self) -> Verdict | None:
        """What the gates on lm-eval tasks come to, if there are any."""
        if not self.abilities:
            return None
        from ..gate.abilities import worst

        return worst(tuple(self.abilities.values()))

    def _status(self, report: pytest.TestReport, gate: GateRecord | None) -> Status:
        verdict = gate.verdict if gate and gate.mode == "gated" else "holds"
        beside = self._beside()
        if beside:
            verdict = gravest([beside, verdict]) or verdict
        if self.fault:
            return "invalid"
        if self.spent:
            return "stopped"
        if report.failed:
            if verdict == "too_small" and self.too_small_fails:
                return "too_small"
            return "failed" if gravest([verdict, "too_small"]) == "too_small" else "worse"
        if self.result is not None and self.result.refused:
            return "refused"
        if report.skipped or self.result is None:
            return "skipped"
        if (self.baseline is None or self.baseline.mode != "gated") and not beside:
            return "not_gated"
        return "too_small" if verdict == "too_small" else "passed"

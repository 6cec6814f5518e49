"""The right-hand side of `better_together() >= bt_baseline`: is the cell worse, or too small to tell?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..pipeline.errors import BaselineError
from ..pipeline.inert_text import plain
from ..results.cell_records import GateRecord
from ..results.cell_results import CellResult
from ..results.statuses import Mode, Verdict
from .baselines import Recorded, Source
from .judge import Judgement, Terms, holds, judge
from .statistics import compare

if TYPE_CHECKING:  # numbers are loaded when a verdict is asked for
    from .seed_scatter import Scatter


@dataclass(frozen=True, eq=False)  # to be compared with results is what it is for
class Baseline:
    """The recorded result that a cell must hold: `result >= baseline` unless the result is significantly worse.

    In the modes not_gated and recording every result holds. No other comparison has a meaning here, and none is
    answered: each raises TypeError with what to write in its place.
    """

    cell: str
    """The cell that it is the baseline of: `tiny-pwp`."""
    file: Path
    mode: Mode
    terms: Terms
    accept: str
    """The command that accepts a new score."""
    shown: str
    """The file's name for people."""
    gated: bool = True
    """Whether the suite gates the cell, whatever the mode of this run."""
    recorded: Recorded | None = field(default=None, repr=False)
    neighbours: "tuple[Scatter, ...]" = field(default=(), repr=False)
    """How the seeds of other cells scatter, as their baselines tell (`Scope.neighbours`)."""
    compared: Callable[[bool], object] = field(default=bool, repr=False)
    """Is told when a test compares something with the baseline: True for the cell's score, False for side effects."""

    def __le__(self, result: object) -> bool:
        """`result >= self`: Python asks here, because results know nothing of baselines."""
        __tracebackhide__ = True
        if not isinstance(result, CellResult):
            return self._refuse(">=", result)
        if result.id != self.cell:
            raise BaselineError(
                f"bt_baseline is that of {self.cell}, and the result is that of {result.id}: gate a strategy in its "
                "own cell, with `better_together() >= bt_baseline`, and compare two strategies with each other, as in "
                'better_together() >= better_together("p")'
            )
        self.compared(True)
        return self.holds(result)

    def __lt__(self, result: object) -> bool:
        __tracebackhide__ = True
        return self._refuse(">", result)

    def __ge__(self, result: object) -> bool:
        __tracebackhide__ = True
        return self._refuse("<=", result)

    def __gt__(self, result: object) -> bool:
        __tracebackhide__ = True
        return self._refuse("<", result)

    def __eq__(self, result: object) -> bool:
        __tracebackhide__ = True
        return self is result or self._refuse("==", result)

    def __ne__(self, result: object) -> bool:
        __tracebackhide__ = True
        return self is not result and self._refuse("!=", result)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        if self.recorded is None or self.recorded.refused:
            return f"baseline {self.cell} ({self.mode.replace('_', ' ')})"
        return f"{self.recorded.score:.1%} in {self.shown} ({self.mode.replace('_', ' ')})"

    def _refuse(self, operator: str, other: object) -> bool:
        __tracebackhide__ = True
        if other is None:
            return NotImplemented  # type: ignore[no-any-return]  # `bt_baseline is None`, spelled with ==
        kind = "better_together()" if isinstance(other, CellResult) else type(other).__name__
        raise TypeError(
            f"{kind} {operator} bt_baseline is not defined: a cell holds its baseline or is significantly worse, and "
            "the one question to ask is `assert better_together() >= bt_baseline`"
        )

    def judge(self, result: CellResult) -> Judgement | None:
        """Judge a result of the cell; None where one side has no scores."""
        if self.recorded is None or self.recorded.refused or result.refused:
            return None
        drawn = any(seed.steps for seed in result.seeds)  # a program as it is written is not another with each seed
        test = partial(compare, neighbours=self.neighbours if drawn else ())
        return judge(result.outcomes, list(self.recorded.seeds.values()), self.terms, result.clusters or None, test)

    def verdict(self, result: CellResult) -> Verdict:
        """The verdict on a result, whatever the mode."""
        return self._verdict(result, self.judge(result))

    def _verdict(self, result: CellResult, judgement: Judgement | None) -> Verdict:
        if judgement is not None:
            return judgement.verdict
        lost = self.recorded is not None and not self.recorded.refused and bool(result.refused)
        return "refused" if lost else "holds"

    def holds(self, result: CellResult) -> bool:
        """False if the drop is significant, or if a cell that has had a score is refused now."""
        return self.mode != "gated" or holds(self.verdict(result), self.terms)

    def record(self, result: CellResult) -> GateRecord:
        """The comparison as plain data."""
        judgement = self.judge(result)
        bare = GateRecord(self.mode, self.terms.alpha, self.gated, self._verdict(result, judgement))
        if judgement is None or self.recorded is None:
            return bare
        ids = [example.id for example in result.seeds[0].examples]
        return replace(
            bare,
            baseline=judgement.before,
            difference=judgement.difference,
            interval=judgement.interval,
            p_value=judgement.p_value,
            test=judgement.test,
            margin=self.terms.margin,
            detectable=judgement.detectable,
            broken=tuple(ids[position] for position in judgement.broken),
            fixed=tuple(ids[position] for position in judgement.fixed),
            before=tuple(fmean(scores) for scores in zip(*self.recorded.seeds.values(), strict=True)),
        )


def find(baseline: Baseline, identity: Mapping[str, Any], source: Source, task: str) -> Baseline:
    """Look up what is recorded for `baseline.cell` in its file.

    Raises BaselineError if there is nothing, or what there is was recorded for another
    test split, metric or prompt form than `identity` names.
    """
    recorded = source.read(baseline.file, task).get(baseline.cell)
    where = baseline.shown + (f" at {source.ref}" if source.ref else "")
    if recorded is None:
        raise BaselineError(f"no baseline for {baseline.cell} in {where}\nrecord one with: {baseline.accept}")
    names = {"test": "the test split", "metric": "the metric", "prompt_form": "the prompt form"}
    changed = [
        f"{names.get(key, key)} ({plain(str(recorded.identity.get(key)), 60)} -> {plain(str(now), 60)})"
        for key, now in identity.items()
        if recorded.identity.get(key) != now
    ]
    if changed:
        raise BaselineError(
            f"the baseline for {baseline.cell} in {where} is stale, since it was recorded these changed: "
            f"{', '.join(changed)}\nrecord it again with: {baseline.accept}"
        )
    return replace(baseline, recorded=recorded)

"""The right-hand side of `better_together() >= bt_baseline`, and the words for its verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import BaselineError
from ..results import CellResult, GateRecord
from .baselines import Recorded, read
from .statistics import Comparison, compare, wilson

Mode = Literal["gated", "not gated", "recording"]


@dataclass(frozen=True)
class Baseline:
    """The recorded result a cell must hold. `result >= baseline` unless the result is significantly worse.

    `alpha` is this cell's share of the session's error budget. In mode "not gated" and
    "recording" every result holds.
    """

    cell: str
    file: Path
    mode: Mode
    alpha: float
    accept: str
    """The command that accepts a new score."""
    shown: str
    """The file's name for people."""
    recorded: Recorded | None = field(default=None, repr=False)

    def __le__(self, result: object) -> bool:
        """`result >= self`: Python asks here, because results know nothing of baselines."""
        if not isinstance(result, CellResult):
            return NotImplemented
        return self.holds(result)

    def __repr__(self) -> str:
        if self.recorded is None or self.recorded.refused:
            return f"baseline {self.cell} ({self.mode})"
        return f"{self.recorded.score:.1%} in {self.shown} ({self.mode})"

    def compare(self, result: CellResult) -> Comparison | None:
        """The paired comparison; None where one side has no scores."""
        if self.recorded is None or self.recorded.refused or result.refused:
            return None
        now = [[example.score for example in seed.examples] for seed in result.seeds]
        return compare(now, list(self.recorded.seeds.values()))

    def holds(self, result: CellResult) -> bool:
        """False if the drop is significant, or if a cell that has had a score is refused now."""
        if self.mode != "gated" or self.recorded is None:
            return True
        comparison = self.compare(result)
        if comparison is None:
            return not result.refused or bool(self.recorded.refused)
        return comparison.p_value > self.alpha or comparison.difference >= 0

    def judge(self, result: CellResult) -> GateRecord:
        """The comparison as plain data."""
        comparison = self.compare(result)
        if comparison is None:
            return GateRecord(self.mode, self.alpha)
        ids = [example.id for example in result.seeds[0].examples]
        return GateRecord(
            mode=self.mode,
            alpha=self.alpha,
            baseline=comparison.before,
            difference=comparison.difference,
            p_value=comparison.p_value,
            detectable=self._detectable(comparison),
            broken=tuple(ids[i] for i in comparison.broken),
            fixed=tuple(ids[i] for i in comparison.fixed),
        )

    def _detectable(self, comparison: Comparison) -> float | None:
        found = comparison.detectable(self.alpha)
        return None if math.isnan(found) else found

    def explain(self, result: CellResult) -> list[str]:
        """The failure text: the fact first, then what is needed to act on it."""
        comparison = self.compare(result)
        if comparison is None or self.recorded is None:
            recorded = f"{self.recorded.score:.1%}" if self.recorded else "none"
            return [
                f"{self.cell} was refused, its baseline has a score of {recorded}",
                result.refused,
                f"accept that with: {self.accept}",
            ]
        n = result.n
        intervals = {
            name: f"{score:.1%} [{low:.1%}, {high:.1%}]"
            for name, score in (("now", comparison.now), ("baseline", comparison.before))
            for low, high in [wilson(score, n)]
        }
        ids = [example.id for example in result.seeds[0].examples]

        def some(positions: tuple[int, ...]) -> str:
            return f"{len(positions)}" + (f" ({', '.join(ids[i] for i in positions[:3])})" if positions else "")

        made = self.recorded.provenance
        when = " at ".join(str(made[key]) for key in ("date", "commit") if made.get(key))
        return [
            f"{self.cell} fell by {-comparison.difference * 100:.1f} points: {comparison.now:.1%} "
            f"< {comparison.before:.1%}",
            f"now      {intervals['now']}, {len(result.seeds)} seed(s), n = {n}",
            f"baseline {intervals['baseline']}, {len(self.recorded.seeds)} seed(s), {self.shown}, recorded {when}",
            f"p = {comparison.p_value:.2g} (paired, one-sided), significant below {self.alpha:.2g}",
            f"smallest drop this test finds with 80 % probability: {_points(self._detectable(comparison))}",
            f"examples broken: {some(comparison.broken)}; fixed: {some(comparison.fixed)}",
            f"accept the new score with: {self.accept}",
        ]


def _points(drop: float | None) -> str:
    return "none, not even the loss of everything" if drop is None else f"{100 * drop:.1f} points"


def find(baseline: Baseline, identity: Mapping[str, Any]) -> Baseline:
    """Look up what is recorded for `baseline.cell` in its file.

    Raises BaselineError if there is nothing, or what there is was recorded for another
    test split, metric or prompt than `identity` names.
    """
    recorded = read(baseline.file).get(baseline.cell)
    if recorded is None:
        raise BaselineError(f"no baseline for {baseline.cell} in {baseline.shown}\nrecord one with: {baseline.accept}")
    names = {"test": "the test split", "metric": "the metric", "program": "the prompts as written"}
    changed = [
        f"{names.get(key, key)} ({recorded.identity.get(key)} -> {now})"
        for key, now in identity.items()
        if recorded.identity.get(key) != now
    ]
    if changed:
        raise BaselineError(
            f"the baseline for {baseline.cell} in {baseline.shown} is stale, since it was recorded these changed: "
            f"{', '.join(changed)}\nrecord it again with: {baseline.accept}"
        )
    return replace(baseline, recorded=recorded)

"""The right-hand side of `better_together() >= bt_baseline`: is the cell worse, or too small to tell?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..pipeline.errors import BaselineError
from ..results.cell_records import GateRecord
from ..results.cell_results import CellResult
from ..results.statuses import Mode, Verdict
from .baselines import Recorded, Source
from .statistics import Comparison, compare


@dataclass(frozen=True)
class Terms:
    """On what terms cells are compared: the same for a whole session."""

    alpha: float
    """A cell's share of the session's error budget."""
    margin: float = 0.0
    """The drop, within 0...1, that has to be exceeded."""
    detect: float = 0.1
    """The drop that a test should find with 80 % probability."""
    too_small_fails: bool = False


@dataclass(frozen=True)
class Baseline:
    """The recorded result a cell must hold. `result >= baseline` unless the result is significantly worse.

    In mode "not_gated" and "recording" every result holds.
    """

    cell: str
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
        before = list(self.recorded.seeds.values())
        return compare(result.outcomes, before, result.clusters or None, self.terms.margin)

    def verdict(self, result: CellResult) -> Verdict:
        """What the comparison comes to, whatever the mode."""
        return self._verdict(result, self.compare(result))

    def _verdict(self, result: CellResult, comparison: Comparison | None) -> Verdict:
        if comparison is None:
            lost = self.recorded is not None and not self.recorded.refused and bool(result.refused)
            return "refused" if lost else "holds"
        if comparison.p_value <= self.terms.alpha and comparison.difference < 0:
            return "worse"
        # Not found with 80 % probability: the smallest that is found is larger, or there is none (NaN).
        return "holds" if comparison.detectable(self.terms.alpha) <= self.terms.detect else "too_small"

    def holds(self, result: CellResult) -> bool:
        """False if the drop is significant, or if a cell that has had a score is refused now."""
        if self.mode != "gated":
            return True
        verdict = self.verdict(result)
        return verdict == "holds" or (verdict == "too_small" and not self.terms.too_small_fails)

    def judge(self, result: CellResult) -> GateRecord:
        """The comparison as plain data."""
        comparison = self.compare(result)
        verdict = self._verdict(result, comparison)
        if comparison is None:
            return GateRecord(self.mode, self.terms.alpha, gated=self.gated, verdict=verdict)
        ids = [example.id for example in result.seeds[0].examples]
        detectable = comparison.detectable(self.terms.alpha)
        return GateRecord(
            mode=self.mode,
            alpha=self.terms.alpha,
            gated=self.gated,
            verdict=verdict,
            baseline=comparison.before,
            difference=comparison.difference,
            interval=comparison.interval,
            p_value=comparison.p_value,
            test=comparison.test,
            margin=comparison.margin,
            detectable=None if math.isnan(detectable) else detectable,
            broken=tuple(ids[i] for i in comparison.broken),
            fixed=tuple(ids[i] for i in comparison.fixed),
            before=tuple(
                fmean(column) for column in zip(*(self.recorded.seeds.values() if self.recorded else ()), strict=True)
            ),
        )


def find(baseline: Baseline, identity: Mapping[str, Any], source: Source, task: str) -> Baseline:
    """Look up what is recorded for `baseline.cell` in its file.

    Raises BaselineError if there is nothing, or what there is was recorded for another
    test split, metric or prompt format than `identity` names.
    """
    recorded = source.read(baseline.file, task).get(baseline.cell)
    where = baseline.shown + (f" at {source.ref}" if source.ref else "")
    if recorded is None:
        raise BaselineError(f"no baseline for {baseline.cell} in {where}\nrecord one with: {baseline.accept}")
    names = {"test": "the test split", "metric": "the metric"}
    changed = [
        f"{names.get(key, key)} ({recorded.identity.get(key)} -> {now})"
        for key, now in identity.items()
        if recorded.identity.get(key) != now
    ]
    if changed:
        raise BaselineError(
            f"the baseline for {baseline.cell} in {where} is stale, since it was recorded these changed: "
            f"{', '.join(changed)}\nrecord it again with: {baseline.accept}"
        )
    return replace(baseline, recorded=recorded)

"""Two runs against each other, cell by cell and paired by example: what `bettertogether compare` prints."""

from dataclasses import dataclass, replace
from typing import Literal

from ..gate.judge import Judgement, Terms, judge
from ..pipeline.inert_text import plain
from ..results.cell_results import CellResult
from .best_of_column import same_examples
from .model import CellView, Report

Outcome = Literal["worse", "better", "same", "lost", "incomparable", "without score", "new"]
BAD = ("worse", "lost", "incomparable")
"""What makes the comparison fail. lost: it had a score, and has none now, or is not there; incomparable: another test
split or metric, so that nothing shows that it held."""


@dataclass(frozen=True)
class Pair:
    """One cell in both runs, and what became of it."""

    task: str
    model: str
    title: str
    """Its strategy, for people."""
    cell: str
    outcome: Outcome
    why: str = ""
    comparison: Judgement | None = None
    broken: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


def pairs(before: Report, now: Report, alpha: float = 0.05, margin: float = 0.0) -> list[Pair]:
    """Compare the cells of two runs; `alpha` is shared among those that can be compared, a drop may reach `margin`."""
    old = {cell.id: cell for cell in before.cells}
    new = {cell.id: cell for cell in now.cells}
    both = [name for name, cell in old.items() if name in new and cell.scored and new[name].scored]
    share = alpha / max(1, len(both))
    known = [_pair(cell, new.get(name), share, margin) for name, cell in old.items()]
    return known + [_named(cell, "new", _why(cell)) for name, cell in new.items() if name not in old]


def _pair(old: CellView, new: CellView | None, alpha: float, margin: float) -> Pair:
    was, now = old.scored, new.scored if new else None
    if was is None:
        return _named(old, "without score", f"before: {_why(old)}")
    if now is None:
        return _named(old, "lost", f"now: {_why(new)}" if new else "it is not in the second run")
    changed = _changed(was, now)
    if changed:
        return _named(old, "incomparable", changed)
    found = judge(now.outcomes, was.outcomes, Terms(alpha, margin), now.clusters or None)
    outcome: Outcome = "same"
    if found.verdict == "worse":
        outcome = "worse"
    elif judge(was.outcomes, now.outcomes, Terms(alpha), now.clusters or None).verdict == "worse":
        outcome = "better"  # for the old one would be worse than the new one
    ids = [example.id for example in now.seeds[0].examples]
    broken, fixed = (tuple(ids[i] for i in positions) for positions in (found.broken, found.fixed))
    return replace(_named(old, outcome), comparison=found, broken=broken, fixed=fixed)


def _named(cell: CellView, outcome: Outcome, why: str = "") -> Pair:
    return Pair(cell.record.task, cell.record.model, cell.title, cell.id, outcome, why)


def _why(cell: CellView) -> str:
    return f"{cell.facts.word}, {plain(cell.record.reason)}" if cell.record.reason else cell.facts.word


def _changed(was: CellResult, now: CellResult) -> str:
    old, new = (result.provenance.get("identity", {}) for result in (was, now))
    names = {"test": "the test split", "metric": "the metric", "prompt_form": "the prompt form"}
    changed = [names.get(key, key) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if not changed and not same_examples(was, now):
        changed = ["the test examples"]
    return f"changed: {', '.join(changed)}" if changed else ""

"""Two runs against each other, cell by cell and paired by example: what `bettertogether compare` prints."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from ..gate.judge import Judgement, Terms, judge
from ..pipeline.inert_text import plain
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.statuses import VERDICT_WORDS
from .cells import in_order, title
from .standing import same_examples

Outcome = Literal["worse", "better", "same", "lost", "incomparable", "without score", "new"]
BAD = ("worse", "lost", "incomparable")
"""What makes the comparison fail. lost: it had a score, and has none now, or is not there; incomparable: another test
split or metric, so that nothing shows that it held."""
EXAMPLES = 3


@dataclass(frozen=True)
class Pair:
    """One cell in both runs, and what became of it."""

    cell: str
    outcome: Outcome
    why: str = ""
    comparison: Judgement | None = None
    broken: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


def pairs(
    before: Sequence[CellRecord], now: Sequence[CellRecord], alpha: float = 0.05, margin: float = 0.0
) -> list[Pair]:
    """Compare the cells of two runs; `alpha` is shared among those that can be compared, a drop may reach `margin`."""
    old = {each.id: each for each in in_order(before)}
    new = {each.id: each for each in in_order(now)}
    both = [cell for cell in old if cell in new and _score(old[cell]) and _score(new[cell])]
    share = alpha / max(1, len(both))
    known = [_pair(cell, old[cell], new.get(cell), share, margin) for cell in old]
    return known + [Pair(cell, "new", _why(new[cell])) for cell in new if cell not in old]


def _pair(cell: str, old: CellRecord, new: CellRecord | None, alpha: float, margin: float) -> Pair:
    was, now = _score(old), _score(new)
    if was is None:
        return Pair(cell, "without score", f"before: {_why(old)}")
    if now is None:
        return Pair(cell, "lost", f"now: {_why(new)}" if new else "it is not in the second run")
    changed = _changed(was, now)
    if changed:
        return Pair(cell, "incomparable", changed)
    terms = Terms(alpha, margin)
    found = judge(now.outcomes, was.outcomes, terms, now.clusters or None)
    ids = [each.id for each in now.seeds[0].examples]
    outcome: Outcome = "same"
    if found.verdict == "worse":
        outcome = "worse"
    elif judge(was.outcomes, now.outcomes, Terms(alpha), now.clusters or None).verdict == "worse":
        outcome = "better"  # for the old one would be worse than the new one
    broken, fixed = (tuple(ids[i] for i in some) for some in (found.broken, found.fixed))
    return Pair(cell, outcome, comparison=found, broken=broken, fixed=fixed)


def _score(record: CellRecord | None) -> CellResult | None:
    if record is None or record.status == "invalid" or record.result is None or record.result.refused:
        return None
    return record.result


def _why(record: CellRecord) -> str:
    return f"{record.status}, {plain(record.reason)}" if record.reason else record.status


def _changed(was: CellResult, now: CellResult) -> str:
    old, new = (each.provenance.get("identity", {}) for each in (was, now))
    names = {"test": "the test split", "metric": "the metric", "prompt_form": "the prompt form"}
    changed = [names.get(key, key) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if not changed and not same_examples(was, now):
        changed = ["the test examples"]
    return f"changed: {', '.join(changed)}" if changed else ""


def comparison_lines(found: Sequence[Pair], alpha: float) -> Iterator[str]:
    """A table of all cells, what broke in those that got worse, and the verdict."""
    rows = [_row(each) for each in found]
    heads = ["cell", "before", "now", "points", "95 % interval", "p", ""]
    align = ("left", *["right"] * 5, "left")
    yield from tabulate(rows, heads, disable_numparse=True, colalign=align).split("\n")
    yield ""
    for each in found:
        if each.outcome == "worse":
            yield f"{plain(each.cell)} broken: {_some(each.broken)}; fixed: {_some(each.fixed)}"
    compared = sum(each.comparison is not None for each in found)
    yield (
        f"p for worse, one-sided and paired by example, significant up to {alpha / max(1, compared):.2g} "
        f"({alpha:g} shared by {compared} cell{'s' * (compared != 1)})"
    )
    bad = [each for each in found if each.outcome in BAD]
    yield f"REGRESSION: {', '.join(f'{plain(each.cell)} {each.outcome}' for each in bad)}" if bad else "no regression"


def _row(pair: Pair) -> list[str]:
    task, _, rest = pair.cell.rpartition("[")
    model, _, strategy = rest.rstrip("]").rpartition("-")
    name = f"{plain(task, 30)} {plain(model, 30)} {title(strategy)}"
    found = pair.comparison
    if found is None:
        return [name, "", "", "", "", "", f"{pair.outcome}: {plain(pair.why, 120)}"]
    low, high = found.interval
    p_value = "" if math.isnan(found.p_value) else f"{found.p_value:.2g}"
    mark: str = pair.outcome
    if pair.outcome == "same":
        mark = "" if found.verdict == "holds" else VERDICT_WORDS[found.verdict]
    return [
        name,
        f"{100 * found.before:.1f}",
        f"{100 * found.now:.1f}",
        f"{100 * found.difference:+.1f}",
        f"{100 * low:+.1f} … {100 * high:+.1f}",
        p_value,
        mark,
    ]


def _some(ids: Sequence[str]) -> str:
    return f"{len(ids)}" + (f" ({', '.join(plain(each, 60) for each in ids[:EXAMPLES])})" if ids else "")

"""What `bettertogether compare` prints: a table per task and model, why and what broke, and the verdict."""

import math
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from ..pipeline.inert_text import plain
from ..results.statuses import VERDICT_WORDS
from .comparison import BAD, Pair
from .text import Style, fit

HEADS = ("", "before", "now", "points", "95 % interval", "p", "")
EXAMPLES = 3
"""Examples that are named; the rest is counted."""


def comparison_lines(found: Sequence[Pair], alpha: float, style: Style) -> Iterator[str]:
    """All cells, what broke in those that got worse, and the verdict; no line is wider than the style."""
    groups: dict[str, list[Pair]] = {}
    for pair in found:
        groups.setdefault(f"{plain(pair.task, 60)} on {plain(pair.model, 60)}", []).append(pair)
    for name, pairs in groups.items():
        yield from fit([name], style)
        rows = [_row(pair) for pair in pairs]
        table = tabulate(rows, HEADS, disable_numparse=True, colalign=("left", *["right"] * 5, "left"))
        yield from (style.marks.spell(line.rstrip()) for line in table.split("\n"))
        yield ""
    yield from fit(_sentences(found, alpha), style)


def _row(pair: Pair) -> Sequence[str]:
    comparison = pair.comparison
    if comparison is None:
        return (pair.title, "", "", "", "", "", pair.outcome)
    low, high = comparison.interval
    return (
        pair.title,
        f"{100 * comparison.before:.1f}",
        f"{100 * comparison.now:.1f}",
        f"{100 * comparison.difference:+.1f}",
        f"[{100 * low:+.1f}, {100 * high:+.1f}]",
        "" if math.isnan(comparison.p_value) else f"{comparison.p_value:.2g}",
        VERDICT_WORDS[comparison.verdict].replace("holds", "") if pair.outcome == "same" else pair.outcome,
    )


def _sentences(found: Sequence[Pair], alpha: float) -> Iterator[str]:
    for pair in found:
        if pair.why:
            yield f"{plain(pair.cell)} {pair.outcome}: {plain(pair.why)}"
        if pair.outcome == "worse":
            yield f"{plain(pair.cell)} broken: {_some(pair.broken)}; fixed: {_some(pair.fixed)}"
    compared = sum(pair.comparison is not None for pair in found)
    shared = f"{alpha:g} shared by {compared} cell{'s' * (compared != 1)}"
    level = alpha / max(1, compared)
    yield f"p for worse, one-sided and paired by example, significant up to {level:.2g} ({shared})"
    bad = [f"{plain(pair.cell)} {pair.outcome}" for pair in found if pair.outcome in BAD]
    yield f"REGRESSION: {', '.join(bad)}" if bad else "no regression"


def _some(ids: Sequence[str]) -> str:
    named = ", ".join(plain(example, 60) for example in ids[:EXAMPLES])
    return f"{len(ids)} ({named})" if ids else "0"

"""What a failed comparison says: the fact first, then all that is needed to act on it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..pipeline.inert_text import plain
from ..results.cell_results import CellResult
from .intervals import mean_interval
from .judge import Judgement, Terms, judge
from .verdict import Baseline

BELOW = 'more below, under "better together"'
"""Where a test report has the rest."""
ALONE = 0.05
"""The alpha of a comparison that shares no error budget."""
SHOWN = 3
"""Examples, and provenance values, that are named; the rest is counted."""


def explain(result: CellResult, baseline: Baseline) -> list[str]:
    """Why `result >= baseline` is false, in few lines: pytest cuts what is longer than eight, or 640 characters."""
    comparison, recorded = baseline.judge(result), baseline.recorded
    if comparison is None or recorded is None:
        before = f"{recorded.score:.1%}" if recorded else "none"
        return [f"{baseline.cell} was refused, its baseline has a score of {before}", _cut(result.refused, 300), BELOW]
    terms, made = baseline.terms, recorded.provenance
    when = " at ".join(_cut(made[key]) for key in ("date", "commit") if made.get(key))
    if comparison.verdict == "worse":
        fact = f"fell by {-comparison.difference * 100:.1f} points: {comparison.now:.1%} < {comparison.before:.1%}"
    else:
        fact = f"is too small to tell, and --bt-too-small=fail was asked for: it would miss a drop of {_wanted(terms)}"
    more = f" by more than {100 * terms.margin:g} points" if terms.margin else ""
    then = list(recorded.seeds.values())
    now_shown = _score(comparison.now, result.outcomes, result.clusters)
    then_shown = _score(comparison.before, then, result.clusters)
    return [
        f"{baseline.cell} {fact}",
        f"now        {now_shown}, {_seeds(result.outcomes)}, n = {comparison.n}",
        f"baseline   {then_shown}, {_seeds(then)}, {when}",
        f"difference {_difference(comparison)}",
        f"p = {comparison.p_value:.2g} for worse{more}, significant up to {terms.alpha:.2g}",
        BELOW,
    ]


def details(result: CellResult, baseline: Baseline) -> list[str]:
    """What `explain` has no room for: what the test could see, which examples, what else changed, what to type."""
    comparison, recorded = baseline.judge(result), baseline.recorded
    accept = f"accept that with: {baseline.accept}"
    if comparison is None or recorded is None:
        return [f"baseline: {baseline.cell} in {baseline.shown}", accept]
    return [
        f"baseline: {baseline.cell} in {baseline.shown}",
        f"test: {comparison.test}, paired by example, one-sided",
        f"smallest drop that it finds with 80 % probability: {_points(comparison.detectable)} "
        f"(wanted: {_wanted(baseline.terms)})",
        _examples(comparison, result),
        *_differs(recorded.provenance, result.provenance),
        accept,
    ]


def explain_plain(left: CellResult, op: str, right: object) -> list[str]:
    """Why a comparison with a number or another result is false; no error budget covers those."""
    outside = "a comparison of plain scores: it stands outside the session's error budget (--bt-alpha)"
    if left.refused or (isinstance(right, CellResult) and right.refused):
        return [f"{left} {op} {right}", outside]
    if not isinstance(right, CellResult):
        return [
            f"{_score(left.score, left.outcomes, left.clusters)} on {_name(left)} {op} {right}",
            _seeds_n(left),
            outside,
        ]
    lines = [
        f"{left.score:.1%} on {_name(left)} {op} {right.score:.1%} on {_name(right)}",
        f"left  {_score(left.score, left.outcomes, left.clusters)}, {_seeds_n(left)}",
        f"right {_score(right.score, right.outcomes, right.clusters)}, {_seeds_n(right)}",
    ]
    if _ids(left) == _ids(right):
        comparison = judge(left.outcomes, right.outcomes, Terms(ALONE), left.clusters or None)
        p_value = f"p = {comparison.p_value:.2g} for a true score below ({comparison.test})"
        lines += [f"difference {_difference(comparison)}", p_value, _examples(comparison, left)]
    return [*lines, outside]


def _wanted(terms: Terms) -> str:
    return f"{100 * terms.wanted:g} points"


def _score(score: float, outcomes: Sequence[Sequence[float]], clusters: Sequence[str]) -> str:
    low, high = mean_interval(outcomes, clusters or None)
    return f"{score:.1%} [{low:.1%}, {high:.1%}]"


def _difference(comparison: Judgement) -> str:
    low, high = comparison.interval
    return f"{100 * comparison.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], paired by example"


def _examples(comparison: Judgement, result: CellResult) -> str:
    ids = _ids(result)

    def some(positions: Sequence[int]) -> str:
        named = ", ".join(_cut(ids[position], 60) for position in positions[:SHOWN])
        return f"{len(positions)} ({named})" if positions else "0"

    return f"examples broken: {some(comparison.broken)}; fixed: {some(comparison.fixed)}"


def _differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line on what else changed since the baseline was recorded: versions, weights, recipe, training data."""
    old, new = dict(_flat(before)), dict(_flat(now))
    changed = [key for key in new if key in old and old[key] != new[key] and not key.startswith("identity")]
    if changed:
        shown = ", ".join(f"{_cut(key, 60)} {_cut(old[key])} -> {_cut(new[key])}" for key in changed[: 2 * SHOWN])
        yield f"changed since: {shown}" + (f", and {len(changed) - 2 * SHOWN} more" * (len(changed) > 2 * SHOWN))


def _cut(value: Any, length: int = 40) -> str:
    """One inert line; in ASCII where it is cut, for pytest writes a section that its stream cannot take as one line."""
    return plain(str(value), length).replace("…", "...")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _ids(result: CellResult) -> list[str]:
    return [example.id for example in result.seeds[0].examples]


def _name(result: CellResult) -> str:
    return f"{result.task}[{result.id}]"


def _seeds(seeds: Sequence[Any] | Mapping[int, Any]) -> str:
    return f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"


def _seeds_n(result: CellResult) -> str:
    return f"{_seeds(result.seeds)}, n = {result.n}"


def _points(drop: float | None) -> str:
    return "none, not even the loss of everything" if drop is None else f"{100 * drop:.1f} points"

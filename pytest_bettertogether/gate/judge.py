"""The judge: is one side's score worse than the other's, and could the test have seen it if it were?

Statistics alone, without pytest and without files, so that it serves any paired scores: the cells' gate, the gate on
side effects and `bettertogether compare` all ask `judge`, and none of them decides anything of this by itself. Another
statistical test is another `PairedTest`, named where a judgement is asked for.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..results.statuses import Verdict
from .statistics import Comparison, compare

Scores = Sequence[Sequence[float]]
"""Scores within 0...1, [seed][example], the examples of both sides in the same order."""


@dataclass(frozen=True)
class Terms:
    """On what terms two sides are compared: the same for all cells of a session."""

    alpha: float
    """The probability of a false alarm: a cell's share of the session's error budget."""
    margin: float = 0.0
    """The drop, within 0...1, that may be lost: worse is only what is shown to have lost more."""
    detect: float = 0.1
    """The drop beyond the margin, within 0...1, that a test should find with 80 % probability."""
    too_small_fails: bool = False
    """Whether a test that would not find it fails its cell."""

    @property
    def wanted(self) -> float:
        """The drop, within 0...1, that a test should find: what may be lost, and what matters beyond that."""
        return self.margin + self.detect


@dataclass(frozen=True)
class Judgement:
    """What a paired comparison comes to; scores and differences within 0...1 and -1...1."""

    verdict: Verdict
    """worse, too_small or holds; nothing here is ever refused."""
    now: float
    before: float
    n: int
    difference: float
    """Now minus before."""
    interval: tuple[float, float]
    """95 % interval of the difference."""
    p_value: float
    """One-sided: the probability of scores as low as these if no more than the margin were lost."""
    terms: Terms
    detectable: float | None
    """The smallest drop that the test finds with 80 % probability, the margin included; None if it finds none."""
    test: str
    """The statistical test that gave the p-value, in words."""
    broken: tuple[int, ...]
    """Positions of the examples whose mean over seeds fell."""
    fixed: tuple[int, ...]
    """Positions of those whose mean rose."""

    @property
    def holds(self) -> bool:
        """Whether an assertion of it is true."""
        return holds(self.verdict, self.terms)


def holds(verdict: Verdict, terms: Terms) -> bool:
    """Whether an assertion that comes to this verdict is true."""
    return verdict == "holds" or (verdict == "too_small" and not terms.too_small_fails)


class PairedTest(Protocol):
    """A statistical test of paired scores, as `statistics.compare` is one."""

    def __call__(
        self, now: Scores, before: Scores, clusters: Sequence[Hashable] | None = None, margin: float = 0.0
    ) -> Comparison:
        """Compare two sides; examples that belong together have the same value in `clusters`."""


def judge(
    now: Scores,
    before: Scores,
    terms: Terms,
    clusters: Sequence[Hashable] | None = None,
    test: PairedTest = compare,
) -> Judgement:
    """Decide whether the scores `now` are worse than those `before`.

    The drop that the test finds counts from the margin: who may lose 8 points and wants to see a drop of 10 asks for a
    test that finds 18. Without that, a margin would make every test too small to tell.

    Args:
        now: the scores to be judged.
        before: the scores of the same examples that they are held against.
        terms: the error allowed, the drop allowed, the drop to be found.
        clusters: labels of the examples; those with the same label count as one observation.
        test: the statistical test.

    Returns:
        A judgement whose verdict is worse, too_small or holds.

    Raises:
        ValueError: the sides have not the same number of examples.
    """
    found = test(now, before, clusters, terms.margin)
    drop = found.detectable(terms.alpha)
    detectable = None if math.isnan(drop) else drop
    if found.p_value <= terms.alpha and found.difference < 0:
        verdict: Verdict = "worse"
    elif detectable is None or detectable > terms.wanted:
        verdict = "too_small"
    else:
        verdict = "holds"
    return Judgement(
        verdict=verdict,
        now=found.now,
        before=found.before,
        n=found.n,
        difference=found.difference,
        interval=found.interval,
        p_value=found.p_value,
        terms=terms,
        detectable=detectable,
        test=found.test,
        broken=found.broken,
        fixed=found.fixed,
    )

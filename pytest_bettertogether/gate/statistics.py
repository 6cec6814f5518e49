"""Is a result worse than a recorded one? Paired by example; exact where that is possible.

Outcomes are per-seed tuples of per-example scores, in the order of the test split.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from .intervals import difference_interval, totals_by_cluster

if TYPE_CHECKING:  # numpy is loaded when something is compared: collecting tests does not pay for it
    from .seed_scatter import Scatter, SeedTest

Outcomes = Sequence[Sequence[float]]
"""Scores within 0...1, [seed][example]."""

CHANGING = 0.2
"""The share of examples assumed to change either way with any change of a program, unless more were seen to."""


@dataclass(frozen=True)
class Comparison:
    """Now against before, both as mean scores within 0...1.

    `interval` is the 95 % interval of the difference, never empty. `broken` and `fixed` are positions
    of the examples whose mean over seeds fell or rose. `over_seeds` is the test over examples and seeds, where it
    took part; without it the verdict is about these programs, not about the pipeline that made them.
    `margin` is the drop that the test had to exceed.
    """

    now: float
    before: float
    n: int
    p_value: float
    interval: tuple[float, float]
    broken: tuple[int, ...]
    fixed: tuple[int, ...]
    test: str
    """What gave the p-value, in words."""
    over_seeds: "SeedTest | None" = field(default=None, repr=False)
    margin: float = 0.0

    @property
    def difference(self) -> float:
        """Now minus before, within -1...1."""
        return self.now - self.before

    def detectable(self, alpha: float, wanted: float = 0.8) -> float:
        """The smallest true drop that this test finds at `alpha` with probability `wanted`; NaN if it finds none."""
        from .unconditional import smallest_detectable_drop

        if self.over_seeds is not None:
            return self.over_seeds.detectable(alpha, wanted, self.margin)
        # Those that a drop seen here broke beyond what was fixed are the drop, and not what changes without one.
        seen = (len(self.broken) + len(self.fixed)) / self.n - abs(self.difference)
        return smallest_detectable_drop(self.n, alpha, max(CHANGING, seen), wanted, self.margin)


def compare(
    now: Outcomes,
    before: Outcomes,
    clusters: Sequence[Hashable] | None = None,
    margin: float = 0.0,
    neighbours: Sequence["Scatter"] = (),
) -> Comparison:
    """One-sided: how surprising would scores as low as these be if nothing had got worse by more than `margin`?

    Over examples: the exact unconditional test for 0/1 outcomes of one program on either side; for graded scores and
    for `clusters` (examples that belong together are given the same value) a test that holds its level however skewed
    their differences are. Over examples and seeds: a test whose variance is that of both, for a new run on another
    machine is a new draw of seeds. How seeds scatter is learnt from all seeds of both sides and from `neighbours`,
    other cells of the same suites; with one seed on either side and no neighbours nothing is known of it, and the
    verdict is about these programs. Where two tests apply both must agree: the larger p-value counts.
    Programs whose seeds agree on every example are one program each.
    """
    from . import bounded_mean
    from .seed_scatter import seed_test

    mean_now, mean_before = _over_seeds(now), _over_seeds(before)
    differences = [a - b for a, b in zip(mean_now, mean_before, strict=True)]
    labels = range(len(differences)) if clusters is None else clusters
    units = "examples" if clusters is None else f"{len(set(labels))} clusters"
    over_seeds = seed_test(now, before, labels, tuple(neighbours))
    tests: dict[str, float] = {}
    if clusters is None and set(mean_now) | set(mean_before) <= {0.0, 1.0}:
        tests["exact unconditional test"] = _unconditional(differences, margin)
    elif over_seeds is None or not _certain(now, before) or clusters is not None:
        totals = totals_by_cluster(differences, labels, margin)
        largest = max(totals_by_cluster([1.0] * len(differences), labels, margin))
        tests[f"test of a bounded mean over {units}"] = bounded_mean.p_value(totals, largest)
    interval = difference_interval(totals_by_cluster(differences, labels, 0.0), len(differences))
    if over_seeds is not None:
        tests[f"t over {units} and seeds"] = over_seeds.p_value(margin)
        interval = over_seeds.interval()
    return Comparison(
        now=fmean(mean_now),
        before=fmean(mean_before),
        n=len(differences),
        p_value=max(tests.values()),
        interval=interval,
        broken=tuple(place for place, difference in enumerate(differences) if difference < 0),
        fixed=tuple(place for place, difference in enumerate(differences) if difference > 0),
        test=" and ".join(tests),
        over_seeds=over_seeds,
        margin=margin,
    )


def _over_seeds(side: Outcomes) -> list[float]:
    """Each example's mean over the seeds of one side."""
    return [fmean(scores) for scores in zip(*side, strict=True)]


def _certain(*sides: Outcomes) -> bool:
    """Whether every score is 0 or 1: then a mean over several seeds is not skewed enough to need a test of its own."""
    return all(score in (0.0, 1.0) for side in sides for seed in side for score in seed)


def _unconditional(differences: Sequence[float], margin: float) -> float:
    from .unconditional import p_value

    broken, fixed = (sum(sign * difference > 0 for difference in differences) for sign in (-1, 1))
    return p_value(broken, fixed, len(differences), margin)

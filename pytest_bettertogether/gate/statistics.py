"""Is a result worse than a recorded one? Paired by example; exact where that is possible.

Outcomes are per-seed tuples of per-example scores, in the order of the test split.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

RESOLUTION = 1000
"""Differences of graded scores are compared in steps of one thousandth."""
CHANGING = 0.2
"""The share of examples assumed to change either way, where a detectable drop is worked out."""
NODES = 2000
"""Points at which the variance of seeds is looked at."""
Parts = Sequence[tuple[float, int]]
"""(variance, degrees of freedom): of examples, then of the seed means of either side that has several."""


@dataclass(frozen=True)
class Comparison:
    """Now against before, both as mean scores within 0...1.

    `interval` is the 95 % interval of the difference, never empty. `broken` and `fixed` are positions
    of the examples whose mean over seeds fell or rose. `spread` has the variances that the difference is made
    of and their degrees of freedom; None where the exact test for 0/1 outcomes was used.
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
    spread: Parts | None = None
    margin: float = 0.0

    @property
    def difference(self) -> float:
        """Now minus before, within -1...1."""
        return self.now - self.before

    def detectable(self, alpha: float, wanted: float = 0.8) -> float:
        """The smallest drop that this test finds with probability `wanted`, if a fifth of the examples changes.

        NaN if it finds none.
        """
        from .unconditional import smallest_detectable_drop

        if self.spread is None:
            return smallest_detectable_drop(self.n, alpha, CHANGING, wanted, self.margin)
        from scipy.optimize import brentq
        from scipy.stats import t

        error = math.sqrt(sum(part for part, _ in self.spread))
        lowest = -2 * error * float(t.isf(alpha, min(freedom for _, freedom in self.spread)))
        critical = -brentq(lambda difference: _below(difference, self.spread or []) - alpha, lowest, 0.0)
        drop = self.margin + critical + float(t.ppf(wanted, _freedom(self.spread))) * error
        return drop if drop <= 1.0 else math.nan


def compare(
    now: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]],
    clusters: Sequence[Hashable] | None = None,
    margin: float = 0.0,
) -> Comparison:
    """One-sided: how surprising would scores as low as these be if nothing had got worse by more than `margin`?

    One seed on either side, 0/1 outcomes and no `clusters`: the exact unconditional test. Otherwise two tests
    must agree, so that the larger p-value counts. Over examples: the exact distribution of the
    summed difference when each example's sign is random (each cluster's, where `clusters` gives examples that
    belong together the same value). Over seeds, where both sides have at
    least two: a t-test whose variance adds that of the examples and those of the seed means, for a new run
    on another machine is a new draw of seeds.
    """
    mean_now, mean_before = ([fmean(column) for column in zip(*side, strict=True)] for side in (now, before))
    differences = [a - b for a, b in zip(mean_now, mean_before, strict=True)]
    broken = tuple(i for i, each in enumerate(differences) if each < 0)
    fixed = tuple(i for i, each in enumerate(differences) if each > 0)
    n = len(differences)
    labels = range(n) if clusters is None else clusters
    seeds = [[fmean(seed) for seed in side] for side in (now, before)]
    spread: Parts | None = _spread(_totals(differences, labels, 0.0), n, seeds)
    if clusters is None and len(now) == len(before) == 1 and all(each in (-1.0, 0.0, 1.0) for each in differences):
        from .unconditional import p_value as unconditional

        p_value, test, spread = unconditional(len(broken), len(fixed), n, margin), "exact unconditional test", None
    else:
        units = "examples" if clusters is None else f"{len(set(labels))} clusters"
        totals = _totals(differences, labels, margin)
        p_value, test = sign_flip(totals, len(now) * len(before)), f"exact randomisation over {units}"
        if min(len(now), len(before)) > 1 and len(totals) > 1:
            over_seeds = _crossed(totals, n, seeds, _noise(now, labels) + _noise(before, labels))
            p_value, test = max(p_value, over_seeds), f"{test}, and t over {units} and seeds"
    interval = _interval(_totals(differences, labels, 0.0), n, seeds)
    return Comparison(fmean(mean_now), fmean(mean_before), n, p_value, interval, broken, fixed, test, spread, margin)


def _totals(differences: Sequence[float], labels: Sequence[Hashable], margin: float) -> list[float]:
    """Per cluster, the sum of its examples' differences from a drop of `margin`, in order of appearance."""
    totals: dict[Hashable, float] = {}
    for label, difference in zip(labels, differences, strict=True):
        totals[label] = totals.get(label, 0.0) + difference + margin
    return list(totals.values())


def sign_flip(differences: Sequence[float], steps: int = RESOLUTION) -> float:
    """P(sum of randomly signed differences <= the observed sum): Fisher's paired randomisation test, exactly.

    The distribution is built by convolution on a grid, so n may be in the thousands. `steps` of it
    make a whole point, if they make every difference (0/1 outcomes of two and three seeds: 6); if not, RESOLUTION.
    """
    import numpy as np  # a gated cell pays for it; collecting tests does not

    if any(abs(each * steps - round(each * steps)) > 1e-6 for each in differences):
        steps = RESOLUTION
    rounded = [round(each * steps) for each in differences]
    unit = math.gcd(*rounded) or 1
    sizes = [abs(each) // unit for each in rounded if each]
    observed = sum(rounded) // unit
    # weights[k]: probability that the positively signed sizes add up to k
    weights = np.ones(1)
    for size in sizes:
        grown = np.zeros(len(weights) + size)
        grown[: len(weights)] += weights / 2
        grown[size:] += weights / 2
        weights = grown
    total = sum(sizes)
    # signed sum = 2 k - total <= observed
    return min(1.0, float(weights[: (observed + total) // 2 + 1].sum()))


def _crossed(totals: Sequence[float], n: int, seeds: Sequence[Sequence[float]], noise: float) -> float:
    (examples, freedom), *others = _variances(_of_sum(totals) / n**2, len(totals), seeds)
    scatter = sum(part for part, _ in others)
    # Chance within a run makes examples differ, and seed means too; it counts once, with the latter.
    apart = max(examples - noise / n**2, examples - scatter, 0.0)
    return _below(math.fsum(totals) / n, [(apart, freedom), *others])


def _below(difference: float, parts: Parts) -> float:
    """P(a difference as low as this), parts being the variance of examples, then those of seeds.

    Given the variance of seeds, Student's t. That variance is not given but estimated, from few, so that t is averaged
    over what it may be. (Welch's degrees of freedom for all parts together take a small estimate at its word: three
    seeds, 1319 examples and 24 gates would have twice the false alarms that are allowed.)
    """
    import numpy as np
    from scipy.stats import t  # half a second, paid by gated cells alone

    (examples, examples_freedom), *seeds = parts
    scatter = sum(part for part, _ in seeds)
    if scatter == examples == 0.0:
        return 0.0 if difference < 0 else 1.0
    if scatter == 0.0:
        return float(t.cdf(difference / math.sqrt(examples), examples_freedom))
    freedom = _freedom(seeds)
    # Estimated over true variance is chi^2 / freedom; chi is averaged over by the midpoint rule.
    chi = (np.arange(NODES) + 0.5) / NODES * (math.sqrt(freedom) + 7)
    weights = chi ** (freedom - 1) * np.exp(-(chi**2) / 2)
    variances = examples + scatter * freedom / chi**2
    # The examples' variance is estimated as well: Welch's degrees of freedom, with none but theirs finite.
    welch = (variances / examples) ** 2 * examples_freedom if examples else np.inf
    return float(weights @ t.cdf(difference / np.sqrt(variances), welch) / weights.sum())


def _noise(side: Sequence[Sequence[float]], labels: Sequence[Hashable]) -> float:
    """Variance of the sum over examples of a side's mean outcomes, from what is neither example's nor seed's."""
    import numpy as np

    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    codes = [numbers[label] for label in labels]
    totals = np.array([np.bincount(codes, seed) for seed in side])
    means = totals.sum(axis=1, keepdims=True) / len(codes)
    apart = totals - totals.mean(axis=0) - np.bincount(codes) * (means - means.mean())
    return float((apart**2).sum()) / (len(side) - 1) / len(side)


def _spread(totals: Sequence[float], n: int, seeds: Sequence[Sequence[float]]) -> Parts:
    """As of `_variances`, with at least the variance of examples that CHANGING makes.

    Without it a run that repeats its baseline exactly would seem able to see any drop.
    """
    return _variances(max(_of_sum(totals), CHANGING * n) / n**2, len(totals), seeds)


def _interval(totals: Sequence[float], n: int, seeds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95 % for the difference: one more example broken and one fixed keep it from being empty.

    Bonett & Price's adjustment (British Journal of Mathematical and Statistical Psychology 2012), with
    Student's t, and the variance of seeds where both sides have several.
    """
    from scipy.stats import t

    more = [*totals, -1.0, 1.0]
    parts = _variances(_of_sum(more) / (n + 2) ** 2, len(more), seeds)
    half = float(t.isf(0.025, _freedom(parts))) * math.sqrt(sum(part for part, _ in parts))
    middle = math.fsum(totals) / (n + 2)
    return max(-1.0, middle - half), min(1.0, middle + half)


def _of_sum(totals: Sequence[float]) -> float:
    """Variance of the sum of independent totals."""
    return len(totals) * variance(totals) if len(totals) > 1 else 0.0


def _variances(examples: float, count: int, seeds: Sequence[Sequence[float]]) -> list[tuple[float, int]]:
    """(variance, degrees of freedom) of the mean difference: from examples, and from the seed means of either side."""
    return [
        (examples, max(1, count - 1)),
        *((variance(side) / len(side), len(side) - 1) for side in seeds if len(side) > 1),
    ]


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Welch's degrees of freedom of a sum of variances."""
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts if part)


def mean_interval(
    outcomes: Sequence[Sequence[float]], clusters: Sequence[Hashable] | None = None
) -> tuple[float, float]:
    """95 % interval of a score, outcomes [seed][example] within 0...1; never empty.

    Wilson's for one seed of 0/1 outcomes. Otherwise Student's t over examples (or clusters of
    them), with the variance of the seeds' means where there are several; one more example at 0 and one
    at 1 keep it from being empty.
    """
    from scipy.stats import t

    means = [fmean(column) for column in zip(*outcomes, strict=True)]
    n = len(means)
    if clusters is None and len(outcomes) == 1 and all(each in (0.0, 1.0) for each in means):
        return wilson(fmean(means), n)
    centre = fmean([*means, 0.0, 1.0])
    apart = _totals([each - centre for each in means], range(n) if clusters is None else clusters, 0.0)
    around = [*apart, -centre, 1.0 - centre]
    parts = _variances(_of_sum(around) / (n + 2) ** 2, len(around), [[fmean(seed) for seed in outcomes]])
    half = float(t.isf(0.025, _freedom(parts))) * math.sqrt(sum(part for part, _ in parts))
    return max(0.0, centre - half), min(1.0, centre + half)


def contrast_interval(
    values: Sequence[Sequence[float]], clusters: Sequence[Hashable] | None = None
) -> tuple[float, float, float]:
    """Mean of values [seed][example], which need not be scores, and its 95 % interval (mean, low, high).

    Student's t over examples (or clusters of them), with the variance of the seeds' means where there are several; as
    for scores, one more example a point above the mean and one a point below keep it from being empty.
    """
    from scipy.stats import t

    means = [fmean(column) for column in zip(*values, strict=True)]
    n, centre = len(means), fmean(means)
    totals = _totals([each - centre for each in means], range(n) if clusters is None else clusters, 0.0)
    around = [*totals, -1.0, 1.0]
    parts = _variances(_of_sum(around) / (n + 2) ** 2, len(around), [[fmean(seed) for seed in values]])
    half = float(t.isf(0.025, _freedom(parts))) * math.sqrt(sum(part for part, _ in parts))
    return centre, centre - half, centre + half


def wilson(score: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a mean of n scores within 0...1; never empty, also at 0 and 1.

    Exact in spirit for 0/1 scores; conservative for graded ones, whose variance is smaller.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (score + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)

"""Intervals of scores and of contrasts between them: never empty, over examples (or clusters of them) and seeds."""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist, fmean, variance

Parts = Sequence[tuple[float, int]]
"""(variance, degrees of freedom): of examples, then of the seed means of each side that has several."""


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
    if clusters is None and len(outcomes) == 1 and all(mean in (0.0, 1.0) for mean in means):
        return wilson(fmean(means), n)
    centre = fmean([*means, 0.0, 1.0])
    apart = totals_by_cluster([mean - centre for mean in means], range(n) if clusters is None else clusters, 0.0)
    around = [*apart, -centre, 1.0 - centre]
    parts = _variances(_variance_of_sum(around) / (n + 2) ** 2, len(around), [[fmean(seed) for seed in outcomes]])
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
    totals = totals_by_cluster([mean - centre for mean in means], range(n) if clusters is None else clusters, 0.0)
    around = [*totals, -1.0, 1.0]
    parts = _variances(_variance_of_sum(around) / (n + 2) ** 2, len(around), [[fmean(seed) for seed in values]])
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


def totals_by_cluster(differences: Sequence[float], labels: Sequence[Hashable], margin: float) -> list[float]:
    """Per cluster, the sum of its examples' differences from a drop of `margin`, in order of appearance."""
    totals: dict[Hashable, float] = {}
    for label, difference in zip(labels, differences, strict=True):
        totals[label] = totals.get(label, 0.0) + difference + margin
    return list(totals.values())


def _variance_of_sum(totals: Sequence[float]) -> float:
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


def difference_interval(totals: Sequence[float], n: int) -> tuple[float, float]:
    """95 % for the mean difference of two programs on n examples, given as totals of its examples or clusters.

    One more example broken and one fixed keep it from being empty (Bonett & Price, British Journal of Mathematical and
    Statistical Psychology 2012), with Student's t.
    """
    from scipy.stats import t

    more = [*totals, -1.0, 1.0]
    half = float(t.isf(0.025, len(more) - 1)) * math.sqrt(_variance_of_sum(more)) / (n + 2)
    middle = math.fsum(totals) / (n + 2)
    return max(-1.0, middle - half), min(1.0, middle + half)

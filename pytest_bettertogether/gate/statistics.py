"""Is a result worse than a recorded one? Paired by example; exact where that is possible.

Outcomes are per-seed tuples of per-example scores, in the order of the test split.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

RESOLUTION = 1000
"""Differences of graded scores are compared in steps of one thousandth."""


CHANGING = 0.2
"""The share of examples assumed to change either way, where a detectable drop is worked out."""


@dataclass(frozen=True)
class Comparison:
    """Now against before, both as mean scores within 0...1.

    `broken` and `fixed` are positions of the examples whose mean over seeds fell or rose.
    `spread` is the standard error of the difference and its degrees of freedom; None where the
    exact test for 0/1 outcomes was used.
    """

    now: float
    before: float
    n: int
    p_value: float
    broken: tuple[int, ...]
    fixed: tuple[int, ...]
    spread: tuple[float, float] | None = None

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
            return smallest_detectable_drop(self.n, alpha, CHANGING, wanted)
        from scipy.stats import t

        error, freedom = self.spread
        return min(1.0, float((t.isf(alpha, freedom) + t.ppf(wanted, freedom)) * error))


def compare(now: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> Comparison:
    """One-sided: how surprising would scores as low as these be if nothing had become worse?

    One seed on either side and 0/1 outcomes: the exact unconditional test. Otherwise two tests
    must agree, so that the larger p-value counts. Over examples: the exact distribution of the
    summed difference when each example's sign is random. Over seeds, where both sides have at
    least two: a t-test whose variance adds that of the examples and those of the seed means,
    with Welch's degrees of freedom, for a new run on another machine is a new draw of seeds.
    """
    mean_now, mean_before = ([fmean(column) for column in zip(*side, strict=True)] for side in (now, before))
    differences = [a - b for a, b in zip(mean_now, mean_before, strict=True)]
    broken = tuple(i for i, each in enumerate(differences) if each < 0)
    fixed = tuple(i for i, each in enumerate(differences) if each > 0)
    n, spread = len(differences), None
    if len(now) == len(before) == 1 and all(each in (-1.0, 0.0, 1.0) for each in differences):
        from .unconditional import p_value as unconditional

        p_value = unconditional(len(broken), len(fixed), n)
    else:
        p_value = sign_flip(differences)
        spread = _spread(differences, [fmean(seed) for seed in now], [fmean(seed) for seed in before])
        if min(len(now), len(before)) > 1 and n > 1:
            p_value = max(p_value, _crossed(differences, now, before))
    return Comparison(fmean(mean_now), fmean(mean_before), n, p_value, broken, fixed, spread)


def sign_flip(differences: Sequence[float]) -> float:
    """P(sum of randomly signed differences <= the observed sum): Fisher's paired randomisation test, exactly.

    The distribution is built by convolution on a grid, so n may be in the thousands.
    """
    import numpy as np  # a gated cell pays for it; collecting tests does not

    steps = [abs(round(each * RESOLUTION)) for each in differences]
    unit = math.gcd(*steps) if any(steps) else 1
    sizes = [each // unit for each in steps if each]
    observed = sum(round(each * RESOLUTION) // unit for each in differences)
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


def _crossed(differences: Sequence[float], now: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> float:
    from scipy.stats import t  # half a second, paid by gated cells alone

    parts = _variances(
        variance(differences), len(differences), *([fmean(seed) for seed in side] for side in (now, before))
    )
    total = sum(part for part, _ in parts)
    difference = fmean(differences)
    if total == 0.0:
        return 0.0 if difference < 0 else 1.0
    return float(t.cdf(difference / math.sqrt(total), _freedom(parts)))


def _spread(differences: Sequence[float], now: Sequence[float], before: Sequence[float]) -> tuple[float, float]:
    """Standard error and degrees of freedom, with at least the variance of examples that CHANGING makes.

    Without it a run that repeats its baseline exactly would seem able to see any drop.
    """
    seen = variance(differences) if len(differences) > 1 else 0.0
    parts = _variances(max(seen, CHANGING), len(differences), now, before)
    return math.sqrt(sum(part for part, _ in parts)), _freedom(parts)


def _variances(examples: float, n: int, now: Sequence[float], before: Sequence[float]) -> list[tuple[float, int]]:
    """(variance, degrees of freedom) of the mean difference: from examples, and from the seed means of either side."""
    return [
        (examples / n, max(1, n - 1)),
        *((variance(side) / len(side), len(side) - 1) for side in (now, before) if len(side) > 1),
    ]


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Welch's degrees of freedom of a sum of variances."""
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts if part)


def wilson(score: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a mean of n scores within 0...1; never empty, also at 0 and 1.

    Exact in spirit for 0/1 scores; conservative for graded ones, whose variance is smaller.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (score + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)

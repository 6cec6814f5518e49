"""How much do a pipeline's seeds scatter, and is a drop larger than that? Learnt from a cell and from its neighbours.

A cell's mean score is another draw with every seed: another search, another adapter. Three seeds tell little of how far
such draws lie apart, so the variance is *moderated*: what the cell's own seeds say, both sides pooled, is combined with
how the seeds of other cells scatter (empirical Bayes; Smyth, Statistical Applications in Genetics and Molecular Biology
2004). Two departures make it hold where the assumptions do not:

* How unlike cells are is not estimated but averaged over, and each cell may with probability `APART` be unlike all
  others: cells that scatter more than their neighbours keep their own, larger variance (the guard of Phipson et al.,
  Annals of Applied Statistics 2016, as a mixture).
* Seed means are compared as angles, 2 asin(sqrt(mean)): near 0 and 1 scores scatter less than in the middle, and a
  baseline near 100 % must neither hide a collapse nor lend its narrow scatter to others.

A second test must agree: that of a scatter which all cells have in common, heavier in its tails than normal seeds would
be (`TAIL`). The first takes seeds to be normal, so that three alike from one of two modes, or three that did not
collapse, pass for a cell that hardly scatters; the second knows from the other cells that there is more.

Everything is a sum over a fixed grid of variances: no sampling, the same numbers on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from .statistics import Outcomes

Floats = npt.NDArray[np.float64]

SPREADS = np.geomspace(0.001, 1.5, 90)
"""The standard deviations, in radians, that the angles of a cell's seed means may have."""
CENTRES = SPREADS[::2]
"""Where the middle of all cells' standard deviations may lie."""
UNLIKENESS = np.array([0.3, 0.5, 0.7, 0.9, 1.2, 1.6, 2.2])
"""By how much (standard deviation of the logarithm) the variances of cells may differ among themselves."""
TYPICAL, DOUBT = 0.9, 0.5
"""The middle and the width, on a logarithmic scale, of what is believed of UNLIKENESS beforehand: 0.9 was seen between
the cells of the embedded model's suites; figures between 0.5 and 1.2 give the same verdicts."""
APART, WIDE = 0.1, 2.5
"""How probable it is that a cell is unlike the others, and how unlike, as of UNLIKENESS."""
TAIL = 20
"""The most degrees of freedom that the scatter in common is credited with, however many cells it was seen on."""
RESOLUTION = 0.1
"""In 1 / examples: the least variance that seed means are credited with, for equal means may be chance."""


TINY = 1e-300
"""Keeps the logarithm of what cannot be finite."""


@dataclass(frozen=True)
class Scatter:
    """What some seeds of one cell tell: the variance of their angles (radians squared), and its degrees of freedom."""

    variance: float
    freedom: int


def angle(mean: float, n: int) -> float:
    """The variance-stabilised form of a mean of `n` scores, in radians (Anscombe, Biometrika 1948)."""
    return 2 * math.asin(math.sqrt((min(max(mean, 0.0), 1.0) * n + 0.375) / (n + 0.75)))


def scatter_of(*sides: Outcomes) -> Scatter | None:
    """The scatter of a cell's seeds, pooled over sides that may differ in their means.

    None where no side has two seeds, or where the seeds of every such side agree on each example: such a program
    takes no chances, and its seeds say nothing of those that do.
    """
    several = [side for side in sides if len(side) > 1]
    freedom = sum(len(side) - 1 for side in several)
    if not freedom or all(len({tuple(seed) for seed in side}) == 1 for side in several):
        return None
    squares = sum(_squares(angles(side)) for side in several)
    least = RESOLUTION / len(several[0][0])
    return Scatter(max(squares / freedom, least), freedom)


def angles(side: Outcomes, drop: float = 0.0) -> list[float]:
    """The angle of each seed's mean, less `drop`."""
    return [angle(fmean(seed) - drop, len(seed)) for seed in side]


def _squares(values: Sequence[float]) -> float:
    middle = fmean(values)
    return math.fsum((value - middle) ** 2 for value in values)


@cache
def _families() -> tuple[Floats, Floats]:
    """All beliefs about cells in general: P [belief, spread] of one cell's spread, and each belief's log weight."""
    logs = 2 * np.log(SPREADS)
    centres, unlikeness = (grid.ravel() for grid in np.meshgrid(2 * np.log(CENTRES), UNLIKENESS, indexing="ij"))
    away = logs[None, :] - centres[:, None]
    alike, apart = (np.exp(-0.5 * (away / width) ** 2) for width in (unlikeness[:, None], WIDE))
    shapes = [part / part.sum(axis=1, keepdims=True) for part in (alike, apart)]
    weights = -0.5 * (np.log(unlikeness / TYPICAL) / DOUBT) ** 2
    return (1 - APART) * shapes[0] + APART * shapes[1], weights


def _likelihood(scatter: Scatter) -> Floats:
    """How well each spread explains what was seen (chi squared), relative to the best of them."""
    variances = SPREADS**2
    logs = -0.5 * scatter.freedom * (np.log(variances) + scatter.variance / variances)
    likelihood: Floats = np.exp(logs - logs.max())
    return likelihood


@cache
def beliefs(neighbours: tuple[Scatter, ...], own: Scatter | None = None) -> Floats:
    """P [spread] of a cell, after its neighbours' seeds and its own were seen."""
    shapes, weights = _families()
    for scatter in neighbours:
        weights = weights + np.log(shapes @ _likelihood(scatter) + TINY)
    belief: Floats = np.exp(weights - weights.max()) @ shapes
    if own is not None:
        belief *= _likelihood(own)
    belief /= belief.sum()
    return belief


@dataclass(frozen=True, eq=False)
class SeedTest:
    """The test of a drop over examples and seeds, ready to be asked about any drop.

    `belief` is P [spread] of the cell, `common` the scatter of its own and its neighbours' seeds taken together.
    `examples` is the variance, in radians squared, that the choice of examples gives to the difference, known with
    `freedom` degrees of freedom.
    """

    now: Outcomes
    before: Outcomes
    belief: Floats
    common: Scatter
    examples: float
    freedom: int

    def p_value(self, margin: float = 0.0) -> float:
        """P(a difference as low as the one seen), if the true drop is `margin` (within -1...1; below 0: a rise)."""
        return self._below(fmean(angles(self.now)) - fmean(angles(self.before, margin)), self.examples)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The differences now - before, within -1...1, that the test does not refuse in either direction."""
        tail = (1 - confidence) / 2
        turned = replace(self, now=self.before, before=self.now)
        return -turned._largest_rise(tail), self._largest_rise(tail)

    def detectable(self, alpha: float, wanted: float = 0.8, margin: float = 0.0) -> float:
        """The smallest true drop that is found at `alpha` with probability `wanted`; NaN if not even the largest is.

        A drop changes examples that the runs so far did not: where `d` of all scores is lost, single examples differ in
        what they lose with a variance of at least d (1 - d), which is added where less was seen.
        """
        from scipy.optimize import brentq
        from scipy.stats import norm

        n, mean = len(self.before[0]), fmean(fmean(seed) for seed in self.before)
        start, steepness = fmean(angles(self.before, margin)), _steepness(mean, n)

        def power(drop: float) -> float:
            examples = max(self.examples, drop * (1 - drop) / n * steepness**2)
            critical = brentq(lambda difference: self._below(difference, examples) - alpha, -100.0, 0.0)
            expected = fmean(angles(self.before, drop)) - start
            return float(self.belief @ norm.cdf((critical - expected) / np.sqrt(self._variances(examples))))

        if mean <= margin or power(mean) < wanted:
            return math.nan
        return float(brentq(lambda drop: power(drop) - wanted, margin, mean, xtol=1e-4))

    def _variances(self, examples: float) -> Floats:
        """The variance of the difference [spread], radians squared."""
        found: Floats = examples + SPREADS**2 * self._runs
        return found

    @property
    def _runs(self) -> float:
        """The variance of a difference of means over seeds, in units of one seed's."""
        return 1 / len(self.now) + 1 / len(self.before)

    def _below(self, difference: float, examples: float) -> float:
        """P(a difference of angles as low as `difference`) where there is none: the larger of the two tests' p."""
        from scipy.special import stdtr  # Student's t, without the half second that scipy.stats takes to load

        moderated = self.belief @ stdtr(self.freedom, difference / np.sqrt(self._variances(examples)))
        error = math.sqrt(examples + self.common.variance * self._runs)
        in_common = stdtr(min(self.common.freedom, TAIL), difference / error)
        return float(max(moderated, in_common))

    def _largest_rise(self, level: float) -> float:
        """The largest true difference now - before, within -1...1, that would not have been refused at `level`."""
        from scipy.optimize import brentq

        if self.p_value(-1.0) >= level:
            return 1.0
        if self.p_value(1.0) <= level:
            return -1.0
        return -float(brentq(lambda drop: self.p_value(drop) - level, -1.0, 1.0, xtol=1e-6))


def seed_test(
    now: Outcomes, before: Outcomes, labels: Sequence[Any], neighbours: tuple[Scatter, ...] = ()
) -> SeedTest | None:
    """The test over examples and seeds; None where nothing is known of how seeds scatter, or they do not.

    `labels` names the cluster that each example belongs to; examples of their own have labels of their own.
    """
    own = scatter_of(now, before)
    if own is None and (max(len(now), len(before)) > 1 or not neighbours):
        return None
    common = _pooled([*neighbours, *([own] if own else [])])
    n, clusters = len(labels), len(set(labels))
    totals = _totals(now, labels).mean(axis=0) - _totals(before, labels).mean(axis=0)
    seen = float(totals.var(ddof=1)) * clusters if clusters > 1 else 0.0
    # Chance within a run makes examples differ, and seed means too; it counts once, with the latter.
    chance = _chance(now, before, labels) * (1 / len(now) + 1 / len(before))
    middle = fmean(fmean(seed) for seed in (*now, *before))
    examples = max(seen - chance, 0.0) / n**2 * _steepness(middle, n) ** 2
    return SeedTest(now, before, beliefs(neighbours, own), common, examples, max(1, clusters - 1))


def _pooled(scatters: Sequence[Scatter]) -> Scatter:
    """One scatter for all: the mean of their variances, each weighted by its degrees of freedom."""
    freedom = sum(scatter.freedom for scatter in scatters)
    return Scatter(sum(scatter.variance * scatter.freedom for scatter in scatters) / freedom, freedom)


def _steepness(mean: float, n: int) -> float:
    """How many radians a small step of a mean is, at `mean`; an example more on either side keeps it finite."""
    inside = (mean * n + 0.5) / (n + 1)
    return 1 / math.sqrt(inside * (1 - inside))


def _codes(labels: Sequence[Any]) -> list[int]:
    """The number of each example's cluster, in order of appearance."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]


def _totals(side: Outcomes, labels: Sequence[Any]) -> Floats:
    """The sum of scores [seed, cluster]."""
    codes = _codes(labels)
    return np.array([np.bincount(codes, seed) for seed in side])


def _chance(now: Outcomes, before: Outcomes, labels: Sequence[Any]) -> float:
    """Variance of one run's summed scores from what is neither example's nor seed's, pooled over both sides."""
    squares, freedom = 0.0, 0
    sizes = np.unique(_codes(labels), return_counts=True)[1]
    for side in (now, before):
        if len(side) > 1:
            totals = _totals(side, labels)
            means = totals.sum(axis=1, keepdims=True) / len(labels)
            rest = totals - totals.mean(axis=0) - sizes * (means - means.mean())
            squares, freedom = squares + float((rest**2).sum()), freedom + len(side) - 1
    return squares / freedom if freedom else 0.0

"""Is the mean of bounded differences below zero? A test that holds its level however skewed they are.

Tests that sign differences at random, or trust Student's t, take them to be symmetric, or many. Graded scores are
neither: where nineteen of twenty examples lose a little and one gains a lot, so that the mean is unchanged, fifty
examples often show losses alone, and such tests alarm in up to a quarter of all runs.

Here one more example is added which gained all that can be gained, and the p-value is the probability that the mean,
weighted by uniformly random weights that add up to 1 (Dirichlet), is not below zero (Gaffke, Statistics & Decisions
2005; Learned-Miller & Thomas, arXiv 1905.06208). For 0/1 scores it is the test of Clopper and Pearson; for all other
bounded scores no case is known in which its level is exceeded, though that it never is has not been proven.
"""

import math
from collections.abc import Sequence

import numpy as np

STEPS = 1000
"""Points of the sum that stands for an integral: against the beta distribution it errs by a few millionths of p."""
FAR = 1e6
"""Where the sum ends, in units of the integrand's width: it has long vanished there."""
GRAIN = 0.001
"""Differences are rounded to this, so that a thousand examples are at most some two thousand values."""


def p_value(differences: Sequence[float], most: float = 1.0) -> float:
    """The probability of losses as large as these where the true mean of the differences is not below zero.

    Args:
        differences: now less before, per example or per cluster; none is above `most`.
        most: the largest gain that an example (or cluster) can make, above 0.
    """
    values = np.round(np.array([*differences, most], dtype=float) / GRAIN) * GRAIN
    if not (values < 0).any():
        return 1.0
    # Uniform weights are exponential variables over their sum: P(sum of weighted values >= 0) is a tail probability of
    # a sum of scaled exponentials, whose moment generating function is the product of 1 / (1 - value z).
    sizes, counts = np.unique(values, return_counts=True)
    low, high = 0.0, 1 / float(sizes[-1])

    def slope(z: float) -> float:
        return float((counts * sizes / (1 - sizes * z)).sum()) - 1 / z

    # The saddle point: there the integrand along the imaginary direction is smooth and falls off fastest.
    low, high = high * 1e-12, high * (1 - 1e-12)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    saddle = (low + high) / 2
    curvature = float((counts * (sizes / (1 - sizes * saddle)) ** 2).sum()) + 1 / saddle**2
    t = np.sinh(np.linspace(0, math.asinh(FAR), STEPS + 1)) / math.sqrt(curvature)
    z = saddle + 1j * t
    logs = -(counts[:, None] * np.log1p(-sizes[:, None] * z[None, :])).sum(axis=0) - np.log(z)
    heights = np.exp(logs).real
    widths = np.gradient(t)
    widths[0] /= 2
    return float(min(1.0, max(0.0, (heights * widths).sum() / math.pi)))

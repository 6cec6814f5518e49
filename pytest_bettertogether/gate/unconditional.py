"""The exact unconditional one-sided paired test for 0/1 outcomes (Suissa & Shuster, Biometrics 1991).

Of n examples, `broken` were right before and are wrong now, `fixed` the reverse. Outcomes are
ordered by z = (broken - fixed) / sqrt(broken + fixed); the p-value is the probability of a z at
least as large if breaking and fixing are equally likely, maximised over the unknown share
of examples that change at all. Unlike McNemar's test it does not condition on that share, and so
does not give away power on small test sets.

With a `margin`, the question is whether more than that was lost: the null hypothesis is a true
drop of at most `margin`, and z = (broken - fixed - n margin) / sqrt(broken + fixed - n margin^2).
"""

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom

GRID = 400
"""Discordance rates at which the size is looked up first; the best of them is then refined."""
LARGEST_Z = 8.0
ROUNDING = 1e-9
"""Two z that differ by less are one."""


def p_value(broken: int, fixed: int, n: int, margin: float = 0.0) -> float:
    """How surprising at least this much breakage is if the true drop is `margin`; 1.0 if no more than that was lost."""
    excess, scale = broken - fixed - n * margin, broken + fixed - n * margin**2
    if excess <= 0:
        return 1.0
    # A drop beyond the margin has a positive scale: excess > 0 means broken + fixed > n margin >= n margin^2.
    return _largest_size(excess / math.sqrt(scale), n, margin)


def power(n: int, alpha: float, drop: float, changing: float, margin: float = 0.0) -> float:
    """The chance that a true drop is found significant at `alpha`.

    `drop` is the share of examples that break less that which are fixed; `changing` is the sum of
    the two, and at least `drop`.
    """
    m = np.arange(n + 1)
    breaking = (changing + drop) / 2 / changing
    tails = binom.sf(_fewest(critical_z(n, alpha, margin), m, n, margin) - 1, m, breaking)
    return float(binom.pmf(m, n, changing) @ tails)


@cache
def smallest_detectable_drop(
    n: int, alpha: float, changing: float = 0.2, wanted: float = 0.8, margin: float = 0.0
) -> float:
    """The smallest true drop that is found with probability `wanted`; NaN if not even the loss of everything is.

    Where `changing` is smaller than a drop, all that changes breaks.
    """
    found = [drop / 1000 for drop in range(1, 1001)]
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        if power(n, alpha, found[middle], max(changing, found[middle]), margin) >= wanted:
            high = middle
        else:
            low = middle + 1
    return found[low] if low < len(found) else math.nan


@cache
def critical_z(n: int, alpha: float, margin: float = 0.0) -> float:
    """The smallest z that is significant; infinite if none is."""
    m, excess = np.meshgrid(np.arange(1, n + 1), np.arange(1, n + 1))
    scale = m - n * margin**2
    # broken - fixed and broken + fixed are both odd or both even; a z above 8 is never needed.
    possible = ((m + excess) % 2 == 0) & (excess <= m) & (excess > n * margin) & (scale > 0)
    values = (excess[possible] - n * margin) / np.sqrt(scale[possible])
    values = np.unique(np.round(values[values < LARGEST_Z], 12))
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if _largest_size(float(values[middle]), n, margin) <= alpha:
            high = middle
        else:
            low = middle + 1
    return float(values[low]) if low < len(values) else math.inf


def _fewest(z: float, m: Any, n: int, margin: float) -> Any:
    """For each number of changed examples, how many must have broken for a z at least as large."""
    if math.isinf(z):
        return m + 1
    scale = np.maximum(m - n * margin**2, 0.0)
    needed = np.ceil((m + n * margin + z * np.sqrt(scale)) / 2 - ROUNDING * (1 + m))
    return np.where(scale == 0, m + 1, needed)  # where nothing changes z is 0, which is never significant


def _largest_size(z: float, n: int, margin: float) -> float:
    """P(Z >= z) at its largest over the discordance rate, with a true drop of exactly `margin`."""
    m = np.arange(n + 1)
    fewest = _fewest(z, m, n, margin)

    def size(rate: float) -> float:
        breaking = (rate + margin) / 2 / rate
        return float(binom.pmf(m, n, rate) @ binom.sf(fewest - 1, m, breaking))

    rates, changing = _rates(n, margin)
    sizes = np.array([size(rate) for rate in rates]) if margin else changing @ binom.sf(fewest - 1, m, 0.5)
    peak = int(np.argmax(sizes))
    around = (float(rates[max(0, peak - 1)]), float(rates[min(GRID, peak + 1)]))
    refined = minimize_scalar(lambda rate: -size(rate), bounds=around, method="bounded", options={"xatol": 1e-6})
    return min(1.0, max(float(sizes[peak]), -float(refined.fun)))


@cache
def _rates(n: int, margin: float) -> tuple[Any, Any]:
    """Discordance rates to look at, [rate]; and how many examples change at each, P [rate, changed]."""
    rates = np.linspace(max(margin, 1e-9), 1.0, GRID + 1)
    return rates, binom.pmf(np.arange(n + 1)[None, :], n, rates[:, None])

"""The exact unconditional one-sided paired test for 0/1 outcomes (Suissa & Shuster, Biometrics 1991).

Of n examples, `broken` were right before and are wrong now, `fixed` the reverse. Outcomes are
ordered by z = (broken - fixed) / sqrt(broken + fixed); the p-value is the probability of a z at
least as large if breaking and fixing are equally likely, maximised over the unknown share
of examples that change at all. Unlike McNemar's test it does not condition on that share, and so
does not give away power on small test sets.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom

GRID = 400
"""Discordance rates at which the size is looked up first; the best of them is then refined."""
ROUNDING = 1e-9
"""Two z that differ by less are one."""


def p_value(broken: int, fixed: int, n: int) -> float:
    """How surprising at least this much breakage is if nothing got worse; 1.0 if no more broke than were fixed."""
    if broken <= fixed:
        return 1.0
    return _largest_size((broken - fixed) / math.sqrt(broken + fixed), n)


def power(n: int, alpha: float, drop: float, changing: float) -> float:
    """The chance that a true drop is found significant at `alpha`.

    `drop` is the share of examples that break less that which are fixed; `changing` is the sum of
    the two, and at least `drop`.
    """
    m = np.arange(n + 1)
    breaking = (changing + drop) / 2 / changing
    tails = binom.sf(_fewest(critical_z(n, alpha), m) - 1, m, breaking)
    return float(binom.pmf(m, n, changing) @ tails)


def smallest_detectable_drop(n: int, alpha: float, changing: float = 0.2, wanted: float = 0.8) -> float:
    """The smallest true drop that is found with probability `wanted`; NaN if not even the loss of everything is.

    Where `changing` is smaller than a drop, all that changes breaks.
    """
    found = [drop / 1000 for drop in range(1, 1001)]
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        if power(n, alpha, found[middle], max(changing, found[middle])) >= wanted:
            high = middle
        else:
            low = middle + 1
    return found[low] if low < len(found) else math.nan


@cache
def critical_z(n: int, alpha: float) -> float:
    """The smallest z that is significant; infinite if none is."""
    # broken - fixed and broken + fixed are both odd or both even; a z above 8 is never needed.
    values = np.unique(
        [
            round(excess / math.sqrt(m), 12)
            for m in range(1, n + 1)
            for excess in range(1 + (m + 1) % 2, min(m, math.ceil(8 * math.sqrt(m))) + 1, 2)
        ]
    )
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if _largest_size(float(values[middle]), n) <= alpha:
            high = middle
        else:
            low = middle + 1
    return float(values[low]) if low < len(values) else math.inf


def _fewest(z: float, m: Any) -> Any:
    """For each number of changed examples, how many must have broken for a z at least as large."""
    if math.isinf(z):
        return m + 1
    needed = np.ceil((m + z * np.sqrt(m)) / 2 - ROUNDING * (1 + m))
    return np.where(m == 0, 1, needed)  # where nothing changes z is 0, which is never significant


def _largest_size(z: float, n: int) -> float:
    """P(Z >= z) at its largest over the discordance rate."""
    m = np.arange(n + 1)
    tails = binom.sf(_fewest(z, m) - 1, m, 0.5)

    def size(rate: float) -> float:
        return float(binom.pmf(m, n, rate) @ tails)

    rates = np.linspace(0.0, 1.0, GRID + 1)
    sizes = binom.pmf(m[None, :], n, rates[:, None]) @ tails
    peak = int(np.argmax(sizes))
    around = (float(rates[max(0, peak - 1)]), float(rates[min(GRID, peak + 1)]))
    refined = minimize_scalar(lambda rate: -size(rate), bounds=around, method="bounded", options={"xatol": 1e-6})
    return min(1.0, max(float(sizes[peak]), -float(refined.fun)))

"""The exact unconditional one-sided paired test for 0/1 outcomes (Suissa & Shuster, Biometrics 1991).

Of n examples, `broken` were right before and are wrong now, `fixed` the reverse. Outcomes are
ordered by z = (broken - fixed) / sqrt(broken + fixed); the p-value is the probability of a z at
least as large if breaking and fixing are equally likely, maximised over the unknown share
of examples that change at all. Unlike McNemar's test it does not condition on that share, and so
does not give away power on small test sets. Shares that the number of changed examples all but rules out are
not considered, and what they could have added is added instead (Berger & Boos, Journal of the
American Statistical Association 1994): the test stays exact, and is not held back by rates that are far off.

With a `margin`, the question is whether more than that was lost: the null hypothesis is a true
drop of at most `margin`, and z = (broken - fixed - n margin) / sqrt(broken + fixed - n margin^2).
"""

import math
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom

GRID = 400
"""Discordance rates at which the size is looked up first; the best of them is then refined."""
NEGLIGIBLE = 1e-16
"""Less likely numbers of changed examples are left out of sums: all of them together are far below UNLIKELY."""
UNLIKELY = 1e-6
"""The probability that the true share of changing examples is outside of the rates that are looked at."""
TABLE = 2000
"""Examples up to which the probabilities of all numbers of changed examples at all rates are kept as one table (6 MB);
above that, those that are needed are computed each time: the table of 100,000 examples would have 320 MB."""
LARGE = 300
"""Examples up to which a detectable drop is worked out exactly."""
ROUNDING = 1e-9
"""Two z that differ by less are one."""


def p_value(broken: int, fixed: int, n: int, margin: float = 0.0) -> float:
    """How surprising at least this much breakage is if the true drop is `margin`; 1.0 if no more than that was lost."""
    excess, scale = broken - fixed - n * margin, broken + fixed - n * margin**2
    if excess <= 0:
        return 1.0
    # A drop beyond the margin has a positive scale: excess > 0 means broken + fixed > n margin >= n margin^2.
    return min(1.0, _largest_size(excess / math.sqrt(scale), n, margin, _plausible(broken + fixed, n)) + UNLIKELY)


def power(n: int, alpha: float, drop: float, changing: float, margin: float = 0.0) -> float:
    """The chance that a true drop is found significant at `alpha`.

    `drop` is the share of examples that break less that which are fixed; `changing` is the sum of
    the two, and at least `drop`.
    """
    # Numbers of changed examples that are likelier than this are all that count.
    m = np.flatnonzero(binom.pmf(np.arange(n + 1), n, changing) > NEGLIGIBLE)
    fewest = np.array([fewest_broken(int(changed), n, alpha, margin) for changed in m])
    return float(binom.pmf(m, n, changing) @ binom.sf(fewest - 1, m, (changing + drop) / 2 / changing))


@cache
def smallest_detectable_drop(
    n: int, alpha: float, changing: float = 0.2, wanted: float = 0.8, margin: float = 0.0
) -> float:
    """The smallest true drop, in steps of 0.001, that is found with probability `wanted`; NaN if none is.

    `changing` is the share of examples that change where nothing got worse; with a drop more of them do
    (`changes_with`). Above `LARGE` examples the test is as good as its normal approximation, which costs nothing.
    """
    chance = power if n <= LARGE else _normal_power
    low, high = 1, 1001
    while low < high:
        middle = (low + high) // 2
        if chance(n, alpha, middle / 1000, changes_with(middle / 1000, changing), margin) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low / 1000 if low <= 1000 else math.nan


def changes_with(drop: float, changing: float) -> float:
    """The share of examples that change with a drop, if `changing` do without.

    Examples are neither all easy nor all hard: a drop breaks some and unsettles others. Half of the drop on top is what
    examples of evenly mixed difficulty (beta distributed, concentration 1) show, within 2 points of the drop.
    """
    return min(1.0, max(changing + drop / 2, drop))


def _normal_power(n: int, alpha: float, drop: float, changing: float, margin: float) -> float:
    """As `power`, where numbers of broken and fixed examples are about normal: within a point of it from n = 300 on."""
    normal = NormalDist()
    needed = n * margin + normal.inv_cdf(1 - alpha) * math.sqrt(n * (changing - margin**2))
    scatter = math.sqrt(n * max(changing - drop**2, 1e-12))
    return normal.cdf((n * drop - needed) / scatter)


@cache
def fewest_broken(m: int, n: int, alpha: float, margin: float = 0.0) -> int:
    """How many of m changed examples must have broken to be significant; m + 1 if not even all of them are enough."""
    likely = (m + n * margin + NormalDist().inv_cdf(1 - alpha) * math.sqrt(max(m - n * margin**2, 0.0))) / 2
    broken = min(max(round(likely), m // 2 + 1), m + 1)
    while broken <= m and not _significant(broken, m, n, alpha, margin):
        broken += 1
    while broken > m // 2 + 1 and _significant(broken - 1, m, n, alpha, margin):
        broken -= 1
    return broken


def _significant(broken: int, m: int, n: int, alpha: float, margin: float) -> bool:
    excess, scale = 2 * broken - m - n * margin, m - n * margin**2
    if excess <= 0:
        return False
    return _largest_size(excess / math.sqrt(scale), n, margin, _plausible(m, n), alpha - UNLIKELY) <= alpha - UNLIKELY


@cache
def _plausible(m: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's interval for the share of changing examples."""
    low = float(beta.ppf(UNLIKELY / 2, m, n - m + 1)) if m else 0.0
    high = float(beta.isf(UNLIKELY / 2, m + 1, n - m)) if m < n else 1.0
    return low, high


def _fewest(z: float, m: Any, n: int, margin: float) -> Any:
    """For each number of changed examples, how many must have broken for a z at least as large."""
    scale = np.maximum(m - n * margin**2, 0.0)
    needed = np.ceil((m + n * margin + z * np.sqrt(scale)) / 2 - ROUNDING * (1 + m))
    return np.where(scale == 0, m + 1, needed)  # where nothing changes z is 0, which is never significant


def _largest_size(z: float, n: int, margin: float, between: tuple[float, float], enough: float = math.inf) -> float:
    """P(Z >= z) at its largest over these discordance rates, with a true drop of exactly `margin`.

    No more exact than it takes to tell on which side of `enough` it is.
    """
    rates = _rates(margin)
    # One rate more on either side, for the interval ends between two.
    first = max(0, int(np.searchsorted(rates, between[0], "right")) - 1)
    last = min(GRID, int(np.searchsorted(rates, max(between[1], margin), "left")))
    rates = rates[first : last + 1]
    m, changing = _likely_changes(n, margin, first, last)
    fewest = _fewest(z, m, n, margin)

    def size(rate: float) -> float:
        breaking = (rate + margin) / 2 / rate
        return float(binom.pmf(m, n, rate) @ binom.sf(fewest - 1, m, breaking))

    breaking = (rates[:, None] + margin) / 2 / rates[:, None] if margin else np.array([[0.5]])
    sizes = (changing * binom.sf(fewest - 1, m, breaking)).sum(axis=1)
    peak = int(np.argmax(sizes))
    found = float(sizes[peak])
    if enough < math.inf and not 0.8 * enough < found <= enough:
        return found
    around = (float(rates[max(0, peak - 1)]), float(rates[min(len(rates) - 1, peak + 1)]))
    refined = minimize_scalar(lambda rate: -size(rate), bounds=around, method="bounded", options={"xatol": 1e-6})
    return min(1.0, max(found, -float(refined.fun)))


@cache
def _rates(margin: float) -> Any:
    """Discordance rates to look at, closest at both ends."""
    return np.maximum(margin + (1 - margin) * np.sin(np.linspace(0.0, np.pi / 2, GRID + 1)) ** 2, 1e-9)


@cache
def _table(n: int, margin: float) -> Any:
    """P [rate, changed] of how many examples change."""
    return binom.pmf(np.arange(n + 1)[None, :], n, _rates(margin)[:, None])


def _likely_changes(n: int, margin: float, first: int, last: int) -> tuple[Any, Any]:
    """Return the numbers of changed examples that are not negligible at the rates first...last, and P [rate, number].

    Above `TABLE` examples, none is looked at that Bernstein's inequality rules out at the outer two of these rates.
    """
    if n <= TABLE:
        changing = _table(n, margin)[first : last + 1]
        m = np.arange(n + 1)
    else:
        rates = _rates(margin)[first : last + 1]
        fewest, most = rates[0] * n - _reach(n, rates[0]), rates[-1] * n + _reach(n, rates[-1])
        m = np.arange(max(0, math.floor(fewest)), min(n, math.ceil(most)) + 1)
        changing = binom.pmf(m[None, :], n, rates[:, None])
    kept = changing.max(axis=0) > NEGLIGIBLE
    return m[kept], changing[:, kept]


def _reach(n: int, rate: float) -> float:
    """Return how far from its mean a binomial number may be, before Bernstein's inequality makes it negligible."""
    nats = -math.log(NEGLIGIBLE)
    return nats / 3 + math.sqrt((nats / 3) ** 2 + 2 * nats * n * rate * (1 - rate))

"""Is the gate as good as its word? Sessions are simulated whose true drops are known.

`python tests/simulation.py` prints two tables, false alarms per session and power per gate, for the
gate and for what people use instead; then a PASS or FAIL line for each property that it must have. It
exits 1 if one failed. Gates of a session are independent draws of a baseline and a new run, so that
false alarms per session follow from the rate of a single gate at level 0.05 / m: 1 - (1 - rate)^m.

Paired settings (one seed): a fifth of the items changes, whatever the drop is; a baseline is right on 70 %.
In clusters of 5 to 15 items four of five items do what their cluster does, the others as they like. Fifty
items are four clusters, too few for any verdict: signs alone have p >= 1/16.
Seeds: a run's true accuracy is drawn around its program's, whose difference is the drop. Which items it gets
right depends on how hard they are (alike for all runs), on the program, and on chance, the last two to equal
parts, so that two runs of equal accuracy differ on a fifth of the items.
"""

import argparse
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import binom, multivariate_normal
from tabulate import tabulate

from pytest_bettertogether.gate.statistics import compare
from pytest_bettertogether.gate.unconditional import p_value, power

LEVEL = 0.05
"""False alarms that a session is allowed."""
SIZES = (50, 100, 200, 500, 1319)
DROPS = (0.0, 0.01, 0.02, 0.05, 0.10)
GATES = (1, 12, 24)
ACCURACY = 0.7
CHANGING = 0.2
"""Share of items on which two runs of equal accuracy differ."""
FOLLOWING = 0.8
"""Share of items that do what their cluster does."""
SCATTER = 0.03
"""Standard deviation of true accuracies over a program's runs."""
THRESHOLD = 0.02
CHECKED = 20
"""Of each cell's trials, how many are judged by `compare` as well, and how many of those that went red."""
BATCH = 2_000_000
"""Outcomes drawn at a time on either side, so that arrays stay small."""

OURS, MCNEMAR, UNPAIRED = "the gate", "McNemar, exact", "unpaired z"
DROPPED, LOWER = f"fell by > {100 * THRESHOLD:.0f} points", "fell at all"
METHODS = (OURS, MCNEMAR, UNPAIRED, DROPPED, LOWER)

PUBLISHED = {
    (50, 1): (0.080, 0.174, 0.455),
    (50, 24): (0.003, 0.010, 0.063),
    (100, 1): (0.112, 0.294, 0.743),
    (100, 24): (0.005, 0.029, 0.231),
    (200, 1): (0.149, 0.467, 0.946),
    (200, 24): (0.011, 0.092, 0.637),
    (500, 1): (0.253, 0.804, 1.0),
    (500, 24): (0.029, 0.354, 0.989),
}
"""(n, gates) -> power at true drops of 2, 5 and 10 points, worked out independently of this package."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Setting:
    """How outcomes come about. `promised`: false alarms are held to the level here."""

    name: str
    seeds: int = 1
    clustered: bool = False
    scatter: bool = False
    promised: bool = True


INDEPENDENT = Setting("independent items")
CLUSTERED = Setting("declared clusters", clustered=True)
SEEDS = {seeds: Setting(f"scattering runs, seeds: {seeds}", seeds, scatter=True) for seeds in (3, 5)}
ONE_SEED = Setting("scattering runs, seeds: 1 (no promise)", scatter=True, promised=False)
SETTINGS = (INDEPENDENT, CLUSTERED, ONE_SEED, *SEEDS.values())


@dataclass(frozen=True)
class Trials:
    """Outcomes [trial, seed, item] of both sides, and each item's cluster where the gate is told."""

    now: Bools
    before: Bools
    clusters: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Grid:
    """What is simulated, and how often: `sessions` for power, and as many times the most gates for false alarms."""

    sessions: int
    settings: Sequence[Setting] = SETTINGS
    sizes: Sequence[int] = SIZES
    drops: Sequence[float] = DROPS
    gates: Sequence[int] = GATES
    seed: int = 0

    def trials(self, drop: float) -> int:
        """How many single gates are drawn; at no drop, as many as that many of the largest sessions have."""
        return self.sessions if drop else self.sessions * max(self.gates)


@dataclass(frozen=True)
class Cell:
    """How often each method went red, per number of gates in the session."""

    setting: Setting
    n: int
    drop: float
    trials: int
    red: dict[tuple[str, int], int]
    checked: int

    def rate(self, method: str, gates: int) -> float:
        """The share of single gates that went red."""
        return self.red[method, gates] / self.trials

    def per_session(self, method: str, gates: int) -> float:
        """The probability that at least one gate of a session goes red."""
        return at_least_one(self.rate(method, gates), gates)

    def allowed(self, gates: int) -> float:
        """LEVEL and three standard errors that an estimate has where the true rate is just allowed."""
        rate = 1 - (1 - LEVEL) ** (1 / gates)
        slope = gates * (1 - rate) ** (gates - 1)  # of per_session by rate
        return float(LEVEL + 3 * slope * (rate * (1 - rate) / self.trials) ** 0.5)


@dataclass(frozen=True)
class Check:
    """One required property and whether it was found."""

    passed: bool
    what: str

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'} {self.what}"


def at_least_one(rate: float, gates: int) -> float:
    """The probability that one of so many independent gates goes red."""
    return 1.0 - (1.0 - rate) ** gates


# How outcomes come about


def draw(setting: Setting, rng: np.random.Generator, trials: int, n: int, drop: float) -> Trials:
    """So many pairs of a baseline and a new run."""
    if setting.scatter:
        return draw_runs(rng, trials, n, drop, setting.seeds)
    return draw_changes(rng, trials, n, drop, labels(n) if setting.clustered else None)


@cache
def labels(n: int) -> tuple[int, ...]:
    """Clusters of 5 to 15 items, alike for all trials: a test split does not change."""
    sizes = np.random.default_rng(n).integers(5, 16, size=n)
    return tuple(int(each) for each in np.repeat(np.arange(n), sizes)[:n])


def draw_changes(
    rng: np.random.Generator, trials: int, n: int, drop: float, clusters: tuple[int, ...] | None
) -> Trials:
    """Items break, are fixed or stay as they were, alone or with their cluster."""
    drawn = rng.random((trials, n), dtype=np.float32)
    if clusters is not None:
        together = rng.random((trials, max(clusters) + 1), dtype=np.float32)[:, clusters]
        drawn = np.where(rng.random((trials, n), dtype=np.float32) < FOLLOWING, together, drawn)
    breaking, fixing = (CHANGING + drop) / 2, (CHANGING - drop) / 2
    broken, fixed = drawn < breaking, drawn >= 1 - fixing
    right = rng.random((trials, n), dtype=np.float32) < (ACCURACY - breaking) / (1 - CHANGING)
    right &= ~(broken | fixed)
    return Trials((right | fixed)[:, None], (right | broken)[:, None], clusters)


def draw_runs(rng: np.random.Generator, trials: int, n: int, drop: float, seeds: int) -> Trials:
    """A run is right where its ability exceeds what an item asks of its program and of itself."""
    alike = shared_variance()
    hard = rng.standard_normal((trials, 1, n), dtype=np.float32) * np.float32(alike**0.5)
    part = np.float32(((1 - alike) / 2) ** 0.5)

    def side(accuracy: float) -> Bools:
        runs = np.clip(accuracy + SCATTER * rng.standard_normal((trials, seeds, 1)), 0.01, 0.99)
        asked = hard + part * rng.standard_normal((trials, 1, n), dtype=np.float32)
        chance = part * rng.standard_normal((trials, seeds, n), dtype=np.float32)
        outcomes: Bools = asked + chance <= ndtri(runs).astype(np.float32)
        return outcomes

    return Trials(side(ACCURACY - drop), side(ACCURACY))


@cache
def shared_variance() -> float:
    """The part of the variance that all runs share, so that two of them differ on CHANGING of the items."""
    limit = ndtri(ACCURACY)

    def differing(alike: float) -> float:
        both = multivariate_normal.cdf([limit, limit], cov=[[1.0, alike], [alike, 1.0]])
        return float(2 * (ACCURACY - both) - CHANGING)

    return float(brentq(differing, 0.01, 0.999))


# How they are judged


def judge(trials: Trials, gates: Sequence[int]) -> dict[tuple[str, int], Bools]:
    """(method, gates in the session) -> for each trial, is it red?"""
    right_now, right_before = (side.sum((1, 2)) for side in (trials.now, trials.before))
    count = trials.now.shape[1] * trials.now.shape[2]
    lost = right_before - right_now
    # Runs are paired in their order, and their items counted as if there were that many more of them.
    broken = (trials.before & ~trials.now).sum((1, 2))
    sign_test = binom.sf(broken - 1, 2 * broken - lost, 0.5)
    pooled = (right_now + right_before) / (2 * count)
    z = lost / np.sqrt(np.maximum(2 * count * pooled * (1 - pooled), 1e-9))
    ours = the_gate(trials, gates)
    return {
        key: verdict
        for m in gates
        for key, verdict in {
            (OURS, m): ours[m],
            (MCNEMAR, m): (sign_test <= LEVEL / m) & (lost > 0),
            (UNPAIRED, m): z >= -ndtri(LEVEL / m),
            (DROPPED, m): lost > THRESHOLD * count + 1e-9,
            (LOWER, m): lost > 0,
        }.items()
    }


def the_gate(trials: Trials, gates: Sequence[int]) -> dict[int, Bools]:
    """What `by_compare` finds, in less time."""
    if trials.now.shape[1] > 1:
        return by_compare(trials, gates, np.flatnonzero(not_plainly_green(trials, LEVEL / min(gates))))
    change = trials.now[:, 0].astype(np.int8) - trials.before[:, 0]
    lost = -change.sum(1, dtype=np.int64)
    if trials.clusters is None:
        changed = np.abs(change).sum(1, dtype=np.int64)
        broken = (changed + lost) // 2
        return {m: broken >= fewest_broken(change.shape[1], changed, LEVEL / m) for m in gates}
    starts = np.flatnonzero(np.diff(trials.clusters, prepend=-1))
    totals = np.add.reduceat(change, starts, axis=1, dtype=np.int64)
    # A bounded mean is never surer of a loss than a plain z over clusters is.
    z = totals.sum(1) / np.sqrt(np.maximum((totals.astype(float) ** 2).sum(1), 1e-9))
    return by_compare(trials, gates, np.flatnonzero(z < ndtri(LEVEL / min(gates)) * 0.9))


def fewest_broken(n: int, changed: npt.NDArray[np.int64], level: float) -> npt.NDArray[np.int64]:
    """For each number of changed items, how many must have broken to be significant."""
    values, where = np.unique(changed, return_inverse=True)
    return np.array([significant_from(n, int(each), level) for each in values])[where]


@cache
def significant_from(n: int, changed: int, level: float) -> int:
    """One seed of 0/1 outcomes: p depends on two numbers, and falls the more of the changed items broke."""
    possible = range(changed // 2 + 1, changed + 1)
    found = bisect_left(possible, True, key=lambda broken: p_value(broken, changed - broken, n) <= level)
    return changed // 2 + 1 + found


def not_plainly_green(trials: Trials, level: float) -> Bools:
    """False where no test can be significant whose variance is at least that of items, and that of seeds."""
    difference = trials.now.mean(1, dtype=np.float32) - trials.before.mean(1, dtype=np.float32)
    items = difference.var(1, ddof=1) / difference.shape[1]
    seeds = sum(side.mean(2).var(1, ddof=1) / side.shape[1] for side in (trials.now, trials.before))
    # A twentieth of a standard error more, for rounding.
    red: Bools = difference.mean(1) < (ndtri(level) + 0.05) * np.sqrt(np.maximum(items, seeds))
    return red


def by_compare(trials: Trials, gates: Sequence[int], which: npt.NDArray[np.intp]) -> dict[int, Bools]:
    """The verdicts of the real thing on some of the trials; others are green."""
    red = {m: np.zeros(len(trials.now), dtype=bool) for m in gates}
    for i in which:
        now, before = (side[i].astype(float).tolist() for side in (trials.now, trials.before))
        comparison = compare(now, before, trials.clusters)
        for m in gates:
            red[m][i] = comparison.p_value <= LEVEL / m and comparison.difference < 0
    return red


def agree(trials: Trials, gates: Sequence[int], ours: dict[int, Bools]) -> int:
    """Assert that `the_gate` said what `compare` says, on any trials and on some that went red; how many."""
    red = np.flatnonzero(ours[min(gates)])[:CHECKED]
    which = np.union1d(np.arange(min(CHECKED, len(trials.now))), red)
    for m, verdicts in by_compare(trials, gates, which).items():
        assert (verdicts[which] == ours[m][which]).all(), f"the simulated gate is not compare(), {m} gates"
    return len(which)


def simulate(grid: Grid) -> Iterator[Cell]:
    """One cell after the other. Each has random numbers of its own, so none depends on which others ran."""
    for setting in grid.settings:
        for n in grid.sizes:
            for drop in grid.drops:
                yield simulate_cell(grid, setting, n, drop)


def simulate_cell(grid: Grid, setting: Setting, n: int, drop: float) -> Cell:
    """Draw and judge, batch by batch."""
    rng = np.random.default_rng([grid.seed, SETTINGS.index(setting), n, round(1000 * drop)])
    trials, checked = grid.trials(drop), 0
    red = dict.fromkeys(((method, m) for method in METHODS for m in grid.gates), 0)
    batch = max(CHECKED, BATCH // (n * setting.seeds))
    for start in range(0, trials, batch):
        drawn = draw(setting, rng, min(batch, trials - start), n, drop)
        verdicts = judge(drawn, grid.gates)
        for key, verdict in verdicts.items():
            red[key] += int(verdict.sum())
        if start == 0:
            checked = agree(drawn, grid.gates, {m: verdicts[OURS, m] for m in grid.gates})
    return Cell(setting, n, drop, trials, red, checked)


# What is known without simulation: one seed, independent items


def exact(method: str, n: int, gates: int, drop: float) -> float:
    """The probability that a single gate goes red: of the gate, or of the exact McNemar test."""
    if method == OURS:
        return power(n, LEVEL / gates, drop, CHANGING)
    changed = np.arange(n + 1)
    needed = binom.isf(LEVEL / gates, changed, 0.5) + 1
    tails = binom.sf(needed - 1, changed, (CHANGING + drop) / 2 / CHANGING)
    return float(binom.pmf(changed, n, CHANGING) @ tails)


# What is required


def checks(cells: Sequence[Cell]) -> list[Check]:
    """All that can be said about these cells."""
    found = [check_false_alarms(each) for each in by_setting([c for c in cells if c.setting.promised and not c.drop])]
    alone = [cell for cell in cells if cell.setting == INDEPENDENT]
    if alone:
        found += [check_against_exact(alone), check_against_published(), check_against_mcnemar(alone)]
    return [*found, Check(True, f"judged the same by compare(): {sum(cell.checked for cell in cells)} trials")]


def by_setting(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells of one setting, together."""
    settings = dict.fromkeys(cell.setting for cell in cells)
    return [[cell for cell in cells if cell.setting == setting] for setting in settings]


def check_false_alarms(cells: Sequence[Cell]) -> Check:
    """At most LEVEL of the sessions have one, of cells of one setting without a drop."""
    excess = {
        (cell.n, gates): (cell.per_session(OURS, gates) - cell.allowed(gates), cell.per_session(OURS, gates))
        for cell in cells
        for gates in gates_of(cell)
    }
    (n, gates), (over, rate) = max(excess.items(), key=lambda item: item[1][0])
    others = sum(each > 0 for each, _ in excess.values())
    what = f"false alarms per session, {cells[0].setting.name}: {others} of {len(excess)} too many; worst {rate:.1%}"
    return Check(over <= 0, f"{what} (n = {n}, gates: {gates}; allowed with Monte Carlo error {rate - over:.1%})")


def check_against_exact(cells: Sequence[Cell]) -> Check:
    """Simulated rates are within four standard errors, and one trial, of the exact ones."""
    off = [
        abs(cell.rate(method, gates) - known) <= 4 * (known * (1 - known) / cell.trials) ** 0.5 + 1 / cell.trials
        for cell in cells
        for method in (OURS, MCNEMAR)
        for gates in gates_of(cell)
        for known in [exact(method, cell.n, gates, cell.drop)]
    ]
    return Check(all(off), f"simulated rates are the exact ones: {sum(off)} of {len(off)}, independent items")


def check_against_published() -> Check:
    """Exact power is at most a point below PUBLISHED."""
    short = {
        (n, gates, drop): known - exact(OURS, n, gates, drop)
        for (n, gates), powers in PUBLISHED.items()
        for drop, known in zip((0.02, 0.05, 0.10), powers, strict=True)
    }
    n, gates, drop = max(short, key=lambda key: short[key])
    what = f"exact power is at most {100 * short[n, gates, drop]:.2f} points below the published one"
    return Check(max(short.values()) <= 0.01, f"{what} (n = {n}, gates: {gates}, drop of {100 * drop:.0f} points)")


def check_against_mcnemar(cells: Sequence[Cell]) -> Check:
    """Exact power is nowhere below McNemar's."""
    gain = [
        exact(OURS, cell.n, gates, cell.drop) - exact(MCNEMAR, cell.n, gates, cell.drop)
        for cell in cells
        for gates in gates_of(cell)
    ]
    what = f"exact power exceeds McNemar's by {100 * min(gain):.2f} to {100 * max(gain):.2f} points"
    return Check(min(gain) >= -1e-9, what)


def gates_of(cell: Cell) -> list[int]:
    """Session sizes that a cell was judged for."""
    return sorted({gates for _, gates in cell.red})


# What is printed


def false_alarm_table(cells: Sequence[Cell]) -> str:
    """False alarms per session, in percent; one column per method, one number per session size."""
    rows = []
    for group in by_setting([cell for cell in cells if not cell.drop]):
        for cell in group:
            row = [in_percent(cell.per_session(method, gates) for gates in gates_of(cell)) for method in METHODS]
            rows.append([cell.setting.name, cell.n, *row])
            if cell.setting == INDEPENDENT:
                known = [
                    in_percent(at_least_one(exact(method, cell.n, gates, 0.0), gates) for gates in gates_of(cell))
                    for method in (OURS, MCNEMAR)
                ]
                rows.append(["– the same, exact", cell.n, *known, "", "", ""])
    return str(tabulate(rows, ["setting", "n", *METHODS], tablefmt="github", disable_numparse=True))


def power_table(cells: Sequence[Cell], fewest: int, most: int) -> str:
    """Power per gate, in percent; one column per method and session size, one number per drop."""
    columns = [(OURS, gates) for gates in gates_of(cells[0])]
    columns += [(method, gates) for method in (MCNEMAR, UNPAIRED) for gates in dict.fromkeys((fewest, most))]
    columns += [(method, fewest) for method in (DROPPED, LOWER)]
    rows = []
    for group in by_setting([cell for cell in cells if cell.drop]):
        for n in dict.fromkeys(cell.n for cell in group):
            found = [cell for cell in group if cell.n == n]
            known = found[0].setting == INDEPENDENT
            powers = [
                in_percent(
                    exact(method, n, gates, cell.drop)
                    if known and method in (OURS, MCNEMAR)
                    else cell.rate(method, gates)
                    for cell in found
                )
                for method, gates in columns
            ]
            rows.append([found[0].setting.name, n, *powers])
    heads = [method if method in (DROPPED, LOWER) else f"{method}, {gates}" for method, gates in columns]
    return str(tabulate(rows, ["setting", "n", *heads], tablefmt="github", disable_numparse=True))


def in_percent(rates: Iterator[float]) -> str:
    """Such as 4.9 / 4.8 / 0.3 and, for large ones, 87."""
    return " / ".join(f"{100 * rate:.1f}" if rate < 0.0995 else f"{100 * rate:.0f}" for rate in rates)


def report(grid: Grid, cells: Sequence[Cell], found: Sequence[Check]) -> str:
    """Both tables with what one has to know to read them, and the checks."""
    gates = " / ".join(map(str, grid.gates))
    drops = " / ".join(f"{100 * drop:.0f}" for drop in grid.drops if drop)
    parts = [
        f"False alarms per session of {gates} gates, in %, where nothing got worse. From {grid.trials(0.0)} gates a "
        f"row at level {LEVEL} / gates, taken for independent: 1 - (1 - rate)^gates.",
        false_alarm_table(cells),
        f"Power of one gate in %, at true drops of {drops} points; the number after a method is that of gates in the "
        f"session, whose level is {LEVEL} / gates. Independent items: {OURS} and McNemar exactly; all else from "
        f"{grid.sessions} gates a number.",
        power_table(cells, min(grid.gates), max(grid.gates)),
        "\n".join(map(str, found)),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Simulate, print, and say by the exit code whether all is as required."""
    parser = argparse.ArgumentParser(description="Simulate the gate: false alarms and power, against other methods.")
    parser.add_argument("--trials", type=int, default=2000, metavar="N", help="sessions to simulate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="200 sessions, n = 50 and 200 only: seconds")
    options = parser.parse_args()
    grid = Grid(200, sizes=(50, 200), seed=options.seed) if options.quick else Grid(options.trials, seed=options.seed)
    cells = []
    for cell in simulate(grid):
        cells.append(cell)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{cell.setting.name}, n = {cell.n}, drop {cell.drop:.0%} \r")
    found = checks(cells)
    sys.stdout.write(report(grid, cells, found))
    return 0 if all(check.passed for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())

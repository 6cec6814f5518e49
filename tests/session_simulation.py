"""False alarms per session, and power, where seeds scatter in ways that the gate was not built for.

`python tests/session_simulation.py` draws whole sessions, since a cell's verdict depends on its neighbours: every cell
has a baseline of several seeds, and how these scatter is what the gate learns from. Items are of mixed difficulty
(beta distributed around 70 %); each seed moves the ability of the program by what the setting says. It exits 1 if a
setting that is promised shows more false alarms than 5 % and three standard errors.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from pytest_bettertogether.gate.seed_scatter import Scatter, scatter_of
from pytest_bettertogether.gate.statistics import compare

LEVEL = 0.05
"""False alarms that a session is allowed."""
DROP = 0.1
"""What is lost where power is asked for."""
Generator = np.random.Generator
Effects = Callable[[Generator, int], npt.NDArray[np.float64]]
"""What so many seeds of one cell add to its ability."""


@dataclass(frozen=True)
class Setting:
    """How seeds scatter. `promised`: false alarms are held to the level here."""

    name: str
    effects: Effects
    before: int = 3
    now: int = 3
    promised: bool = True


def _normal(rng: Generator, seeds: int) -> npt.NDArray[np.float64]:
    return rng.normal(0, 0.03, seeds)


def _modes(rng: Generator, seeds: int) -> npt.NDArray[np.float64]:
    return rng.choice([-0.05, 0.05], seeds)


def _collapses(probability: float) -> Effects:
    return lambda rng, seeds: -0.2 * (rng.random(seeds) < probability)


SETTINGS = (
    Setting("no scatter", lambda _, seeds: np.zeros(seeds)),
    Setting("normal, 3 points", _normal),
    Setting("Student's t with 3 degrees", lambda rng, seeds: 0.03 * rng.standard_t(3, seeds) / 3**0.5),
    Setting("two modes, 10 points apart", _modes),
    Setting("30 % collapse by 20 points", _collapses(0.3)),
    Setting("10 % collapse by 20 points", _collapses(0.1)),
    Setting("normal, baseline of 3, now 1", _normal, 3, 1),
    Setting("normal, baseline of 1, now 3", _normal, 1, 3),
    Setting("normal, baseline of 10", _normal, 10, 3),
    Setting("10 % collapse, baseline of 3, now 1", _collapses(0.1), 3, 1, promised=False),
)


def draw(rng: Generator, setting: Setting, n: int, drop: float) -> tuple[list[list[float]], list[list[float]]]:
    """One cell: scores now and before, [seed][item]."""
    hard = rng.beta(1.4, 0.6, n) * 0.9 + 0.05

    def side(seeds: int, lost: float) -> list[list[float]]:
        able = np.clip(hard + setting.effects(rng, seeds)[:, None] - lost, 0.005, 0.995)
        scores: list[list[float]] = (rng.random((seeds, n)) < able).astype(float).tolist()
        return scores

    return side(setting.now, drop), side(setting.before, 0.0)


def session(rng: Generator, setting: Setting, n: int, gates: int, drop: float = 0.0) -> list[bool]:
    """Which gates of one session are red; all but the first cell are unchanged."""
    cells = [draw(rng, setting, n, 0.0 if place else drop) for place in range(gates)]
    scatters: list[Scatter | None] = [scatter_of(before) for _, before in cells]
    red = []
    for place, (now, before) in enumerate(cells):
        neighbours = [scatter for other, scatter in enumerate(scatters) if scatter is not None and other != place]
        comparison = compare(now, before, neighbours=neighbours)
        red.append(comparison.p_value <= LEVEL / gates and comparison.difference < 0)
    return red


def alarms(setting: Setting, n: int, gates: int, sessions: int) -> float:
    """The share of sessions that are red where nothing changed."""
    rng = np.random.default_rng([n, gates, SETTINGS.index(setting)])
    return sum(any(session(rng, setting, n, gates)) for _ in range(sessions)) / sessions


def found(setting: Setting, n: int, gates: int, sessions: int) -> float:
    """How often a drop of DROP in one cell is found, among as many unchanged ones as the session has."""
    rng = np.random.default_rng([n, gates, SETTINGS.index(setting), 1])
    return sum(session(rng, setting, n, gates, DROP)[0] for _ in range(sessions)) / sessions


def allowed(sessions: int) -> float:
    """LEVEL and three standard errors of so many sessions."""
    return float(LEVEL + 3 * (LEVEL * (1 - LEVEL) / sessions) ** 0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, and say by the exit code whether all is as promised."""
    parser = argparse.ArgumentParser(description="Simulate sessions whose seeds scatter in unforeseen ways.")
    parser.add_argument("--cells", type=int, default=2400, metavar="N", help="cells drawn a number (%(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1319], metavar="N", help="test examples")
    parser.add_argument("--gates", type=int, nargs="+", default=[1, 6, 24], metavar="N", help="gates in a session")
    options = parser.parse_args(arguments)
    rows, broken = [], []
    for setting in SETTINGS:
        for n in options.sizes:
            sessions = {gates: max(100, options.cells // gates) for gates in options.gates}
            rates = {gates: alarms(setting, n, gates, sessions[gates]) for gates in options.gates}
            power = {gates: found(setting, n, gates, 100) for gates in options.gates}
            if setting.promised:
                broken += [(setting.name, n, gates) for gates in rates if rates[gates] > allowed(sessions[gates])]
            name = setting.name if setting.promised else f"{setting.name} (no promise)"
            rows.append([name, n, *(" / ".join(f"{100 * x[g]:.1f}" for g in options.gates) for x in (rates, power))])
    gates = " / ".join(map(str, options.gates))
    heads = ["seeds", "n", f"false alarms, {gates} gates, %", f"found, {100 * DROP:.0f} points, %"]
    sys.stdout.write(tabulate(rows, heads, tablefmt="github", disable_numparse=True) + "\n")
    for name, n, count in broken:
        sys.stdout.write(f"FAIL too many false alarms: {name}, n = {n}, {count} gates\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

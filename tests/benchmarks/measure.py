"""Measuring two sides in turn, and what comes out of it: medians, ranges, ratios."""

import ctypes
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SCHEMA = 1
"""Version of the results file."""

Side = Callable[[], float]
"""Does the work once and returns what was measured."""


@dataclass(frozen=True)
class Figure:
    """One measured thing on both sides, round by round; `theirs` is empty where there is nobody to compare with."""

    line: str
    what: str
    unit: str
    ours: tuple[float, ...]
    peer: str = ""
    theirs: tuple[float, ...] = ()
    more: bool = False
    """More is better."""
    required: str = ""
    met: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of how many times better we are; below 1 we lose.

        Where noise has made a difference of two times negative, the ratio of the medians.
        """
        pairs = [(a, b) if self.more else (b, a) for a, b in zip(self.ours, self.theirs, strict=False)]
        if pairs and all(high > 0 and low > 0 for high, low in pairs):
            return statistics.median(high / low for high, low in pairs)
        high, low = (statistics.median(side) for side in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        return high / low if high > 0 and low > 0 else None


@dataclass
class Report:
    """All that one run of the benchmark measured, and what it could not."""

    figures: list[Figure] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    machine: dict[str, object] = field(default_factory=dict)

    def add(self, figure: Figure) -> None:
        """Keep a figure, and say it."""
        self.figures.append(figure)
        say("  " + "\n  ".join(lines(figure)))

    def skip(self, line: str, what: str, why: str) -> None:
        """Note what was left out."""
        self.skipped.append({"line": line, "what": what, "why": why})
        say(f"  skipped: {what}: {why}")

    def merge(self, path: Path) -> "Report":
        """This report, with the lines that it does not have taken from an earlier results file."""
        if not path.exists():
            return self
        kept = read(path)
        new = {each.line for each in self.figures} | {each["line"] for each in self.skipped}
        figures = [each for each in kept.figures if each.line not in new] + self.figures
        skipped = [each for each in kept.skipped if each["line"] not in new] + self.skipped
        return Report(sorted(figures, key=lambda each: each.line), skipped, self.machine)

    def write(self, path: Path) -> None:
        """As JSON."""
        figures = [{**asdict(each), "ratio": each.ratio} for each in self.figures]
        data = {"schema": SCHEMA, "machine": self.machine, "figures": figures, "skipped": self.skipped}
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Report:
    """Read a results file. Raises ValueError for one of another version."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["schema"] != SCHEMA:
        raise ValueError(f"{path} is of schema {data['schema']}, this reads {SCHEMA}: measure anew")
    figures = []
    for each in data["figures"]:
        each.pop("ratio")
        figures.append(Figure(**{k: tuple(v) if isinstance(v, list) else v for k, v in each.items()}))
    return Report(figures, data["skipped"], data["machine"])


def alternate(sides: Sequence[Side], rounds: int) -> list[tuple[float, ...]]:
    """Measure the sides in turn, so many rounds, each round beginning with another side."""
    found: list[list[float]] = [[] for _ in sides]
    for n in range(rounds):
        order = list(range(len(sides)))
        for i in order[n % len(order) :] + order[: n % len(order)]:
            found[i].append(sides[i]())
            say(".", end="")
    say("")
    return [tuple(each) for each in found]


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak(work: Callable[[], object]) -> float:
    """Megabytes by which this process grew at most while it worked (as Linux counts resident memory)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else whoever comes second works in memory that the first has left
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return max(0.0, (_status("VmHWM") - before) / 1024)


def _status(name: str) -> int:
    found = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(found[0].split()[1])


def lines(figure: Figure) -> list[str]:
    """A figure as text."""
    said = [f"{figure.what}: ours {shown(figure.ours, figure.unit)}"]
    if figure.theirs:
        said[0] += f"; {figure.peer} {shown(figure.theirs, figure.unit)}"
        if figure.ratio is not None:
            said[0] += f"; {figure.ratio:.2f} times {'better' if figure.ratio >= 1 else 'as good'}"
    if figure.required:
        said[0] += f"; required {figure.required}: {'met' if figure.met else 'MISSED'}"
    return [*said, *(f"  {note}" for note in figure.notes)]


def shown(values: Sequence[float], unit: str) -> str:
    """Median and range."""
    middle, low, high = (number(each) for each in (statistics.median(values), min(values), max(values)))
    return f"{middle} {unit}".strip() if low == high else f"{middle} [{low}, {high}] {unit}".strip()


def number(value: float) -> str:
    """Three digits that count."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, object]:
    """Where this is measured, and how busy it is now."""
    packages = ("torch", "transformers", "peft", "lm_eval", "pytest", "vllm")
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def say(text: str, end: str = "\n") -> None:
    """To the terminal, at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()

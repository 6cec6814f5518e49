"""Words for progress: a snapshot of a cell, and of the session, as lines that fit the width there is.

A line is made of parts; where the width does not do, parts that tell least are left out, whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..running.progress import Snapshot

WORKERS = 6
"""Workers that have a line each, at most."""


@dataclass
class Cells:
    """The session's cells: how many there are, how many are done, and how long those of them took that were run."""

    total: int = 0
    done: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Cells after the one that runs."""
        return self.total - self.done - 1

    def left(self) -> tuple[float, float] | None:
        """Seconds that the cells after the one that runs take: if all are like the fastest so far, or the slowest.

        None before two cells are done. A single number would be a guess: cells share steps, and what was paid for is
        replayed.
        """
        if len(self.seconds) < 2 or self.waiting < 1:
            return None
        return self.waiting * min(self.seconds), self.waiting * max(self.seconds)


def aged(snapshot: Snapshot, seconds: float) -> Snapshot:
    """A snapshot as it is some seconds later, with nothing heard since: an estimate that has run out says nothing."""
    if snapshot.left is None:
        return snapshot
    left = snapshot.left - seconds
    return replace(snapshot, left=left if left >= 0.5 else None)


def alone(snapshot: Snapshot, cells: Cells, passed: float, width: int) -> list[str]:
    """Two lines on a session in one process: the cell and the session, and what the cell is at."""
    return [fit(_session(snapshot.cell, cells, passed), width), fit(_stage(snapshot), width, "  ")]


def logged(snapshot: Snapshot, cells: Cells, passed: float) -> str:
    """The same as one line of a log, of any width."""
    return f"{_joined(_session(snapshot.cell, cells, passed))}; {_joined(_stage(snapshot))}"


def together(workers: Mapping[str, Snapshot], cells: Cells, passed: float, width: int) -> list[str]:
    """One line on a session under pytest-xdist, and one for each worker that is at a cell."""
    lines = [fit([(f"{cells.done} of {cells.total} cells done", 0), (f"{_clock(passed)} passed", 1)], width)]
    shown = sorted(workers.items())[:WORKERS]
    lines += [fit([(f"{name} {snapshot.cell}", 0), *_stage(snapshot)], width, "  ") for name, snapshot in shown]
    if len(workers) > len(shown):
        lines.append(f"  and {len(workers) - len(shown)} more workers")
    return lines


def fit(parts: Sequence[tuple[str, int]], width: int, indent: str = "") -> str:
    """Parts with their rank (0 tells most) as one line of less than `width` columns; a part is cut only if alone."""
    kept = list(parts)
    while len(kept) > 1 and len(indent + _joined(kept)) >= width:
        kept.remove(max(kept, key=lambda part: part[1]))
    return (indent + _joined(kept))[: max(1, width - 1)]


def _joined(parts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(text for text, _ in parts)


def _session(cell: str, cells: Cells, passed: float) -> list[tuple[str, int]]:
    number = f"cell {cells.done + 1} of {cells.total}: " if cells.total else ""
    parts = [(f"{number}{cell}", 0), (f"{_clock(passed)} passed", 2)]
    if left := cells.left():
        shortest, longest = map(_clock, left)
        between = shortest if shortest == longest else f"{shortest} to {longest}"
        parts.append((f"{cells.waiting} more like these: {between}", 1))
    return parts


def _stage(snapshot: Snapshot) -> list[tuple[str, int]]:
    stage = f"{snapshot.stage}: {snapshot.detail}" if snapshot.detail else snapshot.stage
    parts = [(stage, 0)]
    bound = "up to " if snapshot.at_most else ""
    if snapshot.unit == "steps":
        parts.append((f"step {snapshot.done} of {snapshot.total}", 1))
    elif snapshot.total:
        parts.append((f"{snapshot.done} of {bound}{snapshot.total} runs", 1))
    if snapshot.loss is not None:
        parts.append((f"loss {snapshot.loss:.3g}", 3))
    if snapshot.left is not None:
        parts.append((f"{bound}{_clock(snapshot.left)} left", 2))
    if snapshot.rate:
        rate = f"{snapshot.rate:.1f}" if snapshot.rate < 10 else f"{snapshot.rate:.0f}"
        parts.append((f"{rate} {'steps' if snapshot.unit == 'steps' else 'tokens'}/s", 4))
    return parts


def _clock(seconds: float) -> str:
    """A duration, as in `12 s`, `3:05 min` or `1:02 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"

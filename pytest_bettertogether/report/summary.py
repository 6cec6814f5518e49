"""The gains of combined strategies in words and as a small table, for the terminal, Markdown and HTML alike."""

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from ..results import CellResult
from .cells import title
from .gains import KINDS, Gain, Kind, gains, known
from .inert import plain

COLUMNS: tuple[tuple[Kind, bool, str], ...] = (
    ("p", False, "over p"),
    ("p", True, "over p, pp"),
    ("w", False, "over w"),
    ("w", True, "over w, ww"),
)
NOTE = (
    "gain of the best combined strategy over prompts only and weights only, alone or doubled: mean % and points "
    "(n models); a winner picked on the test split flatters itself"
)


def gain_table(results: Iterable[CellResult]) -> list[str]:
    """Rows are tasks, with a second one where winners can be picked on dev; empty if there is nothing to compare."""
    found = list(gains(known(results)))
    if not found:
        return []
    rows = []
    for task in sorted({each.task for each in found}):
        for on in ("test", "dev"):
            mine = {(each.over, each.doubled): each for each in found if (each.task, each.picked_on) == (task, on)}
            if mine:
                name = plain(task, 20) if on == "test" else "  picked on dev"
                rows.append([name, *(_short(mine.get((over, doubled))) for over, doubled, _ in COLUMNS)])
    heads = ["gain of p+w", *(head for *_, head in COLUMNS)]
    drawn: str = tabulate(rows, heads, disable_numparse=True, colalign=("left", *["right"] * len(COLUMNS)))
    return drawn.split("\n")


def _short(gain: Gain | None) -> str:
    return f"{100 * gain.percent:+.1f}% {100 * gain.points:+.1f} ({len(gain.models)})" if gain else "–"


def gain_sentences(found: Sequence[Gain]) -> Iterator[str]:
    """Each gain with its interval and who was compared with whom."""
    for gain in found:
        single = "the single step alone" if not gain.doubled else "the best of single and doubled"
        pairs = "; ".join(f"{plain(model)}: {title(top)} against {title(other)}" for model, top, other in gain.models)
        yield (
            f"{plain(gain.task)}, over {KINDS[gain.over]} ({single}), winner picked on {gain.picked_on}: "
            f"{100 * gain.percent:+.1f} %{_interval(gain.percent_interval)}, "
            f"{100 * gain.points:+.1f} points{_interval(gain.points_interval)}, n = {len(gain.models)} ({pairs})"
        )


def _interval(interval: tuple[float, float] | None) -> str:
    return f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else ""

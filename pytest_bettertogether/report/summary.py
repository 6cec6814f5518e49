"""The gains of combined strategies in words and as a small table, for the terminal, Markdown and HTML alike."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from ..pipeline.inert_text import plain
from ..pipeline.steps import Kinds
from .cells import title
from .gains import Gain


def joined(gains: Sequence[Gain], kinds: Kinds) -> list[str]:
    """The letters of the kinds of step that the combined strategies join, in their order."""
    winners = {letter for gain in gains for _, top, _ in gain.models for letter in top}
    return [letter for letter in kinds if letter in winners]


def note(gains: Sequence[Gain], kinds: Kinds) -> str:
    """What the table says, in a sentence; empty where there are no gains."""
    *others, last = [f"{letter} only ({letter}; {letter}{letter} too)" for letter in joined(gains, kinds)] or [""]
    several = "both" if len(others) == 1 else "several"
    return last and (
        f"gain of the best strategy with {several} steps over the best with {', '.join(others)} and {last}, "
        "mean % and points (n models); a winner picked on test flatters itself, (dev): picked on dev"
    )


def gain_table(gains: Sequence[Gain], kinds: Kinds) -> list[str]:
    """Rows are tasks and what the gain is over, again where winners can be picked on dev; empty if there are none."""
    found = {(gain.task, gain.over.letter, gain.picked_on, gain.doubled): gain for gain in gains}
    rows = []
    for task, over, on in sorted({key[:3] for key in found}, key=lambda key: (key[0], key[1], key[2] == "dev")):
        name = f"{plain(task, 24)} over {over}{' (dev)' * (on == 'dev')}"
        rows.append([name, *(_short(found.get((task, over, on, doubled))) for doubled in (False, True))])
    if not rows:
        return []
    heads = [f"gain of {' with '.join(joined(gains, kinds))}", "single step", "single or doubled"]
    drawn: str = tabulate(rows, heads, disable_numparse=True, colalign=("left", "right", "right"))
    return drawn.split("\n")


def _short(gain: Gain | None) -> str:
    return f"{100 * gain.percent:+.1f}% {100 * gain.points:+.1f} ({len(gain.models)})" if gain else "–"


def gain_sentences(found: Sequence[Gain]) -> Iterator[str]:
    """Each gain with its interval and who was compared with whom."""
    for gain in found:
        single = "the single step alone" if not gain.doubled else "the best of single and doubled"
        pairs = "; ".join(f"{plain(model)}: {title(top)} against {title(other)}" for model, top, other in gain.models)
        yield (
            f"{plain(gain.task)}, over {gain.over.only} ({single}), winner picked on {gain.picked_on}: "
            f"{100 * gain.percent:+.1f} %{_interval(gain.percent_interval)}, "
            f"{100 * gain.points:+.1f} points{_interval(gain.points_interval)}, n = {len(gain.models)} ({pairs})"
        )


def _interval(interval: tuple[float, float] | None) -> str:
    return f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else ""

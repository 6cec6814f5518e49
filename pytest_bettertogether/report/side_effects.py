"""What else changed: lm-eval tasks on the base model and with what a cell has learnt, as a table of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from ..pipeline.json_values import from_json
from ..results.side_effects import SideEffect, SideEffectGate
from ..results.statuses import VERDICT_WORDS, in_one_spelling
from .model import CellView

TITLE = "what else changed"
COLUMNS = (TITLE, "lm-eval task", "n", "base", "now", "difference", "gate")
NOTE = "scores in %, difference in points with its 95 % interval, paired by document; base: the model untuned"
DERIVED = {"n", "base", "score", "difference", "interval"}
"""What an entry holds for its readers, besides what an SideEffect is made of."""


def side_effect_rows(cell: CellView) -> Iterator[Sequence[str]]:
    """The texts under `COLUMNS`, a row per lm-eval task of the cell."""
    for effect in cell.side_effects:
        measured, (low, high) = effect.measured, effect.interval
        yield (
            f"{cell.record.task} {cell.title} on {cell.record.model}",
            f"{measured.task} ({measured.metric.removesuffix(',none')})",
            str(measured.n),
            f"{100 * measured.base:.1f}",
            f"{100 * measured.score:.1f}",
            f"{100 * effect.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            "; ".join(_gate(gate) for gate in measured.gates),
        )


def side_effect_table(cells: Iterable[CellView], style: str, shown: Callable[[str], str]) -> list[str]:
    """Lines of one table, a row per cell and lm-eval task, in a style of tabulate's; none if nothing was measured.

    `shown` takes away from a text what the style would interpret.
    """
    rows = []
    for cell in cells:
        for row in side_effect_rows(cell):
            rows.append([shown(text) for text in row])
    if not rows:
        return []
    align = ("left", "left", "right", "right", "right", "right", "left")
    drawn: str = tabulate(rows, COLUMNS, tablefmt=style, disable_numparse=True, colalign=align)
    return drawn.split("\n")


def side_effect_sentences(cells: Iterable[CellView], shown: Callable[[str], str]) -> Iterator[str]:
    """The same in sentences, for narrow places."""
    for cell in cells:
        for row in side_effect_rows(cell):
            name, task, n, base, now, difference, gate = map(shown, row)
            judged = f"; {gate}" if gate else ""
            yield f"{TITLE} with {name}: {task}, n = {n}: {base} to {now} %, {difference} points{judged}"


def side_effect_entries(cell: CellView) -> Iterator[dict[str, Any]]:
    """The same of one cell as JSON values, with every document's score (schema-1.json, `ability`)."""
    for effect in cell.side_effects:
        measured = effect.measured
        yield {
            **asdict(measured),
            "n": measured.n,
            "base": measured.base,
            "score": measured.score,
            "difference": effect.difference,
            "interval": list(effect.interval),
            "gates": [asdict(gate) for gate in measured.gates],
        }


def side_effects_read(entries: Iterable[Mapping[str, Any]]) -> tuple[SideEffect, ...]:
    """Read what `side_effect_entries` made."""
    read = []
    for entry in entries:
        values = {name: value for name, value in entry.items() if name not in DERIVED}
        gates = [in_one_spelling(gate) for gate in entry["gates"]]
        read.append(from_json(SideEffect, {**values, "gates": gates}))
    return tuple(read)


def _gate(gate: SideEffectGate) -> str:
    within = f" within {100 * gate.margin:g}" if gate.margin else ""
    return f"{gate.against}{within}: {VERDICT_WORDS[gate.verdict]}"

"""What else changed: lm-eval tasks on the base model and with what a cell has learnt, as its own table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from ..gate.statistics import compare
from ..results.cell_records import CellRecord
from ..results.json_values import from_json
from ..results.side_effects import Ability
from ..results.statuses import VERDICT_WORDS, Verdict, in_one_spelling
from .cells import in_order, title

TITLE = "what else changed"
COLUMNS = (TITLE, "lm-eval task", "n", "base", "now", "difference", "gate")
NOTE = "scores in %, difference in points with its 95 % interval, paired by document; base: the model untuned"
DERIVED = {"n", "base", "score", "difference", "interval"}
"""What an entry holds for its readers, besides what an Ability is made of."""


def ability_rows(record: CellRecord) -> list[Sequence[str]]:
    """The texts under `COLUMNS`, a row per lm-eval task of the cell."""
    return [_row(record, each) for each in record.abilities]


def ability_table(records: Iterable[CellRecord], style: str, shown: Callable[[str], str]) -> list[str]:
    """Lines of one table, a row per cell and lm-eval task, in a style of tabulate's; none if nothing was measured.

    `shown` takes away from a text what the style would interpret.
    """
    rows = [[shown(text) for text in row] for record in in_order(records) for row in ability_rows(record)]
    if not rows:
        return []
    align = ("left", "left", "right", "right", "right", "right", "left")
    drawn: str = tabulate(rows, COLUMNS, tablefmt=style, disable_numparse=True, colalign=align)
    return drawn.split("\n")


def ability_sentences(records: Iterable[CellRecord], shown: Callable[[str], str]) -> Iterator[str]:
    """The same in sentences, for narrow places."""
    for record in in_order(records):
        for row in ability_rows(record):
            cell, task, n, base, now, difference, gate = map(shown, row)
            judged = f"; {gate}" if gate else ""
            yield f"{TITLE} with {cell}: {task}, n = {n}: {base} to {now} %, {difference} points{judged}"


def ability_entries(record: CellRecord) -> list[dict[str, Any]]:
    """The same of one cell as JSON values, with every document's score (schema-1.json, `ability`)."""
    entries = []
    for each in record.abilities:
        difference, interval = _difference(each)
        gates = [asdict(gate) for gate in each.gates]
        facts = {name: value for name, value in asdict(each).items() if name != "gates"}
        scores = {"n": each.n, "base": each.base, "score": each.score}
        entries.append({**facts, **scores, "difference": difference, "interval": list(interval), "gates": gates})
    return entries


def abilities_read(entries: Iterable[Mapping[str, Any]]) -> tuple[Ability, ...]:
    """Read what `ability_entries` made."""
    found = []
    for entry in entries:
        values = {name: value for name, value in entry.items() if name not in DERIVED}
        gates = [in_one_spelling(gate) for gate in entry["gates"]]
        found.append(from_json(Ability, {**values, "gates": gates}))
    return tuple(found)


def _row(record: CellRecord, ability: Ability) -> Sequence[str]:
    difference, (low, high) = _difference(ability)
    return (
        f"{record.task} {title(record.strategy)} on {record.model}",
        f"{ability.task} ({ability.metric.removesuffix(',none')})",
        str(ability.n),
        f"{100 * ability.base:.1f}",
        f"{100 * ability.score:.1f}",
        f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        "; ".join(_gate(gate.against, gate.margin, gate.verdict) for gate in ability.gates),
    )


def _gate(against: str, margin: float, verdict: Verdict) -> str:
    within = f" within {100 * margin:g}" if margin else ""
    return f"{against}{within}: {VERDICT_WORDS[verdict]}"


def _difference(ability: Ability) -> tuple[float, tuple[float, float]]:
    """Now less base, within -1...1, and its interval."""
    found = compare(ability.after, ability.before)
    return found.difference, found.interval

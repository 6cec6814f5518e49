"""What else changed: lm-eval tasks on the base model and with what a cell has learnt, as its own table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from ..abilities import Ability
from ..gate.statistics import compare
from ..results import CellRecord
from .cells import in_order, title

TITLE = "what else changed"
VERDICTS = {"worse": "worse", "too small": "too small to tell", "holds": "holds"}


def ability_table(records: Iterable[CellRecord], style: str = "simple", shown: Callable[[str], str] = str) -> list[str]:
    """Lines of one table, a row per cell and lm-eval task, in a style of tabulate's; none if nothing was measured.

    `shown` takes away from a text what the style would interpret.
    """
    rows = [[shown(text) for text in _row(record, each)] for record in in_order(records) for each in record.abilities]
    if not rows:
        return []
    heads = [TITLE, "lm-eval task", "n", "base", "now", "difference", "gate"]
    align = ("left", "left", "right", "right", "right", "right", "left")
    drawn: str = tabulate(rows, heads, tablefmt=style, disable_numparse=True, colalign=align)
    lines = drawn.split("\n")
    if style == "simple":
        lines.append(
            "scores in %, difference in points with its 95 % interval, paired by document; base: the model untuned"
        )
    return lines


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


def _gate(against: str, margin: float, verdict: str) -> str:
    within = f" within {100 * margin:g}" if margin else ""
    return f"{against}{within}: {VERDICTS[verdict]}"


def _difference(ability: Ability) -> tuple[float, tuple[float, float]]:
    """Now less base, within -1...1, and its interval."""
    found = compare(ability.after, ability.before)
    return found.difference, found.interval

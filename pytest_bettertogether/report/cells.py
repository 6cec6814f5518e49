"""One record per cell, in the order in which every report shows them."""

from collections.abc import Iterable
from dataclasses import replace

from ..pipeline.steps import KINDS, Kinds, catalogue
from ..pipeline.strategy import PAPER, Strategy
from ..results.cell_records import CellRecord, GateRecord, Paid
from ..results.side_effects import SideEffect
from ..results.statuses import gravity

Key = tuple[str, str, str]
"""Model, task, strategy."""


def in_order(records: Iterable[CellRecord]) -> list[CellRecord]:
    """One record per cell: by model, task, and strategy in the paper's order; never by arrival.

    It has all that the tests of its cell paid and measured besides, and the gate of the test that has one.
    """
    cells: dict[Key, CellRecord] = {}
    side_effects: dict[Key, dict[str, SideEffect]] = {}
    paid: dict[Key, Paid] = {}
    gates: dict[Key, GateRecord] = {}
    for record in records:
        key = (record.model, record.task, record.strategy)
        side_effects.setdefault(key, {}).update((effect.task, effect) for effect in record.side_effects)
        paid[key] = paid.get(key, Paid()) + record.paid
        if record.gate and (key not in gates or record.gate.mode == "gated"):
            gates[key] = record.gate
        if key not in cells or gravity(record.status) < gravity(cells[key].status):
            cells[key] = record
    ordered = []
    for key in sorted(cells, key=lambda key: (*key[:2], rank(key[2]))):
        gate = cells[key].gate or gates.get(key)
        ordered.append(replace(cells[key], side_effects=tuple(side_effects[key].values()), paid=paid[key], gate=gate))
    return ordered


def rank(strategy: str) -> tuple[int, str]:
    """Sort key that puts the paper's strategies first, in the paper's order."""
    paper = [known.id for known in PAPER]
    return (paper.index(strategy) if strategy in paper else len(paper), strategy)


def kinds_of(records: Iterable[CellRecord]) -> Kinds:
    """What the built-in steps say of themselves, and the others that the strategies of these cells name.

    Raises ValueError for a step that no record describes, and for two that cannot be told apart.
    """
    records = list(records)
    brought = dict.fromkeys(kind for record in records for kind in record.kinds)
    known = catalogue((*KINDS.values(), *brought))
    letters = {letter: record for record in records for letter in Strategy.of(record.strategy).kinds}
    for letter, record in letters.items():
        if letter not in known:
            raise ValueError(f"cell {record.id}: the report does not describe step {letter!r}")
    return known


def title(strategy: str) -> str:
    """The form for people: `p → w → p`, `zero-shot`."""
    return Strategy.of(strategy).title

"""What every report needs of the records: their order, intervals and costs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..gate.statistics import mean_interval
from ..pipeline.strategy import PAPER, Strategy
from ..results.cell_records import CellRecord, GateRecord, Paid
from ..results.cell_results import CellResult, StepRecord, Usage
from ..results.side_effects import Ability
from ..results.statuses import gravity


def in_order(records: Iterable[CellRecord]) -> list[CellRecord]:
    """One record per cell: by model, task, and strategy in the paper's order; never by arrival.

    It has all that the tests of its cell paid and measured besides, and the gate of the test that has one.
    """
    cells: dict[tuple[str, str, str], CellRecord] = {}
    abilities: dict[tuple[str, str, str], dict[str, Ability]] = {}
    paid: dict[tuple[str, str, str], Paid] = {}
    gates: dict[tuple[str, str, str], GateRecord] = {}
    for each in records:
        key = (each.model, each.task, each.strategy)
        abilities.setdefault(key, {}).update((one.task, one) for one in each.abilities)
        paid[key] = paid.get(key, Paid()) + each.paid
        if each.gate and (key not in gates or each.gate.mode == "gated"):
            gates[key] = each.gate
        if key not in cells or gravity(each.status) < gravity(cells[key].status):
            cells[key] = each
    cells = {
        key: replace(each, abilities=tuple(abilities[key].values()), paid=paid[key], gate=each.gate or gates.get(key))
        for key, each in cells.items()
    }
    return [cells[key] for key in sorted(cells, key=lambda key: (*key[:2], rank(key[2])))]


def rank(strategy: str) -> tuple[int, str]:
    """Sort key that puts the paper's strategies first, in the paper's order."""
    paper = [each.id for each in PAPER]
    return (paper.index(strategy) if strategy in paper else len(paper), strategy)


def title(strategy: str) -> str:
    """The form for people: `p → w → p`, `zero-shot`."""
    return Strategy.of(strategy).title


def scored(records: Iterable[CellRecord]) -> list[CellResult]:
    """The results that have a score."""
    return [each.result for each in records if each.result is not None and not each.result.refused]


def interval(result: CellResult) -> tuple[float, float]:
    """95 % interval of a cell's score over test examples and seeds, within 0...1."""
    return mean_interval(result.outcomes, result.clusters or None)


def computed(results: Sequence[CellResult]) -> tuple[Usage, list[StepRecord]]:
    """What some cells cost when they were computed, and their steps, each that they share counted once."""
    steps: dict[tuple[str, str, int, str], StepRecord] = {}
    spent = Usage()
    for result in results:
        for seed in result.seeds:
            spent += seed.usage
            for step in seed.steps:
                steps[result.task, result.model, seed.seed, step.path] = step
    for step in steps.values():
        spent += step.usage
    return spent, list(steps.values())

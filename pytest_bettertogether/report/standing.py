"""Who won: the best strategy of a task on a model, and those that cannot be told from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..gate.statistics import compare
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from .cells import scored

ALPHA = 0.05
"""Of the comparison with the best one, each for itself."""


@dataclass(frozen=True)
class Standing:
    """Ids of cells: the highest score of each column (several if equal), and those not significantly below it."""

    best: frozenset[str]
    tied: frozenset[str]


def standing(records: Sequence[CellRecord]) -> Standing:
    """Compare every scored cell with the best of its task and model, paired by example."""
    best, tied = set[str](), set[str]()
    results = scored(each for each in records if each.status != "invalid")
    for column in _columns(results):
        top = max(column, key=lambda each: each.score)
        for each in column:
            if each.score == top.score:
                best.add(name(each))
            elif _tied(each, top):
                tied.add(name(each))
    return Standing(frozenset(best), frozenset(tied))


def name(result: CellResult) -> str:
    """The cell's id, as `CellRecord.id`."""
    return f"{result.task}[{result.id}]"


def same_examples(left: CellResult, right: CellResult) -> bool:
    """Whether the two can be compared example by example."""
    return [each.id for each in left.seeds[0].examples] == [each.id for each in right.seeds[0].examples]


def _columns(results: Iterable[CellResult]) -> list[list[CellResult]]:
    columns: dict[tuple[str, str], list[CellResult]] = {}
    for each in results:
        columns.setdefault((each.model, each.task), []).append(each)
    return list(columns.values())


def _tied(lower: CellResult, top: CellResult) -> bool:
    if not same_examples(lower, top):
        return False
    return compare(lower.outcomes, top.outcomes, top.clusters or None).p_value > ALPHA

"""Who won: the best strategy of a task on a model, and those that cannot be told from it."""

from collections.abc import Sequence
from typing import Literal

from ..gate.statistics import compare
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.statuses import STATUSES

Place = Literal["best", "tied", ""]
"""best: the highest score of its task and model (several cells, if equal); tied: not significantly below it."""
ALPHA = 0.05
"""Of the comparison with the best one, each for itself."""


def places(records: Sequence[CellRecord]) -> dict[str, Place]:
    """The place of each cell that has one, by its id.

    Args:
        records: Cells with scores. One that failed takes no place: it is not to be shown as a winner.
    """
    columns: dict[tuple[str, str], dict[str, CellResult]] = {}
    for record in records:
        if record.result and STATUSES[record.status].annotation != "error":
            columns.setdefault((record.model, record.task), {})[record.id] = record.result
    found: dict[str, Place] = {}
    for column in columns.values():
        top = max(column.values(), key=lambda result: result.score)
        for cell, result in column.items():
            if result.score == top.score:
                found[cell] = "best"
            elif _tied(result, top):
                found[cell] = "tied"
    return found


def same_examples(left: CellResult, right: CellResult) -> bool:
    """Whether the two can be compared example by example."""
    first, second = left.seeds[0].examples, right.seeds[0].examples
    return [example.id for example in first] == [example.id for example in second]


def _tied(lower: CellResult, top: CellResult) -> bool:
    if not same_examples(lower, top):
        return False
    return compare(lower.outcomes, top.outcomes, top.clusters or None).p_value > ALPHA

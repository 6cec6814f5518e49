"""From records to the read model, once for all outlets: a pure function."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..gate.intervals import mean_interval
from ..gate.statistics import compare
from ..pipeline.steps import Kinds
from ..results.cell_records import CellRecord
from ..results.side_effects import SideEffect
from ..results.statuses import STATUSES
from .best_of_column import Place, places
from .cells import in_order, kinds_of, rank, title
from .cost import computed
from .factorial import factorials
from .gains import gains, known
from .learning import readings
from .model import CellView, ModelView, Report, Score, SideEffectView, TaskView
from .notes import notes_on
from .redaction import without_secrets

NO_RUN: Mapping[str, Any] = MappingProxyType({})


def build(records: Iterable[CellRecord], run: Mapping[str, Any] = NO_RUN, root: Path | None = None) -> Report:
    """Make the read model of a run.

    Args:
        records: How the cells ended, in any order; two tests may have run the same cell.
        run: When, where and with which options. Secrets in its arguments are left out.
        root: The folder that files are named relative to, where they lie in it.

    Raises:
        ValueError: A strategy names a step that no record describes.
    """
    ordered = [replace(record, baselines=_relative(record.baselines, root)) for record in in_order(records)]
    scores = {record.id: _score(record) for record in ordered}
    ranked = places([record for record in ordered if scores[record.id]])
    cells = tuple(_cell(record, scores[record.id], ranked.get(record.id, "")) for record in ordered)
    results, kinds = [cell.scored for cell in cells if cell.scored], kinds_of(ordered)
    symmetric = all(score.symmetric for score in scores.values() if score)
    return Report(
        cells=cells,
        models=tuple(_models(cells)),
        tasks=tuple(_tasks(cells, kinds)),
        gains=tuple(gains(known(results), kinds)),
        factorials=tuple(factorials(results, kinds)),
        symmetric=symmetric,
        headline=_headline(ordered),
        notes=notes_on(cells, symmetric, kinds),
        run={**run, "arguments": without_secrets(run.get("arguments", ()), root)},
        kinds=kinds,
    )


def view(record: CellRecord) -> CellView:
    """One cell by itself, before the others have run: its place among them is not known yet."""
    return _cell(record, _score(record), "")


def _relative(file: str, root: Path | None) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else file


def _score(record: CellRecord) -> Score | None:
    result = record.result
    if result is None or result.refused or record.status == "invalid":
        return None
    return Score(result.score, *mean_interval(result.outcomes, result.clusters or None))


def _cell(record: CellRecord, score: Score | None, place: Place) -> CellView:
    return CellView(
        record=record,
        title=title(record.strategy),
        score=score,
        place=place,
        cost=computed([record.result]) if record.result else None,
        side_effects=tuple(_side_effect(measured) for measured in record.side_effects),
    )


def _side_effect(measured: SideEffect) -> SideEffectView:
    comparison = compare(measured.after, measured.before)
    return SideEffectView(measured, comparison.difference, comparison.interval)


def _models(cells: Sequence[CellView]) -> Iterator[ModelView]:
    for name in sorted({cell.record.model for cell in cells}):
        placed = {(cell.record.strategy, cell.record.task): cell for cell in cells if cell.record.model == name}
        strategies = sorted({strategy for strategy, _ in placed}, key=rank)
        yield ModelView(name, tuple(sorted({task for _, task in placed})), tuple(strategies), placed)


def _tasks(cells: Sequence[CellView], kinds: Kinds) -> Iterator[TaskView]:
    for task, model in sorted({(cell.record.task, cell.record.model) for cell in cells if cell.score}):
        mine = tuple(cell for cell in cells if (cell.record.task, cell.record.model) == (task, model))
        results = [cell.scored for cell in mine if cell.scored]
        yield TaskView(task, model, mine, tuple(readings(results, kinds)))


def _headline(records: Sequence[CellRecord]) -> str:
    total = f"{len(records)} cell{'s' * (len(records) != 1)}"
    counts = []
    for status, facts in STATUSES.items():
        count = sum(record.status == status for record in records)
        if count and facts.annotation == "error":
            counts.append(f"{count} {facts.word}")
    if counts:
        return f"{', '.join(counts)} of {total}"
    held = sum(STATUSES[record.status].held for record in records)
    if not held:
        return f"{total}, none gated"
    return f"{total}, {held} held {'its baseline' if held == 1 else 'their baselines'}"

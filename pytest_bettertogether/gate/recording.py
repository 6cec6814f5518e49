"""Recording: the results of a session become the baselines of the next."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..pipeline.errors import BaselineError
from ..pipeline.inert_text import plain
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.side_effects import SideEffect
from ..results.statuses import STATUSES, Mode
from .baselines import Recorded, Source, read, remove, write
from .git import commit
from .judge import Terms
from .verdict import Baseline


def mode_of(
    cell: str, file: Path, task: str, gated: bool, update: Literal["all", "new"] | None, source: Source
) -> Mode:
    """How a cell meets its baseline in this run.

    Args:
        cell: The cell's name in the file, as in `tiny-pwp`.
        file: The baseline file.
        task: The task whose baselines it holds.
        gated: Whether this run gates the cell.
        update: What --bt-update-baselines asks for: all cells, new ones, or none.
        source: Where baselines are read.

    Raises:
        BaselineError: The file cannot be read.
    """
    if update == "all" or (update == "new" and cell not in source.read(file, task)):
        return "recording"
    return "gated" if gated else "not_gated"


@dataclass
class Written:
    """What came of writing baseline files: a line on each cell, and on each file that could not be written."""

    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def to(self, shown: object) -> Iterator[None]:
        """What is done within costs no more than its own file, if that cannot be written."""
        try:
            yield
        except (OSError, BaselineError) as error:
            self.failures.append(f"baselines NOT written to {shown}: {error}")


def record_baselines(records: Sequence[CellRecord], root: Path, alpha: float, only_new: bool = False) -> Written:
    """Write the cells that ended soundly into their baseline files; a line on each, old score to new.

    With `only_new`, those that had none. A drop that is significant at `alpha` is marked. A file that cannot be
    written is among the failures, and the others are written.
    """
    written = Written()
    made = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(root)}
    kept = [record for record in records if record.result is not None and STATUSES[record.status].recordable]
    for path in sorted({Path(record.baselines) for record in kept}):
        with written.to(_shown(path, root)):
            mine = [record for record in kept if Path(record.baselines) == path]
            written.lines += _record_file(path, mine, root, alpha, only_new, made)
    if any(record.result and len(record.result.seeds) == 1 for record in kept) and written.lines:
        written.lines.append("recorded with one seed, which does not tell how seeds scatter: others may alarm falsely")
    return written


def _record_file(
    path: Path, records: Sequence[CellRecord], root: Path, alpha: float, only_new: bool, made: Mapping[str, str]
) -> list[str]:
    """Write the cells of one file, and say so: of tests that share a cell, the last one's result."""
    results = {record.result.id: record.result for record in records if record.result is not None}
    task = records[0].task
    before = read(path, task)
    fresh = [result for name, result in results.items() if not (only_new and name in before)]
    gated = {record.result.id for record in records if record.result is not None and record.gate and record.gate.gated}
    side_effects: dict[str, dict[str, SideEffect]] = {}
    for record in records:
        if record.result is not None:  # of a cell, each test may measure others
            side_effects.setdefault(record.result.id, {}).update((one.task, one) for one in record.side_effects)
    if fresh:
        measured = {name: some.values() for name, some in side_effects.items()}
        write(path, task, [(result, result.id in gated) for result in fresh], made, measured)
    shown = _shown(path, root)
    return [f"{shown}: {result.id} {_change(result, before.get(result.id), path, alpha)}" for result in fresh]


def obsolete_baselines(found: Mapping[Path, Sequence[str]], root: Path, prune: bool) -> Written:
    """A line on each file with baselines that belong to no suite any more; with `prune`, they are removed."""
    written = Written()
    what = "removed, obsolete" if prune else "obsolete, --bt-prune-baselines removes them"
    for path, cells in sorted(found.items()):
        shown = _shown(path, root)
        with written.to(shown):
            if prune:
                remove(path, cells)
            written.lines.append(f"{shown}: {', '.join(plain(cell, 60) for cell in cells)} ({what})")
    return written


def _change(result: CellResult, before: Recorded | None, path: Path, alpha: float) -> str:
    new = "refused" if result.refused else f"{result.score:.1%}"
    if before is None:
        return f"recorded, {new}"
    old = "refused" if before.refused else f"{before.score:.1%}"
    if before.identity != result.provenance["identity"]:
        return f"{old} -> {new}, on another test split, metric or prompt format"
    baseline = Baseline(result.id, path, "gated", Terms(alpha), "", path.name, recorded=before)
    comparison, verdict = baseline.judge(result), baseline.verdict(result)
    mark = ", SIGNIFICANTLY WORSE" if verdict == "worse" else ""
    if verdict == "refused":
        mark = ", THE SCORE IS LOST"
    return f"{old} -> {new}" + (f", p = {comparison.p_value:.2g} for worse" if comparison else "") + mark


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path

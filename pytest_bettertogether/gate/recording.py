"""Recording: the results of a session become the baselines of the next."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.side_effects import Ability
from ..results.statuses import STATUSES, Mode
from .baselines import Recorded, Source, read, remove, write
from .git import commit
from .verdict import Baseline, Terms


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


def record_baselines(records: Sequence[CellRecord], root: Path, alpha: float, only_new: bool = False) -> list[str]:
    """Write the cells that ended soundly into their baseline files; a line on each, old score to new.

    With `only_new`, those that had none. A drop that is significant at `alpha` is marked.
    """
    lines = []
    made = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(root)}
    kept = [each for each in records if each.result is not None and STATUSES[each.status].recordable]
    for path in sorted({Path(each.baselines) for each in kept}):
        mine = {each.result.id: each for each in kept if Path(each.baselines) == path and each.result is not None}
        task = next(iter(mine.values())).task
        before = read(path, task)
        fresh = [each for name, each in mine.items() if not (only_new and name in before)]
        gated = {
            each.result.id
            for each in kept
            if Path(each.baselines) == path and each.result is not None and each.gate and each.gate.gated
        }
        results = [(each.result, each.result.id in gated) for each in fresh if each.result is not None]
        abilities: dict[str, dict[str, Ability]] = {}
        for each in kept:
            if each.result is not None and Path(each.baselines) == path:  # of a cell, each test may measure others
                abilities.setdefault(each.result.id, {}).update((one.task, one) for one in each.abilities)
        if results:
            write(path, task, results, made, {name: some.values() for name, some in abilities.items()})
        lines += [
            f"{_shown(path, root)}: {result.id} {_change(result, before.get(result.id), path, alpha)}"
            for result, _ in results
        ]
    if any(each.result and len(each.result.seeds) == 1 for each in kept) and lines:
        lines.append("recorded with one seed, which does not tell how seeds scatter: others may alarm falsely")
    return lines


def obsolete_lines(found: Mapping[Path, Sequence[str]], root: Path, prune: bool) -> list[str]:
    """A line on each file with baselines that belong to no suite any more; with `prune`, they are removed."""
    for path, cells in found.items() if prune else ():
        remove(path, cells)
    what = "removed, obsolete" if prune else "obsolete, --bt-prune-baselines removes them"
    return [f"{_shown(path, root)}: {', '.join(cells)} ({what})" for path, cells in sorted(found.items())]


def _change(result: CellResult, before: Recorded | None, path: Path, alpha: float) -> str:
    new = "refused" if result.refused else f"{result.score:.1%}"
    if before is None:
        return f"recorded, {new}"
    old = "refused" if before.refused else f"{before.score:.1%}"
    if before.identity != result.provenance["identity"]:
        return f"{old} -> {new}, on another test split, metric or prompt format"
    baseline = Baseline(result.id, path, "gated", Terms(alpha), "", path.name, recorded=before)
    comparison, verdict = baseline.compare(result), baseline.verdict(result)
    mark = ", SIGNIFICANTLY WORSE" if verdict == "worse" else ""
    if verdict == "refused":
        mark = ", THE SCORE IS LOST"
    return f"{old} -> {new}" + (f", p = {comparison.p_value:.2g} for worse" if comparison else "") + mark


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path

"""Recording: the results of a session become the baselines of the next."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..results import CellRecord, CellResult
from .baselines import Recorded, read, write
from .verdict import Baseline


def record_baselines(records: Sequence[CellRecord], root: Path) -> list[str]:
    """Write the cells that did not fail into their baseline files; returns a line on each, old score to new."""
    lines = []
    made = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(root)}
    kept = [each for each in records if each.result is not None and each.status not in ("failed", "invalid")]
    for path in sorted({Path(each.baselines) for each in kept}):
        before = read(path)
        mine = [each for each in kept if Path(each.baselines) == path]
        results = [each.result for each in mine if each.result is not None]
        write(path, mine[0].task, results, made)
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        for result in results:
            lines.append(f"{shown}: {result.id} {_change(result, before.get(result.id), path)}")
    return lines


def _change(result: CellResult, before: Recorded | None, path: Path) -> str:
    new = "refused" if result.refused else f"{result.score:.1%}"
    if before is None:
        return f"recorded, {new}"
    old = "refused" if before.refused else f"{before.score:.1%}"
    if before.identity != result.provenance["identity"]:
        return f"{old} -> {new}, on another test split, metric or prompt"
    comparison = Baseline(result.id, path, "gated", 0.05, "", path.name, before).compare(result)
    return f"{old} -> {new}" + (f", p = {comparison.p_value:.2g} for worse" if comparison else "")


def commit(root: Path) -> str:
    """The commit that is checked out, with a + if files have changed since; empty outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],  # noqa: S607 - whichever git the user uses
            cwd=root, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()

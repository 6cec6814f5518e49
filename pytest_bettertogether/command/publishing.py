"""Reports on disk: the files that the pure functions of `report` are written into."""

import json
from pathlib import Path

from ..pipeline.atomic import write_text
from ..report.document import document
from ..report.markdown import markdown
from ..report.model import Report
from ..report.samples import samples


def publish(kind: str, path: Path, report: Report) -> list[str]:
    """Write one report; lines that say where. Raises OSError where it cannot be written."""
    if kind == "json":
        write_text(path, json.dumps(document(report), indent=1) + "\n")
        folder = path.with_suffix(".samples")
        count = _samples(folder, report)
        return [f"json report: {path}", *([f"samples of {count} cells: {folder}"] if count else [])]
    if kind == "html":
        from ..report.html import html  # the chart library is an extra

        write_text(path, html(report))
    else:
        write_text(path, markdown(report))
    return [f"{kind} report: {path}"]


def _samples(folder: Path, report: Report) -> int:
    written = set()
    for name, text in samples(report):
        write_text(folder / name, text)
        written.add(name)
    for old in folder.glob("samples_*.jsonl"):
        if old.name not in written:
            old.unlink()  # of cells that an earlier run had
    return len(written)

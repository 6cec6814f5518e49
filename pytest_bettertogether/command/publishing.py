"""Reports on disk: the files that the pure functions of `report` are written into."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..pipeline.atomic import write_text
from ..report.document import document
from ..report.markdown import markdown
from ..report.model import Report
from ..report.samples import samples

NONE: Mapping[str, Callable[[Report], str]] = MappingProxyType({})


def publish(kind: str, path: Path, report: Report, others: Mapping[str, Callable[[Report], str]] = NONE) -> list[str]:
    """Write one report.

    Args:
        kind: json, html, md, or one of the others.
        path: The file to be replaced.
        report: What is to be shown.
        others: What makes the texts of the kinds that are not built in.

    Returns:
        Lines that say where it is.

    Raises:
        OSError: It cannot be written.
        TypeError: One of the others made no text.
    """
    if kind in others:
        text = others[kind](report)
        if not isinstance(text, str):
            raise TypeError(f"expected a text, got a {type(text).__name__}")
        write_text(path, text)
        return [f"{kind} report: {path}"]
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

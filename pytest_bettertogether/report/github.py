"""Annotations for GitHub Actions: workflow commands that put a regressed cell's verdict beside its test."""

from collections.abc import Iterator

from ..pipeline.inert_text import plain
from .model import CellView, Report

MOST = 10
"""GitHub shows no more of one kind per step."""


def annotations(report: Report, prefix: str = "") -> Iterator[str]:
    """A line for each cell that is to be seen to; `prefix` leads from the repository's root to the rootdir."""
    for level in ("error", "warning"):
        found = [cell for cell in report.cells if cell.facts.annotation == level]
        for cell in found[: MOST if len(found) <= MOST else MOST - 1]:
            record = cell.record
            where = {"file": f"{prefix}{record.file}", "line": str(record.line)} if record.file else {}
            place = {**where, "title": f"{cell.id} {cell.facts.word}"}
            properties = ",".join(f"{name}={_value(plain(text))}" for name, text in place.items())
            yield f"::{level} {properties}::{_message(_text(cell))}"
        if len(found) > MOST:
            yield f"::{level}::{len(found) - MOST + 1} more cells, see the step summary"


def _text(cell: CellView) -> str:
    reason = plain(cell.record.reason, 600)
    meaning = cell.facts.meaning if cell.facts.annotation == "warning" else ""
    return "; ".join(part for part in (reason, cell.compared, meaning) if part) or cell.facts.meaning


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")

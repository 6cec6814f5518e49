"""Annotations for GitHub Actions: workflow commands that put a regressed cell's verdict beside its test."""

from collections.abc import Iterator, Sequence

from ..pipeline.inert_text import plain
from ..results.cell_records import CellRecord
from ..results.statuses import STATUSES
from .cells import in_order

MOST = 10
"""GitHub shows no more of one kind per step."""


def annotations(records: Sequence[CellRecord], prefix: str = "") -> Iterator[str]:
    """A line for each cell that is to be seen to; `prefix` leads from the repository's root to the rootdir."""
    for level in ("error", "warning"):
        found = [each for each in in_order(records) if STATUSES[each.status].annotation == level]
        for each in found[: MOST if len(found) <= MOST else MOST - 1]:
            where = {"file": f"{prefix}{each.file}", "line": str(each.line)} if each.file else {}
            place = {**where, "title": f"{each.id} {STATUSES[each.status].word}"}
            properties = ",".join(f"{name}={_value(plain(text))}" for name, text in place.items())
            yield f"::{level} {properties}::{_message(_text(each))}"
        if len(found) > MOST:
            yield f"::{level}::{len(found) - MOST + 1} more cells, see the step summary"


def _text(record: CellRecord) -> str:
    gate = record.gate
    parts = [plain(record.reason, 600)] if record.reason else []
    if gate and gate.difference is not None and gate.baseline is not None:
        parts.append(
            f"{100 * (gate.baseline + gate.difference):.1f} % against {100 * gate.baseline:.1f} % in the baseline "
            f"({100 * gate.difference:+.1f} points), {len(gate.broken)} examples broken, {len(gate.fixed)} fixed"
        )
    facts = STATUSES[record.status]
    if facts.annotation == "warning":
        parts.append(facts.meaning)
    return "; ".join(parts) or facts.meaning


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")

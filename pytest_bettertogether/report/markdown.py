"""The comparison as Markdown, for a pull request."""

from collections.abc import Sequence

from ..results import CellRecord
from .abilities import ability_table
from .cells import in_order
from .text import UNICODE, lines, table


def markdown(records: Sequence[CellRecord]) -> str:
    """A heading, a table per model, and the notes below it; text of others is shown, never interpreted."""
    records = in_order(records)
    parts = ["# Better together\n"]
    for model in sorted({each.model for each in records}):
        rows = table(_shown(model), [each for each in records if each.model == model], UNICODE, style="github")
        parts.append("\n".join(rows) + "\n")
    if others := ability_table(records, "github", _shown):
        parts.append("\n".join(others) + "\n")
    after_tables = list(lines(records))
    notes = after_tables[len(after_tables) - after_tables[::-1].index("") :]
    parts.append("\n".join(f"- {_shown(note)}" for note in notes) + "\n")
    return "\n".join(parts)


def _shown(text: str) -> str:
    """Text in which nothing is markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>#|~!&" else character for character in flat)

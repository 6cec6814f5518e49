"""The comparison as Markdown: a whole report, and the short one that stands in GitHub's step summary."""

from collections.abc import Iterable

from ..pipeline.inert_text import markdown as shown
from .model import Report
from .side_effects import NOTE, side_effect_table
from .summary import gain_sentences
from .text import Style, table

WIDE = Style(width=10_000, escape=shown)


def markdown(report: Report) -> str:
    """A heading, a table per model, and the notes below it; text of others is shown, never interpreted."""
    return f"# Better together\n\n{_tables(report)}\n{_notes(report)}"


def step_summary(report: Report) -> str:
    """The verdict in a line, the tables, and what went wrong; the rest can be unfolded."""
    grave = []
    for cell in report.cells:
        if cell.facts.annotation == "error":
            grave.append(f"{cell.id} {cell.facts.word}: {cell.record.reason or cell.compared}")
    parts = [f"### Better together: {report.headline}\n", _tables(report)]
    if grave:
        parts.append(_list(grave))
    what = "What the numbers mean, and what they cost"
    parts.append(f"<details><summary>{what}</summary>\n\n{_notes(report)}\n</details>\n")
    return "\n".join(parts)


def _notes(report: Report) -> str:
    notes = report.notes
    won = (*gain_sentences(report.gains), *(factorial.sentence() for factorial in report.factorials))
    return _list((*notes.legend, *notes.remarks, *won, *notes.detectable, *notes.cost))


def _tables(report: Report) -> str:
    drawn = []
    for model in report.models:
        drawn.append("\n".join(table(model, report.symmetric, WIDE, drawn_as="github")) + "\n")
    if others := side_effect_table(report.cells, "github", shown):
        drawn.append("\n".join(others) + f"\n\n{NOTE}\n")
    return "\n".join(drawn)


def _list(notes: Iterable[str]) -> str:
    return "".join(f"- {shown(note, 2000)}\n" for note in notes)

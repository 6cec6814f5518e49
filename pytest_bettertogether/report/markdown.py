"""The comparison as Markdown: a whole report, and the short one that stands in GitHub's step summary."""

from collections.abc import Iterator, Sequence

from ..pipeline.inert_text import markdown as shown
from ..results.cell_records import CellRecord
from ..results.statuses import STATUSES
from .abilities import NOTE, ability_table
from .cells import in_order, scored
from .factorial import factorials
from .gains import gains, known
from .standing import Standing, standing
from .summary import gain_sentences
from .text import Style, cost, legend, remarks, sight, table

WIDE = Style(width=10_000, escape=shown)
GRAVE = tuple(status for status, facts in STATUSES.items() if facts.annotation == "error")


def markdown(records: Sequence[CellRecord]) -> str:
    """A heading, a table per model, and the notes below it; text of others is shown, never interpreted."""
    records = in_order(records)
    notes = [*legend(records), *remarks(records), *_won(records), *sight(records), *cost(records)]
    return "# Better together\n\n" + _tables(records, standing(records)) + "\n" + _list(notes)


def step_summary(records: Sequence[CellRecord]) -> str:
    """The verdict in a line, the tables, and what went wrong; the rest can be unfolded."""
    records = in_order(records)
    grave = [each for each in records if each.status in GRAVE]
    parts = [f"### Better together: {_verdict(records, grave)}\n", _tables(records, standing(records))]
    if grave:
        parts.append(_list([f"{each.id} {STATUSES[each.status].word}: {each.reason or _fell(each)}" for each in grave]))
    notes = [*legend(records), *remarks(records), *_won(records), *sight(records), *cost(records)]
    parts.append(
        f"<details><summary>What the numbers mean, and what they cost</summary>\n\n{_list(notes)}\n</details>\n"
    )
    return "\n".join(parts)


def _verdict(records: Sequence[CellRecord], grave: Sequence[CellRecord]) -> str:
    if not grave:
        gated = sum(STATUSES[each.status].held for each in records)
        return f"{len(records)} cells, {gated} held their baselines" if gated else f"{len(records)} cells, none gated"
    counts = {status: sum(each.status == status for each in grave) for status in GRAVE}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) + f" of {len(records)} cells"


def _fell(record: CellRecord) -> str:
    gate = record.gate
    if gate is None or gate.difference is None or gate.baseline is None:
        return ""
    now = gate.baseline + gate.difference
    return f"{100 * now:.1f} against {100 * gate.baseline:.1f} % ({100 * gate.difference:+.1f} points)"


def _won(records: Sequence[CellRecord]) -> Iterator[str]:
    results = scored(records)
    yield from gain_sentences(list(gains(known(results))))
    yield from (each.sentence() for each in factorials(results))


def _tables(records: Sequence[CellRecord], ranked: Standing) -> str:
    drawn = []
    for model in sorted({each.model for each in records}):
        mine = [each for each in records if each.model == model]
        drawn.append("\n".join(table(model, mine, ranked, WIDE, drawn_as="github")) + "\n")
    if others := ability_table(records, "github", shown):
        drawn.append("\n".join(others) + f"\n\n{NOTE}\n")
    return "\n".join(drawn)


def _list(notes: Sequence[str]) -> str:
    return "".join(f"- {shown(note, 2000)}\n" for note in notes)

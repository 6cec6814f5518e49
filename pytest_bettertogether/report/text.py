"""The comparison on the terminal: a table per model, strategies down, tasks across, and what must be said below it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from textwrap import wrap

from tabulate import tabulate

from ..pipeline.inert_text import plain
from ..results.statuses import NOT_RUN, STATUSES, StatusFacts
from .cells import title
from .model import CellView, ModelView, Report
from .side_effects import NOTE as OTHERS
from .side_effects import side_effect_sentences, side_effect_table
from .summary import gain_sentences, gain_table, note

Paint = Callable[[str, str], str]
"""(text, what it means) -> text for a terminal with colours. Meanings: best, bad, dim."""
WIDTH = 80
NO_SIGN = "\ue000"
"""Stands where a score has no sign while a table is laid out, since tabulate takes blanks from a text's end."""


@dataclass(frozen=True)
class Marks:
    """The signs that carry meaning without colour; by default they need Unicode."""

    arrow: str = "→"
    plus_minus: str = "±"
    best: str = "*"
    tied: str = "≈"
    cut: str = "…"
    statuses: str = "".join(facts.sign for facts in STATUSES.values())
    """The signs of the statuses, one after the other."""

    def fit(self, encoding: str) -> bool:
        """Whether a stream of this encoding can show them."""
        try:
            "".join(astuple(self)).encode(encoding)
        except UnicodeEncodeError:
            return False
        return True

    def spell(self, text: str) -> str:
        """Text of ours in these signs."""
        for theirs, ours in zip(astuple(UNICODE)[:-1], astuple(self)[:-1], strict=True):
            text = text.replace(theirs, ours)
        return text.translate(str.maketrans(UNICODE.statuses, self.statuses))

    def of(self, facts: StatusFacts) -> str:
        """The sign of a status."""
        return facts.sign if self.statuses == UNICODE.statuses else facts.ascii


UNICODE = Marks()
ASCII = Marks(
    arrow="->", plus_minus="+-", tied="~", cut="...", statuses="".join(facts.ascii for facts in STATUSES.values())
)


def unpainted(text: str, _meaning: str) -> str:
    """No colour."""
    return text


@dataclass(frozen=True)
class Style:
    """How wide, how much and in which signs. `verbosity` as pytest's: -1 for tables alone, 1 for seeds too."""

    marks: Marks = UNICODE
    width: int = WIDTH
    verbosity: int = 0
    paint: Paint = unpainted
    escape: Callable[[str, int], str] = plain
    """What makes others' names inert where this is shown."""


def lines(report: Report, style: Style | None = None) -> Iterator[str]:
    """The whole section, line by line: tables, legend, what has no score and why, what won by how much, cost."""
    style, notes = style or Style(), report.notes
    for model in report.models:
        yield from table(model, report.symmetric, style)
        yield ""
    if style.verbosity < 0:
        yield from fit(notes.remarks, style)
        return
    yield from fit((*notes.legend, *notes.remarks), style)
    if style.verbosity > 0:
        yield from fit(notes.seeds, style)
    gained = [_spelled(line, style) for line in gain_table(report.gains, report.kinds)]
    narrow = _narrow(gained, style)
    if gained and narrow:
        yield from ("", *gained)
    if gained:
        yield from fit([note(report.gains, report.kinds)], style)
    if style.verbosity > 0 or not narrow:
        yield from fit(gain_sentences(report.gains), style)
    yield from fit((factorial.sentence() for factorial in report.factorials), style)
    others = [_spelled(line, style) for line in side_effect_table(report.cells, "simple", plain)]
    if others and _narrow(others, style):
        yield from (*others, OTHERS)
    else:
        yield from fit(side_effect_sentences(report.cells, plain), style)
    yield from fit((*notes.detectable, *notes.cost), style)


def _narrow(drawn: Sequence[str], style: Style) -> bool:
    return all(len(line) <= style.width for line in drawn)


def fit(sentences: Iterable[str], style: Style) -> Iterator[str]:
    """Sentences in the style's signs and width, a new line for each."""
    for sentence in sentences:
        text = _spelled(sentence, style)
        yield from wrap(text, style.width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _spelled(text: str, style: Style) -> str:
    """A text that the style's stream can show."""
    spelled = style.marks.spell(text)
    return spelled if style.marks is UNICODE else spelled.encode("ascii", "backslashreplace").decode()


def table(model: ModelView, symmetric: bool, style: Style, drawn_as: str = "simple") -> list[str]:
    """One model's table, in a style of tabulate's; where it is too wide, its tasks are spread over several."""
    bare = Style(style.marks, escape=style.escape)  # without colours, whose signs would count

    def width(tasks: Sequence[str]) -> int:
        return max(map(len, _part(model, tasks, symmetric, bare, "simple")))

    names = width([])
    widths = [width([task]) - names for task in model.tasks]
    columns = len(widths)
    while columns > 1:
        starts = range(0, len(widths), columns)
        if all(names + sum(widths[start : start + columns]) <= style.width for start in starts):
            break
        columns -= 1
    drawn: list[str] = []
    for start in range(0, len(widths), columns):
        between = [""] if drawn else []
        drawn += between + _part(model, model.tasks[start : start + columns], symmetric, style, drawn_as)
    return drawn


def _part(model: ModelView, tasks: Sequence[str], symmetric: bool, style: Style, drawn_as: str) -> list[str]:
    rows = []
    for strategy in model.strategies:
        cells = [_cell(model.cells.get((strategy, task)), symmetric, style) for task in tasks]
        rows.append([style.marks.spell(title(strategy)), *cells])
    heads = [_spelled(style.escape(name, 40), style) for name in (model.name, *tasks)]
    align = ("left", *["right"] * len(tasks))
    drawn: str = tabulate(rows, heads, tablefmt=drawn_as, disable_numparse=True, colalign=align)
    return drawn.replace(NO_SIGN, " ").split("\n")


def _cell(cell: CellView | None, symmetric: bool, style: Style) -> str:
    """What a table says of a cell: its score and a sign, or the sign alone."""
    marks = style.marks
    if cell is None or cell.score is None:
        signs = cell.in_place if cell else (NOT_RUN,)
        return "".join(_painted(facts, style) for facts in signs)
    # One sign, the gravest first: a page has room for more.
    if cell.facts.colour:
        sign = _painted(cell.facts, style)
    elif cell.place == "best":
        sign = style.paint(marks.best, "best")
    else:
        sign = marks.tied if cell.place else marks.of(cell.facts) or NO_SIGN
    return f"{marks.spell(cell.score.text(symmetric))} {sign}"


def _painted(facts: StatusFacts, style: Style) -> str:
    sign = style.marks.of(facts)
    return style.paint(sign, facts.colour) if facts.colour else sign

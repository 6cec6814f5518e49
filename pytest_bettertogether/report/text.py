"""The comparison on the terminal: a table per model, strategies down, tasks across, and what must be said below it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import stdev
from textwrap import wrap

from tabulate import tabulate

from ..pipeline.inert_text import plain
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.statuses import NOT_RUN, STATUSES, StatusFacts
from .abilities import NOTE as OTHERS
from .abilities import ability_sentences, ability_table
from .cells import computed, in_order, interval, rank, scored, title
from .factorial import factorials
from .gains import gains, known
from .standing import Standing, standing
from .summary import NOTE, gain_sentences, gain_table

Paint = Callable[[str, str], str]
"""(text, what it means) -> text for a terminal with colours. Meanings: best, bad, dim."""
WIDTH = 80


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


def lines(records: Sequence[CellRecord], style: Style | None = None) -> Iterator[str]:
    """The whole section, line by line: tables, legend, what has no score and why, what won by how much, cost."""
    style, records = style or Style(), in_order(records)
    ranked = standing(records)
    for model in sorted({each.model for each in records}):
        yield from table(model, [each for each in records if each.model == model], ranked, style)
        yield ""
    said = [*remarks(records)] if style.verbosity < 0 else [*legend(records), *remarks(records), *seeds(records, style)]
    for line in said:
        yield from _fit(line, style)
    if style.verbosity < 0:
        return
    results = scored(records)
    summary = [style.marks.spell(line) for line in gain_table(results)]
    fits = all(len(line) <= style.width for line in summary)
    if summary and fits:
        yield ""
        yield from summary
    gained = gain_sentences(list(gains(known(results)))) if style.verbosity > 0 or not fits else ()
    for line in (
        *([NOTE] if summary else ()),
        *gained,
        *(each.sentence() for each in factorials(results)),
        *_others(records, style),
        *sight(records),
        *cost(records),
    ):
        yield from _fit(line, style)


def _others(records: Sequence[CellRecord], style: Style) -> Iterator[str]:
    """What else changed: a table where there is room for it."""
    drawn = ability_table(records, "simple", plain)
    if all(len(line) <= style.width for line in drawn):
        yield from (*drawn, *([OTHERS] if drawn else ()))
    else:
        yield from ability_sentences(records, plain)


def _fit(line: str, style: Style) -> Iterator[str]:
    text = style.marks.spell(line)
    if style.marks is not UNICODE:
        text = text.encode("ascii", "backslashreplace").decode()
    yield from wrap(text, style.width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def table(
    model: str, records: Sequence[CellRecord], ranked: Standing, style: Style, drawn_as: str = "simple"
) -> list[str]:
    """One model's table, in a style of tabulate's; where it is too wide, its tasks are spread over several."""
    tasks = sorted({each.task for each in records})
    cells = {(each.strategy, each.task): each for each in records}
    strategies = sorted({each.strategy for each in records}, key=rank)

    def drawn(part: Sequence[str], ranked: Standing, style: Style, drawn_as: str) -> list[str]:
        return _table(model, strategies, part, cells, ranked, style, drawn_as)

    def width(part: Sequence[str]) -> int:  # without colours, whose signs would count
        return max(map(len, drawn(part, Standing(frozenset(), frozenset()), Style(style.marks), "simple")))

    names = width([])
    widths = [width([task]) - names for task in tasks]
    columns = next(
        (
            count
            for count in range(len(tasks), 1, -1)
            if all(names + sum(widths[i : i + count]) <= style.width for i in range(0, len(tasks), count))
        ),
        1,
    )
    parts = [drawn(tasks[i : i + columns], ranked, style, drawn_as) for i in range(0, len(tasks), columns)]
    return [line for i, part in enumerate(parts) for line in (*([""] if i else []), *part)]


def _table(
    model: str,
    strategies: Sequence[str],
    tasks: Sequence[str],
    cells: Mapping[tuple[str, str], CellRecord],
    ranked: Standing,
    style: Style,
    drawn_as: str,
) -> list[str]:
    rows = [
        [style.marks.spell(title(strategy)), *(cell(cells.get((strategy, task)), ranked, style) for task in tasks)]
        for strategy in strategies
    ]
    heads = [_head(each, style) for each in (model, *tasks)]
    align = ("left", *["right"] * len(tasks))
    drawn: str = tabulate(rows, heads, tablefmt=drawn_as, disable_numparse=True, colalign=align)
    return drawn.split("\n")


def _head(text: str, style: Style) -> str:
    shown = style.marks.spell(style.escape(text, 40))
    return shown.encode("ascii", "backslashreplace").decode() if style.marks is not UNICODE else shown


def cell(record: CellRecord | None, ranked: Standing, style: Style) -> str:
    """What a table says of a cell: score ± half-width and a mark, or the mark alone."""
    marks, result = style.marks, record.result if record else None
    facts = STATUSES[record.status] if record else NOT_RUN
    bad, sign = facts.colour == "bad", marks.of(facts)
    if record is None or result is None or record.status == "invalid":
        return style.paint(sign or marks.of(NOT_RUN), "bad" if bad else "dim") + "  "
    if result.refused:
        return f"{marks.of(STATUSES['refused'])}{style.paint(sign, 'bad') if bad else ' '}  "
    # One sign, the gravest first: a page has room for more.
    mark = marks.best if record.id in ranked.best else marks.tied if record.id in ranked.tied else sign or " "
    low, high = interval(result)
    shown = style.paint(sign, "bad") if bad else style.paint(mark, "best") if mark == marks.best else mark
    return f"{100 * result.score:.1f} {marks.plus_minus} {100 * (high - low) / 2:4.1f} {shown}"


def legend(records: Sequence[CellRecord]) -> Iterator[str]:
    """What the numbers and signs mean."""
    results = scored(records)
    if not results:
        return
    examples = sorted({result.n for result in results})
    seeds = sorted({len(result.seeds) for result in results})
    yield (
        f"in %: mean of {_several(seeds, 'seed')} ± half its 95 % interval, "
        f"over {_span(examples)} examples{' and the seeds' if seeds[-1] > 1 else ''}"
    )
    signs: dict[str, list[str]] = {}
    for facts in STATUSES.values():
        if facts.sign:
            signs.setdefault(facts.sign, []).append(facts.word)
    said = "   ".join(f"{sign} {' or '.join(words)}" for sign, words in signs.items())
    yield f"* best of its column   ≈ not significantly below it (p > 0.05)   {said} or not run"


def remarks(records: Sequence[CellRecord]) -> Iterator[str]:
    """Why cells have no score, and what looks wrong about those that have one."""
    for each in records:
        result = each.result
        if STATUSES[each.status].explained:
            yield f"{plain(each.id)} {STATUSES[each.status].word}: {plain(each.reason)}"
        if result and not result.refused and result.score == 0:
            yield f"{plain(each.id)} got nothing right; {_sample(result)}"
    skipped = {(each.task, each.model, each.reason): None for each in records if each.status == "skipped"}
    yield from (f"{plain(task)} on {plain(model)} skipped: {plain(why)}" for task, model, why in skipped if why)
    yield from _collapsed(records)


def seeds(records: Sequence[CellRecord], style: Style) -> Iterator[str]:
    """A line on the seeds of each cell, where the user wants to know more."""
    for each in records if style.verbosity > 0 else ():
        if each.result and not each.result.refused:
            yield f"{plain(each.id)} {_seeds(each.result)}"


def _seeds(result: CellResult) -> str:
    """What the table's mean hides."""
    scores = [100 * seed.score for seed in result.seeds]
    spread = f", standard deviation {stdev(scores):.1f}" if len(scores) > 1 else ""
    listed = ", ".join(f"seed {seed.seed}: {score:.1f}" for seed, score in zip(result.seeds, scores, strict=True))
    unparsable = sum(example.unparsable for seed in result.seeds for example in seed.examples)
    return f"{listed}{spread}, {unparsable} unparsable"


def sight(records: Sequence[CellRecord]) -> Iterator[str]:
    """What the gates of this run were able to see, and which were too small to tell."""
    gates = [(each, each.gate) for each in records if each.gate and each.gate.p_value is not None]
    if gates:
        seen = ", ".join(
            f"{plain(each.id)} "
            + ("none" if gate.detectable is None else f"{100 * gate.detectable:.0f} points")
            + " (too small to tell)" * (each.status == "too_small")
            for each, gate in gates
        )
        yield f"smallest drop that the gate finds with 80 % probability: {seen}"


def _collapsed(records: Sequence[CellRecord]) -> Iterator[str]:
    """A line per task and model whose weight steps learned from traces that all said the same."""
    found: dict[tuple[str, str], set[str]] = {}
    for each in records:
        for seed in each.result.seeds if each.result else ():
            paths = {step.path for step in seed.steps if step.train_rows and step.distinct_outputs == 1}
            found.setdefault((each.task, each.model), set()).update(paths)
    for (task, model), paths in found.items():
        if paths:
            yield (
                f"warning: {plain(task)} on {model}: all traces that {', '.join(sorted(paths, key=rank))} trained on "
                "had one output, and such training makes a model say only that: raise bootstrap.temperature or "
                "lora.attempts"
            )


def _sample(result: CellResult) -> str:
    """What the program said on the first test example, so that one sees why."""
    example = result.seeds[0].examples[0]
    spoken = ", ".join(f"{plain(name)}: {text[:60]!r}" for name, text in example.said.items())
    return f"on example {plain(example.id)!r} it said {spoken or 'nothing'}"


def cost(records: Sequence[CellRecord]) -> Iterator[str]:
    """What the cells cost when they were computed, each shared step once, and what this run paid of it."""
    spent, steps = computed([each.result for each in records if each.result])
    counts = {kind: sum(step.path.endswith(kind) for step in steps) for kind in "pw"}
    paid = sum(each.paid.usage.lm_calls for each in records)
    tokens = sum(each.paid.usage.prompt_tokens + each.paid.usage.completion_tokens for each in records)
    took = sum(each.paid.seconds for each in records)
    speed = f"; {tokens / took:,.0f} tokens/s over all" if paid and took > 1 else ""
    yield (
        f"{_several([counts['p']], 'prompt step')}, {_several([counts['w']], 'weight step')}, "
        f"{_several([sum(step.train_steps for step in steps)], 'training step')}"
    )
    yield f"{spent.lm_calls:,} LM calls, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out"
    yield f"replayed: {max(0, spent.lm_calls - paid):,} calls{speed}; made now: {paid:,} calls"


def _several(counts: Sequence[int], noun: str) -> str:
    return f"{_span(counts)} {noun}{'' if list(counts) == [1] else 's'}"


def _span(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"

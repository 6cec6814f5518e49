"""The comparison on the terminal: one table per model, strategies down, tasks across."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from statistics import stdev

from tabulate import tabulate

from ..results import CellRecord, CellResult
from .abilities import ability_table
from .cells import computed, in_order, interval, rank, scored, title


@dataclass(frozen=True)
class Marks:
    """The signs that carry meaning without colour; by default they need Unicode."""

    arrow: str = "→"
    plus_minus: str = "±"
    best: str = "*"
    failed: str = "✗"
    invalid: str = "!"
    refused: str = "–"
    not_run: str = "·"

    def fit(self, encoding: str) -> bool:
        """Whether a stream of this encoding can show them."""
        try:
            "".join(astuple(self)).encode(encoding)
        except UnicodeEncodeError:
            return False
        return True


UNICODE = Marks()
ASCII = Marks(arrow="->", plus_minus="+-", failed="x", refused="-", not_run=".")


def lines(records: Sequence[CellRecord], marks: Marks = UNICODE, verbose: bool = False) -> Iterator[str]:
    """The whole section, line by line: tables, legend, what has no score and why, cost; with `verbose` the seeds."""
    records = in_order(records)
    for model in sorted({each.model for each in records}):
        yield from table(model, [each for each in records if each.model == model], marks)
        yield ""
    if others := ability_table(records):
        yield from (line.replace("→", marks.arrow) for line in others)
        yield ""
    yield from _legend(records, marks)
    for each in records:
        result, cell = each.result, f"{each.task}[{each.model}-{each.strategy}]"
        if each.status in ("invalid", "refused", "stopped"):
            yield f"{cell} {each.status}: {each.reason}"
        if result and not result.refused and result.score == 0:
            yield f"{cell} got nothing right; {_sample(result)}"
        if verbose and result and not result.refused:
            yield f"{cell} {_seeds(result)}"
    yield from _sight(records)
    yield from _collapsed(records)
    yield from _cost(records)


def table(model: str, records: Sequence[CellRecord], marks: Marks, style: str = "simple") -> list[str]:
    """One model's table, in a style of tabulate's."""
    by_cell = {(each.strategy, each.task): each for each in records}
    tasks = sorted({each.task for each in records})
    best = {task: max((r.score for r in scored(records) if r.task == task), default=-1.0) for task in tasks}
    rows = [
        [
            title(strategy).replace("→", marks.arrow),
            *(_cell(by_cell.get((strategy, task)), best[task], marks) for task in tasks),
        ]
        for strategy in sorted({each.strategy for each in records}, key=rank)
    ]
    align = ("left", *["right"] * len(tasks))
    drawn: str = tabulate(rows, [model, *tasks], tablefmt=style, disable_numparse=True, colalign=align)
    return drawn.split("\n")


def _cell(record: CellRecord | None, best: float, marks: Marks) -> str:
    result = record.result if record else None
    if record is None or (result is None and record.status not in ("invalid", "failed")):
        return f"{marks.not_run}  "
    sign = {"worse": marks.failed, "failed": marks.failed, "invalid": marks.invalid}.get(record.status, "")
    if result is None or record.status == "invalid":
        return f"{sign}  "
    if result.refused:
        return f"{marks.refused}{sign:2} "
    low, high = interval(result)
    sign = sign or (marks.best if result.score == best else "")
    return f"{100 * result.score:.1f} {marks.plus_minus} {100 * (high - low) / 2:4.1f} {sign:1}"


def _legend(records: Sequence[CellRecord], marks: Marks) -> Iterator[str]:
    results = scored(records)
    if not results:
        return
    examples = sorted({result.n for result in results})
    seeds = sorted({len(result.seeds) for result in results})
    yield (
        f"score in %, mean of {_several(seeds, 'seed')}, {marks.plus_minus} half the 95 % interval "
        f"over {_span(examples)} examples{' and the seeds' if seeds[-1] > 1 else ''}"
    )
    yield (
        f"{marks.best} best of its column   {marks.failed} worse or failed   {marks.invalid} invalid   "
        f"{marks.refused} refused   {marks.not_run} not run"
    )


def _seeds(result: CellResult) -> str:
    """One line on a cell's seeds: what the table's mean hides."""
    scores = [100 * seed.score for seed in result.seeds]
    spread = f", standard deviation {stdev(scores):.1f}" if len(scores) > 1 else ""
    listed = ", ".join(f"seed {seed.seed}: {score:.1f}" for seed, score in zip(result.seeds, scores, strict=True))
    unparsable = sum(example.unparsable for seed in result.seeds for example in seed.examples)
    return f"{listed}{spread}, {unparsable} unparsable"


def _sight(records: Sequence[CellRecord]) -> Iterator[str]:
    """What the gates of this run were able to see, and which were too small to tell."""
    gates = [(each, each.gate) for each in records if each.gate and each.gate.p_value is not None]
    if gates:
        seen = ", ".join(
            f"{each.task}[{each.model}-{each.strategy}] "
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
                f"warning: {task} on {model}: all traces that {', '.join(sorted(paths, key=rank))} trained on had one "
                "output, and such training makes a model say only that: raise bootstrap.temperature or lora.attempts"
            )


def _sample(result: CellResult) -> str:
    """What the program said on the first test example, so that one sees why."""
    example = result.seeds[0].examples[0]
    spoken = ", ".join(f"{name}: {text[:60]!r}" for name, text in example.said.items())
    return f"on example {example.id!r} it said {spoken or 'nothing'}"


def _cost(records: Sequence[CellRecord]) -> Iterator[str]:
    """What the cells cost when they were computed, each shared step once, and what this run paid of it."""
    spent, steps = computed([each.result for each in records if each.result])
    counts = {kind: sum(step.path.endswith(kind) for step in steps) for kind in "pw"}
    paid = sum(each.paid.usage.lm_calls for each in records)
    yield (
        f"{_several([counts['p']], 'prompt step')}, {_several([counts['w']], 'weight step')}, "
        f"{_several([sum(step.train_steps for step in steps)], 'training step')}"
    )
    yield (
        f"{spent.lm_calls:,} LM calls, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out; "
        f"made now: {paid:,} calls"
    )


def _several(counts: Sequence[int], noun: str) -> str:
    return f"{_span(counts)} {noun}{'' if list(counts) == [1] else 's'}"


def _span(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"

"""The comparison on the terminal: one table per model, strategies down, tasks across."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import stdev
from typing import Any

from tabulate import tabulate

from ..gate.statistics import wilson
from ..results import CellResult, StepRecord, Usage
from ..strategy import PAPER, Strategy


@dataclass(frozen=True)
class Entry:
    """A cell as the report shows it: its result, and whether it fell below its baseline."""

    result: CellResult
    worse: bool = False


def entry(record: Mapping[str, Any]) -> Entry:
    """Read a cell's record as it came with its test report."""
    return Entry(CellResult.from_json(record["result"]), record["worse"])


@dataclass(frozen=True)
class Marks:
    """The signs that carry meaning without colour; by default they need Unicode."""

    arrow: str = "→"
    plus_minus: str = "±"
    best: str = "*"
    worse: str = "✗"
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
ASCII = Marks(arrow="->", plus_minus="+-", worse="x", refused="-", not_run=".")


def lines(entries: Sequence[Entry], marks: Marks = UNICODE, verbose: bool = False) -> Iterator[str]:
    """The whole section, line by line: tables, legend, refusals, cost; each cell's seeds if `verbose`."""
    entries = sorted(entries, key=lambda each: (each.result.model, each.result.task, rank(each.result.strategy)))
    models = sorted({entry.result.model for entry in entries})
    for model in models:
        yield from _table(model, [entry for entry in entries if entry.result.model == model], marks)
        yield ""
    yield from _legend(entries, marks)
    for entry in entries:
        if entry.result.refused:
            yield f"{entry.result.task}[{entry.result.id}] refused: {entry.result.refused}"
        elif verbose:
            yield _seeds(entry.result)
    yield cost([entry.result for entry in entries])


def _table(model: str, entries: Sequence[Entry], marks: Marks) -> Iterator[str]:
    by_cell = {(entry.result.strategy, entry.result.task): entry for entry in entries}
    tasks = sorted({entry.result.task for entry in entries})
    best = {
        task: max(
            (entry.result.score for (_, of), entry in by_cell.items() if of == task and not entry.result.refused),
            default=-1.0,
        )
        for task in tasks
    }
    rows = [
        [_title(strategy, marks), *(_cell(by_cell.get((strategy, task)), best[task], marks) for task in tasks)]
        for strategy in ordered({entry.result.strategy for entry in entries})
    ]
    yield from tabulate(rows, [model, *tasks], disable_numparse=True, colalign=("left", *["right"] * len(tasks))).split(
        "\n"
    )


def _cell(entry: Entry | None, best: float, marks: Marks) -> str:
    if entry is None:
        return f"{marks.not_run}  "
    if entry.result.refused:
        return f"{marks.refused}{marks.worse if entry.worse else ' '} "
    score = entry.result.score
    low, high = wilson(score, entry.result.n)
    sign = marks.worse if entry.worse else marks.best if score == best else " "
    return f"{100 * score:.1f} {marks.plus_minus} {100 * (high - low) / 2:4.1f} {sign}"


def _legend(entries: Sequence[Entry], marks: Marks) -> Iterator[str]:
    scored = [entry.result for entry in entries if not entry.result.refused]
    if not scored:
        return
    examples = sorted({result.n for result in scored})
    seeds = sorted({len(result.seeds) for result in scored})
    yield (
        f"% of test examples right, mean of {_several(seeds, 'seed')}, {marks.plus_minus} half the 95 % interval "
        f"for n = {_span(examples)}"
    )
    yield (
        f"{marks.best} best of its column   {marks.worse} below its baseline   "
        f"{marks.refused} refused   {marks.not_run} not run"
    )


def _seeds(result: CellResult) -> str:
    """One line on a cell's seeds: what the table's mean hides."""
    scores = [100 * seed.score for seed in result.seeds]
    spread = f", standard deviation {stdev(scores):.1f}" if len(scores) > 1 else ""
    listed = ", ".join(f"seed {seed.seed}: {score:.1f}" for seed, score in zip(result.seeds, scores, strict=True))
    unparsable = sum(example.unparsable for seed in result.seeds for example in seed.examples)
    return f"{result.task}[{result.id}] {listed}{spread}, {unparsable} unparsable"


def cost(results: Iterable[CellResult]) -> str:
    """One line: steps and calls, each shared step counted once."""
    steps: dict[tuple[str, str, int, str], StepRecord] = {}
    spent = Usage()
    for result in results:
        for seed in result.seeds:
            spent += seed.usage
            for step in seed.steps:
                steps[result.task, result.model, seed.seed, step.path] = step
    for step in steps.values():
        spent += step.usage
    counts = {kind: sum(path[3].endswith(kind) for path in steps) for kind in "pw"}
    return (
        f"{counts['p']} prompt steps, {counts['w']} weight steps, {spent.lm_calls:,} LM calls, "
        f"{spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out, "
        f"{sum(step.train_steps for step in steps.values()):,} training steps"
    )


def ordered(strategies: Iterable[str]) -> list[str]:
    """Strategy ids in the paper's order, others after them."""
    return sorted(strategies, key=rank)


def rank(strategy: str) -> tuple[int, str]:
    """Sort key that puts the paper's strategies first, in the paper's order."""
    paper = [each.id for each in PAPER]
    return (paper.index(strategy) if strategy in paper else len(paper), strategy)


def _title(strategy: str, marks: Marks) -> str:
    return Strategy.parse(strategy).title.replace("→", marks.arrow)


def _several(counts: Sequence[int], noun: str) -> str:
    return f"{_span(counts)} {noun}{'' if list(counts) == [1] else 's'}"


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"

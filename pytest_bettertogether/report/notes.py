"""The sentences below the tables: what the numbers mean, what went wrong, what it cost."""

from collections.abc import Iterator, Sequence
from statistics import stdev

from ..pipeline.inert_text import plain
from ..pipeline.steps import Kinds
from ..results.cell_results import CellResult
from ..results.statuses import NOT_RUN, STATUSES
from .cells import rank
from .cost import computed
from .model import CellView, Notes


def notes_on(cells: Sequence[CellView], symmetric: bool, kinds: Kinds) -> Notes:
    """All sentences on a run's cells; `symmetric` says in which form tables show intervals."""
    return Notes(
        legend=tuple(_legend(cells, symmetric)),
        remarks=(*_remarks(cells), *_collapsed(cells)),
        seeds=tuple(f"{plain(cell.id)} {_seeds(cell.scored, cell.unparsable)}" for cell in cells if cell.scored),
        detectable=tuple(_detectable(cells)),
        cost=tuple(_cost(cells, kinds)),
    )


def _legend(cells: Sequence[CellView], symmetric: bool) -> Iterator[str]:
    results = [cell.scored for cell in cells if cell.scored]
    if not results:
        return
    examples = sorted({result.n for result in results})
    seeds = sorted({len(result.seeds) for result in results})
    interval = "± half its 95 % interval" if symmetric else "[its 95 % interval]"
    scatter = " and the seeds" if seeds[-1] > 1 else ""
    yield f"in %: mean of {_several(seeds, 'seed')} {interval}, over {_span(examples)} examples{scatter}"
    words: dict[str, list[str]] = {}
    for facts in STATUSES.values():
        if facts.sign:
            words.setdefault(facts.sign, []).append(facts.word)
    words[NOT_RUN.sign].append("not run")
    signs = "   ".join(f"{sign} {' or '.join(meant)}" for sign, meant in words.items())
    yield f"* best of its column, failed cells aside   ≈ not significantly below it (p > 0.05)   {signs}"


def _remarks(cells: Sequence[CellView]) -> Iterator[str]:
    skipped: dict[str, None] = {}
    for cell in cells:
        record = cell.record
        if cell.facts.explained:
            yield f"{plain(cell.id)} {cell.facts.word}: {plain(record.reason)}"
        if cell.scored and cell.scored.score == 0:
            yield f"{plain(cell.id)} got nothing right; {_sample(cell.scored)}"
        if record.status == "skipped" and record.reason:
            skipped[f"{plain(record.task)} on {plain(record.model)} skipped: {plain(record.reason)}"] = None
    yield from skipped


def _sample(result: CellResult) -> str:
    """What the program said on the first test example, so that one sees why."""
    example = result.seeds[0].examples[0]
    spoken = ", ".join(f"{plain(name)}: {plain(repr(text[:60]))}" for name, text in example.said.items())
    return f"on example {plain(example.id)!r} it said {spoken or 'nothing'}"


def _collapsed(cells: Sequence[CellView]) -> Iterator[str]:
    """A line per task and model whose weight steps learned from traces that all said the same."""
    found: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        for seed in cell.result.seeds if cell.result else ():
            paths = {step.path for step in seed.steps if step.train_rows and step.distinct_outputs == 1}
            found.setdefault((cell.record.task, cell.record.model), set()).update(paths)
    for (task, model), paths in found.items():
        if paths:
            yield (
                f"warning: {plain(task)} on {plain(model)}: all traces that {', '.join(sorted(paths, key=rank))} "
                "trained on had one output, and such training makes a model say only that: raise "
                "bootstrap.temperature or lora.attempts"
            )


def _seeds(result: CellResult, unparsable: int) -> str:
    scores = [100 * seed.score for seed in result.seeds]
    spread = f", standard deviation {stdev(scores):.1f}" if len(scores) > 1 else ""
    listed = ", ".join(f"seed {seed.seed}: {score:.1f}" for seed, score in zip(result.seeds, scores, strict=True))
    return f"{listed}{spread}, {unparsable} unparsable"


def _detectable(cells: Sequence[CellView]) -> Iterator[str]:
    """What the gates were able to see, and which were too small to tell."""
    seen = []
    for cell in cells:
        if cell.gate:
            drop = "none" if cell.gate.detectable is None else f"{100 * cell.gate.detectable:.0f} points"
            small = f" ({cell.facts.word})" if cell.record.status == "too_small" else ""
            seen.append(f"{plain(cell.id)} {drop}{small}")
    if seen:
        yield f"smallest drop that the gate finds with 80 % probability: {', '.join(seen)}"


def _cost(cells: Sequence[CellView], kinds: Kinds) -> Iterator[str]:
    """What cells that ended take to compute, each shared step once; what this run paid, and what it did not pay again.

    What a run did not pay for is not all replayed: a call that two cells share is made once.
    """
    results = [cell.result for cell in cells if cell.result]
    paid = sum(cell.record.paid.usage.lm_calls for cell in cells)
    without = sum(cell.record.paid.usage.lm_calls for cell in cells if not cell.result)
    unfinished = f", {without:,} of them in cells without a result" if without else ""
    speed = _speed(cells) if paid else ""
    if results:
        cost = computed(results)
        steps = []
        for letter, kind in kinds.items():
            done = sum(step.path.endswith(letter) for step in cost.steps)
            refused = sum(step.path.endswith(letter) for step in cost.refused)
            noun = kind.noun if done == 1 else kind.plural
            steps.append(f"{done:,} {noun}" + (f" ({refused:,} more refused)" if refused else ""))
        yield f"{', '.join(steps)}, {_several([cost.train_steps], 'training step')}"
        usage = cost.usage
        yield f"{usage.lm_calls:,} LM calls, {usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
        spared = max(0, usage.lm_calls - (paid - without))
        yield f"shared or replayed: {spared:,} calls; made now: {paid:,} calls{unfinished}{speed}"
    else:
        yield f"made now: {paid:,} calls{unfinished}{speed}"


def _speed(cells: Sequence[CellView]) -> str:
    tokens = sum(cell.record.paid.usage.prompt_tokens + cell.record.paid.usage.completion_tokens for cell in cells)
    took = sum(cell.record.paid.seconds for cell in cells)
    return f"; {tokens / took:,.0f} tokens/s over all" if took > 1 else ""


def _several(counts: Sequence[int], noun: str) -> str:
    return f"{_span(counts)} {noun}{'' if list(counts) == [1] else 's'}"


def _span(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"

"""The paper's own summary: what the best combined strategy gains over prompts only and over weights only.

Per task and model the best strategy that joins a kind of step with others is divided by the best one that has this
kind alone; the ratios are averaged over the models that have both. "Best of single and doubled" is the rule that
reproduces most of the paper's headline figures; "single only" leaves the doubled strategies (p -> p, w -> w) out of the
denominator.

A winner that is picked on the test split flatters itself. The same is therefore given with the winners of both sides
picked on dev, where dev scores are known.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..gate.intervals import contrast_interval
from ..pipeline.steps import KINDS, Kinds, StepKind
from ..pipeline.strategy import Strategy
from ..results.cell_results import CellResult


@dataclass(frozen=True)
class Scored:
    """One cell for this summary: its score, and what else is known of it. `outcomes` are [seed][example]."""

    task: str
    model: str
    strategy: str
    score: float
    dev: float | None = None
    ids: tuple[str, ...] = ()
    outcomes: tuple[tuple[float, ...], ...] = ()
    clusters: tuple[str, ...] = ()

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds of steps it has, by their letters."""
        return Strategy.of(self.strategy).kinds


@dataclass(frozen=True)
class Gain:
    """Mean gain of one task over its models. `percent` and `points` are means, with 95 % intervals if known.

    `models` gives, for each, the strategy that won and the one that it was compared with.
    """

    task: str
    over: StepKind
    doubled: bool
    """Whether the denominator is the best of single and doubled strategies, and not the single one."""
    picked_on: Literal["test", "dev"]
    models: tuple[tuple[str, str, str], ...]
    percent: float
    points: float
    percent_interval: tuple[float, float] | None = None
    points_interval: tuple[float, float] | None = None


def known(results: Iterable[CellResult]) -> list[Scored]:
    """What the summary needs of results with scores."""
    return [
        Scored(
            task=result.task,
            model=result.model,
            strategy=result.strategy,
            score=result.score,
            dev=_dev(result),
            ids=tuple(example.id for example in result.seeds[0].examples),
            outcomes=tuple(map(tuple, result.outcomes)),
            clusters=result.clusters,
        )
        for result in results
    ]


def gains(cells: Sequence[Scored], kinds: Kinds = KINDS) -> Iterator[Gain]:
    """All that can be said: by task, kind and denominator, picked on test and, where it is known, on dev."""
    for task in sorted({cell.task for cell in cells}):
        mine = [cell for cell in cells if cell.task == task]
        for over in kinds.values():
            for doubled in (False, True):
                for on in ("test", "dev"):
                    gain = _gain(task, mine, over, doubled, on)
                    if gain:
                        yield gain


def _gain(task: str, cells: Sequence[Scored], over: StepKind, doubled: bool, on: Literal["test", "dev"]) -> Gain | None:
    pairs = []
    for model in sorted({cell.model for cell in cells}):
        mine = [cell for cell in cells if cell.model == model and (on == "test" or cell.dev is not None)]
        combined = [cell for cell in mine if cell.kinds > {over.letter}]
        alone = [cell for cell in mine if cell.kinds == {over.letter}]
        single = [cell for cell in alone if doubled or cell.strategy == over.letter]
        if combined and single:
            top, other = (max(side, key=lambda each: _merit(each, on)) for side in (combined, single))
            if other.score > 0:
                pairs.append((top, other))
    if not pairs:
        return None
    ratios = [top.score / other.score for top, other in pairs]
    parts = _paired(pairs)
    points = percent = None
    if parts is not None:
        clusters = pairs[0][0].clusters or None
        points = contrast_interval(_mean([_difference(top, other) for top, other in parts]), clusters)[1:]
        # The delta method: how much each example moves the ratio a / b is (a - ratio x b) / mean of b.
        moved = [
            [
                [(a - ratio * b) / other.score for a, b in zip(*rows, strict=True)]
                for rows in zip(top.outcomes, other.outcomes, strict=True)
            ]
            for (top, other), ratio in zip(parts, ratios, strict=True)
        ]
        _, low, high = contrast_interval(_mean(moved), clusters)
        middle = fmean(ratios) - 1
        percent = (middle + low, middle + high)
    return Gain(
        task,
        over,
        doubled,
        on,
        tuple((top.model, top.strategy, other.strategy) for top, other in pairs),
        fmean(ratios) - 1,
        fmean(top.score - other.score for top, other in pairs),
        percent,
        points,
    )


def _merit(cell: Scored, on: Literal["test", "dev"]) -> float:
    return cell.score if on == "test" else cell.dev or 0.0


def _dev(result: CellResult) -> float | None:
    """The tested programs' score on dev, mean over seeds, if all seeds have one."""
    scores = [seed.dev_scores.get(seed.selected) for seed in result.seeds]
    found = [score for score in scores if score is not None]
    return fmean(found) if len(found) == len(scores) else None


def _paired(pairs: Sequence[tuple[Scored, Scored]]) -> Sequence[tuple[Scored, Scored]] | None:
    """The pairs, if all have outcomes of the same examples and equally many seeds."""
    shapes = {(result.ids, len(result.outcomes)) for pair in pairs for result in pair}
    return pairs if len(shapes) == 1 and pairs[0][0].outcomes else None


def _difference(top: Scored, other: Scored) -> list[list[float]]:
    return [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(top.outcomes, other.outcomes, strict=True)]


def _mean(parts: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Over models: [model][seed][example] -> [seed][example]."""
    return [[fmean(values) for values in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]

"""BetterTogether: prompts and weights, alternated (Soylu, Potts & Khattab, arXiv 2407.10930, Algorithm 1)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..pipeline.state import ProgramState
from ..pipeline.strategy import Strategy
from ..results.cell_results import SeedResult, StepRecord, Usage
from ..results.traces import PER_SEED
from ..running.evaluate import Experiment, evaluate, prompts
from .builtin import BUILT_IN
from .conduct import conduct
from .outcome import Outcome
from .step import Steps

StepPath = tuple[str, ...]
Remember = Callable[[StepPath, Callable[[], Outcome]], Outcome]
"""How a step is run: given its path and the work, return its outcome, new or remembered."""


Select = Literal["last", "best"]


@dataclass(frozen=True)
class Optimized:
    """The programs a strategy made, from the one it began with to its last; `refused` says why it got no further."""

    states: tuple[ProgramState, ...]
    steps: tuple[StepRecord, ...]
    refused: str = ""

    @property
    def state(self) -> ProgramState:
        """The last program: what a strategy returns in the paper."""
        return self.states[-1]


def run_always(_path: StepPath, work: Callable[[], Outcome]) -> Outcome:
    """The plainest `Remember`: nothing is shared."""
    return work()


def better_together(
    experiment: Experiment, strategy: Strategy, remember: Remember = run_always, steps: Steps = BUILT_IN
) -> Optimized:
    """Apply the strategy's steps in order, each to the program the one before it made.

    What a step starts from is said by the steps themselves: p searches demos anew for the
    current weights (line 3 of Algorithm 1: Θ', Π, not Π'), w trains on from the current
    weights and clears the demos. So a path of steps names a program, and strategies with a
    common beginning can share it.
    """
    states, records = [experiment.start], list[StepRecord]()
    for path in strategy.prefixes():
        work = partial(conduct, steps[path[-1]], experiment, states[-1], path)
        outcome = remember(path, work)
        records.append(outcome.record)
        if outcome.refused:
            return Optimized(tuple(states), tuple(records), outcome.refused)
        states.append(outcome.state)
    return Optimized(tuple(states), tuple(records))


def run_seed(
    experiment: Experiment,
    strategy: Strategy,
    remember: Remember = run_always,
    select: Select = "last",
    dev: bool = False,
    steps: Steps = BUILT_IN,
) -> SeedResult:
    """Optimise, then look at the test split, once. With `dev`, all prefixes are scored on dev, for the report.

    The program that is tested is the strategy's last, or with `select="best"` the earliest best
    of its prefixes by dev score, the program as written included.
    """
    began = time.perf_counter()
    optimized = better_together(experiment, strategy, remember, steps)
    if optimized.refused:
        return SeedResult(experiment.seed, (), Usage(), time.perf_counter() - began, optimized.steps, optimized.refused)
    paths: list[StepPath] = [(), *strategy.prefixes()]
    dev_scores, spent = dict[str, float](), Usage()
    if select == "best" or dev:
        dev_scores, spent = _on_dev(experiment, paths, optimized.states)
    chosen = _earliest_best(list(dev_scores.values())) if select == "best" else len(paths) - 1
    state = optimized.states[chosen]
    experiment.progress.begin("test", len(experiment.splits.test))
    seed = experiment.test_seed(paths[chosen])
    evaluation = evaluate(experiment.on_test(), state, experiment.splits.test, seed, PER_SEED)
    return SeedResult(
        seed=experiment.seed,
        examples=evaluation.examples,
        # What only the report needs is no cost of the program.
        usage=evaluation.usage + (spent if select == "best" else Usage()),
        seconds=time.perf_counter() - began,
        steps=optimized.steps,
        selected=Strategy(paths[chosen]).id,
        dev_scores=dev_scores,
        prompts=prompts(experiment, state),
    )


def _on_dev(
    experiment: Experiment, paths: list[StepPath], states: tuple[ProgramState, ...]
) -> tuple[dict[str, float], Usage]:
    """The score on dev of the program at each path, by the path's strategy, and what all of them cost."""
    scores, spent = dict[str, float](), Usage()
    for path, state in zip(paths, states, strict=True):
        experiment.progress.begin("dev", len(experiment.splits.dev))
        evaluation = evaluate(experiment, state, experiment.splits.dev, experiment.derive(*path, "dev"))
        scores[Strategy(path).id] = evaluation.mean
        spent += evaluation.usage
    return scores, spent


def _earliest_best(scores: list[float]) -> int:
    return max(range(len(scores)), key=lambda place: (scores[place], -place))

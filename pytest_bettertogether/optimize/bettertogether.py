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
from .outcome import Outcome
from .prompts import optimize_prompts
from .weights import optimize_weights

OPTIMIZERS = {"p": optimize_prompts, "w": optimize_weights}

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


def step(experiment: Experiment, state: ProgramState, path: StepPath) -> Outcome:
    """The last step of `path`, on the program in `state`; refused where the task has nothing to optimise, or with."""
    if experiment.unfit:
        record = StepRecord("".join(path), Usage(), 0, 0, 0, 0.0)
        return Outcome(state, record, f"step {path[-1]}: {experiment.unfit}")
    return OPTIMIZERS[path[-1]](experiment, state, path)


def run_always(_path: StepPath, work: Callable[[], Outcome]) -> Outcome:
    """The plainest `Remember`: nothing is shared."""
    return work()


def better_together(experiment: Experiment, strategy: Strategy, remember: Remember = run_always) -> Optimized:
    """Apply the strategy's steps in order, each to the program the one before it made.

    What a step starts from is said by the steps themselves: p searches demos anew for the
    current weights (line 3 of Algorithm 1: Θ', Π, not Π'), w trains on from the current
    weights and clears the demos. So a path of steps names a program, and strategies with a
    common beginning can share it.
    """
    states, records = [experiment.start], list[StepRecord]()
    for path in strategy.prefixes():
        optimize = partial(step, experiment, states[-1], path)
        outcome = remember(path, optimize)
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
) -> SeedResult:
    """Optimise, then look at the test split, once. With `dev`, all prefixes are scored on dev, for the report.

    The program that is tested is the strategy's last, or with `select="best"` the earliest best
    of its prefixes by dev score, the program as written included.
    """
    began = time.perf_counter()
    optimized = better_together(experiment, strategy, remember)
    if optimized.refused:
        return SeedResult(experiment.seed, (), Usage(), time.perf_counter() - began, optimized.steps, optimized.refused)
    paths = [(), *strategy.prefixes()]
    dev_scores: dict[str, float] = {}
    spent, chosen = Usage(), len(paths) - 1
    if select == "best" or dev:
        for path, state in zip(paths, optimized.states, strict=True):
            experiment.progress.begin("dev", len(experiment.splits.dev))
            on_dev = evaluate(experiment, state, experiment.splits.dev, experiment.derive(*path, "dev"))
            dev_scores[Strategy(path).id] = on_dev.mean
            spent += on_dev.usage if select == "best" else Usage()  # what only the report needs is no cost of it
    if select == "best":
        chosen = max(range(len(paths)), key=lambda i: (list(dev_scores.values())[i], -i))
    seed = experiment.test_seed(paths[chosen])
    experiment.progress.begin("test", len(experiment.splits.test))
    state = optimized.states[chosen]
    evaluation = evaluate(experiment.on_test(), state, experiment.splits.test, seed, PER_SEED)
    return SeedResult(
        seed=experiment.seed,
        examples=evaluation.examples,
        usage=spent + evaluation.usage,
        seconds=time.perf_counter() - began,
        steps=optimized.steps,
        selected=Strategy(paths[chosen]).id,
        dev_scores=dev_scores,
        prompts=prompts(experiment, state),
    )

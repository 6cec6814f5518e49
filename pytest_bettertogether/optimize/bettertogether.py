"""BetterTogether: prompts and weights, alternated (Soylu, Potts & Khattab, arXiv 2407.10930, Algorithm 1)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..evaluate import Experiment, evaluate
from ..program import ProgramState
from ..results import SeedResult, StepRecord, Usage
from ..strategy import Strategy
from .outcome import Outcome
from .prompts import optimize_prompts
from .weights import optimize_weights

OPTIMIZERS = {"p": optimize_prompts, "w": optimize_weights}

StepPath = tuple[str, ...]
Remember = Callable[[StepPath, Callable[[], Outcome]], Outcome]
"""How a step is run: given its path and the work, return its outcome, new or remembered."""


@dataclass(frozen=True)
class Optimized:
    """The program a strategy ends with, and its steps; `refused` says why it got no further."""

    state: ProgramState
    steps: tuple[StepRecord, ...]
    refused: str = ""


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
    state, records = ProgramState(), list[StepRecord]()
    for path in strategy.prefixes():
        optimize = partial(OPTIMIZERS[path[-1]], experiment, state, path)
        outcome = remember(path, optimize)
        records.append(outcome.record)
        if outcome.refused:
            return Optimized(state, tuple(records), outcome.refused)
        state = outcome.state
    return Optimized(state, tuple(records))


def run_seed(experiment: Experiment, strategy: Strategy, remember: Remember = run_always) -> SeedResult:
    """Optimise, then look at the test split, once."""
    began = time.perf_counter()
    optimized = better_together(experiment, strategy, remember)
    if optimized.refused:
        return SeedResult(experiment.seed, (), Usage(), time.perf_counter() - began, optimized.steps, optimized.refused)
    seed = experiment.derive(*strategy.steps, "test")
    evaluation = evaluate(experiment, optimized.state, experiment.splits.test, seed)
    return SeedResult(
        experiment.seed, evaluation.examples, evaluation.usage, time.perf_counter() - began, optimized.steps
    )

"""Step p: bootstrapped few-shot random search over demos (paper, Algorithm 2, BootstrapFewshotRS)."""

from collections.abc import Sequence
from dataclasses import replace

from ..pipeline.data import Example
from ..pipeline.recipe import PromptSearch
from ..pipeline.state import ProgramState
from ..pipeline.steps import PROMPTS, Part
from ..results.cell_results import DecidedEarly, StepRecord, Usage
from ..running.evaluate import Experiment, evaluate
from .bootstrap import Traces, bootstrap
from .bound import Bound, bound_of_runs
from .candidates import Demos, candidates
from .division import divide
from .outcome import Outcome
from .race import Race

FIXED_ARMS = 3
"""The untouched program, labelled demos only, and unshuffled traces."""


class PromptStep:
    """Finds demos for the program's predictors; instructions and weights stay as they are.

    The current program, its demos included, makes the traces; the candidates start from the prompts without demos,
    and run on the current weights. The first best candidate wins; those that cannot win any more are not scored to
    the end.
    """

    kind = PROMPTS

    def bound(self, experiment: Experiment, before: frozenset[Part]) -> Bound:
        """Traces on all of T, and every candidate scored on all of V."""
        recipe = experiment.recipe
        for_traces, for_scores = divide(experiment.splits.train, recipe.search, seed=0)
        traces = bound_of_runs(experiment, len(for_traces) * recipe.search.attempts, recipe.bootstrap, before)
        scored = len(for_scores) * _arms(recipe.search)
        return traces + bound_of_runs(experiment, scored, recipe.evaluate, {*before, *self.kind.changes})

    def run(self, experiment: Experiment, state: ProgramState, path: tuple[str, ...]) -> Outcome:
        """Make traces on T, and let the candidates made of them race on V."""
        recipe = experiment.recipe.search
        for_traces, for_scores = divide(experiment.splits.train, recipe, experiment.derive(*path, "divide"))
        runs = len(for_traces) * recipe.attempts + len(for_scores) * _arms(recipe)
        experiment.progress.begin("".join(path), runs, at_most=True)
        experiment.progress.detail("traces")
        traces = bootstrap(experiment, state, for_traces, recipe.attempts, path)
        search = _Search(experiment, state, path, for_scores, candidates(experiment, traces.passing, for_traces, path))
        best = search.run()
        record = replace(search.record(best, traces), train_n=len(for_traces))
        return Outcome(replace(state, demos=search.found[best]), record)


class _Search:
    """The race of some candidates on V, and what it cost."""

    def __init__(
        self,
        experiment: Experiment,
        state: ProgramState,
        path: tuple[str, ...],
        examples: Sequence[Example],
        found: dict[str, Demos],
    ) -> None:
        self.experiment, self.state, self.path, self.examples, self.found = experiment, state, path, examples, found
        self.names = list(found)
        self.race = Race(len(found), len(examples))
        self.spent = Usage()

    def run(self) -> str:
        """The name of the winner."""
        block = self.experiment.recipe.search.block or len(self.examples)
        return self.names[self.race.run(self._ask, block)]

    def _ask(self, candidate: int, numbers: Sequence[int]) -> list[float]:
        """The scores of a candidate on some examples of V."""
        self.experiment.progress.detail(f"candidate {candidate + 1} of {len(self.names)}")
        state = replace(self.state, demos=self.found[self.names[candidate]])
        examples = [self.examples[number] for number in numbers]
        evaluation = evaluate(self.experiment, state, examples, self.experiment.derive(*self.path, "valid"))
        self.spent += evaluation.usage
        return [example.score for example in evaluation.examples]

    def record(self, best: str, traces: Traces) -> StepRecord:
        """What was tried and what it scored; a candidate that was not asked everything has no score."""
        scores, early = dict[str, float](), dict[str, DecidedEarly]()
        for number, name in enumerate(self.names):
            known, bound = self.race.scores[number], self.race.bound(number)
            if len(known) == len(self.examples):
                scores[name] = bound
            else:
                early[name] = DecidedEarly(len(known), sum(known.values()), bound)
        return StepRecord(
            path="".join(self.path),
            usage=traces.usage + self.spent,
            runs=traces.runs + sum(map(len, self.race.scores)),
            traces_passed=len(traces.passing),
            distinct_outputs=traces.distinct_outputs,
            chosen=best,
            valid_scores=scores,
            valid_n=len(self.examples),
            decided_early=early,
            train_score=traces.score,
        )


def _arms(recipe: PromptSearch) -> int:
    """How many candidates compete."""
    return recipe.candidates + FIXED_ARMS * recipe.fixed_arms

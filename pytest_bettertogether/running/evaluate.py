"""A program on a split, judged by a metric: scores with per-example records."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..engines.protocol import Backend, Completion, Prompt
from ..pipeline.adapter import Adapter
from ..pipeline.data import Example, Splits
from ..pipeline.forms import FORMS
from ..pipeline.metrics import Metric, judged
from ..pipeline.program import Program, Signature
from ..pipeline.prompt import Form
from ..pipeline.recipe import Recipe, Sampling
from ..pipeline.state import ProgramState
from ..results.cell_results import ExampleScore, Usage
from ..results.traces import SAID, CallRecord, as_text, cut
from ..retrieval.searching import Searches
from .lockstep import Run, run_program
from .progress import Progress
from .seeds import derive


@dataclass(frozen=True)
class Evaluation:
    """Per-example scores of one program on one split, and what they cost."""

    examples: tuple[ExampleScore, ...]
    usage: Usage

    @property
    def mean(self) -> float:
        """The score: the metric's mean over the split, within 0...1."""
        return math.fsum(example.score for example in self.examples) / len(self.examples)


class Benchmark(Program):
    """A program that asks the engine, and marks the answers, in a way of its own: nothing in it can be optimised."""

    unfit: str
    """Why no step can be done on it."""

    @abstractmethod
    def measure(self, engine: Backend, adapter: Adapter | None, examples: Sequence[Example], seed: int) -> Evaluation:
        """Each example's score, on these weights."""


@dataclass(frozen=True)
class Experiment:
    """One seed of one task on one model: all that the optimisers and the evaluation work with."""

    task: str
    model: str
    seed: int
    program: Program
    splits: Splits
    metric: Metric
    backend: Backend
    recipe: Recipe
    start: ProgramState = field(default_factory=ProgramState)
    """What optimisation begins with, and what `zero` is: the program as written, unless it is a frozen one."""
    made: tuple[str, ...] = ()
    """The steps that made `start`."""
    tester: Backend | None = None
    """What the final evaluation asks, where that is not `backend`."""
    progress: Progress = field(default_factory=Progress)
    extra: Mapping[str, Metric] = field(default_factory=dict)
    """The task's further metrics."""
    searches: Searches = field(default_factory=Searches)

    def derive(self, *parts: str | int) -> int:
        """A seed for one purpose inside this experiment, say ("p", "w", "search")."""
        return derive(self.seed, self.task, self.model, *parts)

    @property
    def form(self) -> Form:
        """The prompt form that the recipe names."""
        return FORMS[self.recipe.prompt]

    @property
    def unfit(self) -> str:
        """Why no optimisation step can be done here, or the empty string."""
        return self.program.unfit if isinstance(self.program, Benchmark) else self.splits.missing

    def test_seed(self, path: Sequence[str]) -> int:
        """The seed of the final evaluation after these steps: a frozen program is sampled as its cell was."""
        return self.derive(*self.made, *path, "test")

    def on_test(self) -> "Experiment":
        """As the final evaluation has it."""
        return replace(self, backend=self.tester or self.backend)

    def run(
        self, state: ProgramState, examples: Sequence[Example], sampling: Sampling, seed: int, attempt: int = 0
    ) -> list[Run]:
        """Run the program in `state`: its demos in the prompts, every call on its weights."""

        def generate(prompts: Sequence[Prompt]) -> list[Completion]:
            completions = self.backend.generate(prompts, sampling, state.adapter)
            self.progress.generated(sum(completion.completion_tokens for completion in completions))
            return completions

        runs = run_program(
            self.program, state, examples, generate, seed, self.form, attempt, self.searches, self.recipe.max_calls
        )
        self.progress.advance(len(runs))
        return runs

    def score(self, run: Run) -> float:
        """The metric's verdict on one run; 0 where no prediction came out of it.

        Raises MetricError if the metric raises or returns anything but a number in 0...1.
        """
        return self._judged(self.metric, run)

    def besides(self, run: Run) -> dict[str, float]:
        """The further metrics' verdicts, as `score`."""
        return {name: self._judged(metric, run) for name, metric in self.extra.items()}

    def _judged(self, metric: Metric, run: Run) -> float:
        if run.prediction is None:
            return 0.0
        return judged(metric, run.example, run.prediction, run.example.id)


def evaluate(
    experiment: Experiment, state: ProgramState, examples: Sequence[Example], seed: int, traces: int = 0
) -> Evaluation:
    """Score the program in `state` on `examples`; `seed` feeds the noise of sampled tokens.

    With `traces`, so many characters of traces are kept: the examples with the lowest scores first.
    """
    if isinstance(experiment.program, Benchmark):
        measured = experiment.program.measure(experiment.backend, state.adapter, examples, seed)
        experiment.progress.advance(len(examples))
        return measured
    runs = experiment.run(state, examples, experiment.recipe.evaluate, seed)
    scores = [
        ExampleScore(run.example.id, experiment.score(run), run.unparsable, said(run), experiment.besides(run))
        for run in runs
    ]
    signatures = asked_signatures(experiment.program, state)
    for index in sorted(range(len(runs)), key=lambda i: scores[i].score) if traces else ():
        trace = _trace(runs[index], signatures, experiment.form)
        traces -= sum(call.size for call in trace)
        if traces < 0:
            break
        scores[index] = replace(scores[index], trace=trace)
    return Evaluation(tuple(scores), usage(runs))


def _trace(run: Run, signatures: Mapping[str, Signature], form: Form) -> tuple[CallRecord, ...]:
    """A run's predictor calls, and its searches where they came."""
    records = [
        CallRecord(
            predictor=call.predictor,
            asked=cut(form.turns(signatures[call.predictor], (), call.inputs)[-1][1]),
            completion=cut(_words(call.completion)),
            fields=None if call.outputs is None else as_text(call.outputs),
            passages={
                name: tuple(cut(str(passage)) for passage in value)
                for name, value in call.inputs.items()
                if isinstance(value, list | tuple)
            },
            prompt_tokens=call.completion.prompt_tokens,
            completion_tokens=call.completion.completion_tokens,
            truncated=call.completion.truncated,
        )
        for call in run.trace
    ]
    for retrieval in reversed(run.retrievals):
        found = {"found": tuple(map(cut, retrieval.passages))}
        records.insert(retrieval.after, CallRecord(retrieval.site, cut(retrieval.query), "", {}, found))
    return tuple(records)


def prompts(experiment: Experiment, state: ProgramState) -> dict[str, tuple[tuple[str, str], ...]]:
    """By predictor, the turns before the question: what the prompts of all examples have in common."""
    found = {}
    for predictor, signature in asked_signatures(experiment.program, state).items():
        turns = experiment.form.turns(signature, state.demos.get(predictor, ()), {})
        found[predictor] = tuple((role, cut(text)) for role, text in turns[:-1])
    return found


def asked_signatures(program: Program, state: ProgramState) -> dict[str, Signature]:
    """By predictor, the signature that it asks with in `state`."""
    return {name: state.signature(name, site.signature) for name, site in program.predictors().items()}


def said(run: Run) -> dict[str, str]:
    """What came out of a run, for people: the prediction's fields, or else its last completion."""
    if run.prediction is None:
        return {"completion": cut(_words(run.trace[-1].completion), SAID)}
    return as_text(run.prediction, SAID)


def _words(completion: Completion) -> str:
    """Return a completion for people: its text, or why there is none."""
    return f"(no answer: {completion.unanswered})" if completion.unanswered else completion.text


def usage(runs: Sequence[Run]) -> Usage:
    """LM calls and tokens of some runs, read off their traces."""
    completions = [call.completion for run in runs for call in run.trace]
    return Usage(
        len(completions),
        sum(completion.prompt_tokens for completion in completions),
        sum(completion.completion_tokens for completion in completions),
    )

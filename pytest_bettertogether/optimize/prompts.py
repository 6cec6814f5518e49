"""Step p: bootstrapped few-shot random search over demos (paper, Algorithm 2, BootstrapFewshotRS)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from ..pipeline.data import Example
from ..pipeline.errors import DataError
from ..pipeline.program import Demo, Predict
from ..pipeline.recipe import PromptSearch
from ..pipeline.state import ProgramState
from ..results.cell_results import DecidedEarly, StepRecord, Usage
from ..results.traces import DemoRecord, as_text
from ..running.evaluate import Experiment, evaluate
from ..running.lockstep import Run
from .bootstrap import bootstrap
from .outcome import Outcome
from .race import Race

Demos = Mapping[str, tuple[Demo, ...]]


def optimize_prompts(experiment: Experiment, state: ProgramState, path: tuple[str, ...]) -> Outcome:
    """Find demos for the program's predictors; weights stay as they are in `state`.

    The program in `state` (its demos included) makes the traces; the candidates start
    from the original prompts and run on the same weights. The first best candidate wins; those that
    cannot win any more are not scored to the end.
    """
    began = time.perf_counter()
    recipe = experiment.recipe.search
    for_traces, for_scores = divide(experiment.splits.train, recipe, experiment.derive(*path, "divide"))
    arms = recipe.candidates + 3 * recipe.fixed_arms
    experiment.progress.begin("".join(path), len(for_traces) * recipe.attempts + len(for_scores) * arms)
    experiment.progress.detail("traces")
    traces = bootstrap(experiment, state, for_traces, recipe.attempts, path)
    found = candidates(experiment, traces.passing, for_traces, path)
    names, spent = list(found), [traces.usage]
    race = Race(len(names), len(for_scores))

    def ask(number: int, numbers: Sequence[int]) -> list[float]:
        experiment.progress.detail(f"candidate {number + 1} of {len(names)}")
        on = replace(state, demos=found[names[number]])
        evaluation = evaluate(experiment, on, [for_scores[i] for i in numbers], experiment.derive(*path, "valid"))
        spent.append(evaluation.usage)
        return [each.score for each in evaluation.examples]

    best = names[race.run(ask, recipe.block or len(for_scores))]
    asked = dict(zip(names, race.scores, strict=True))
    record = StepRecord(
        path="".join(path),
        usage=sum(spent, Usage()),
        runs=traces.runs + sum(map(len, race.scores)),
        traces_passed=len(traces.passing),
        distinct_outputs=traces.distinct_outputs,
        seconds=time.perf_counter() - began,
        chosen=best,
        valid_scores={name: race.bound(i) for i, name in enumerate(names) if len(asked[name]) == len(for_scores)},
        valid_n=len(for_scores),
        decided_early={
            name: DecidedEarly(len(asked[name]), sum(asked[name].values()), race.bound(i))
            for i, name in enumerate(names)
            if len(asked[name]) < len(for_scores)
        },
        demos={
            predictor: tuple(DemoRecord(as_text(d.inputs), as_text(d.outputs), d.bootstrapped) for d in demos)
            for predictor, demos in found[best].items()
        },
        train_score=traces.score,
        train_n=len(for_traces),
    )
    return Outcome(replace(state, demos=found[best]), record)


def divide(
    train: Sequence[Example], recipe: PromptSearch, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Cut a shuffled train into T (traces) and V (scores); a train too small for both sizes is cut 3 : 7."""
    if len(train) < 2:
        raise DataError("step p needs at least two training examples: one to make demos of, one to score them on")
    shuffled = list(train)
    Random(seed).shuffle(shuffled)
    cut = recipe.traces
    if recipe.traces + recipe.valid > len(train):
        cut = max(1, len(train) * 3 // 10)
    return tuple(shuffled[:cut]), tuple(shuffled[cut : cut + recipe.valid])


def candidates(
    experiment: Experiment, passing: Sequence[Run], pool: Sequence[Example], path: tuple[str, ...]
) -> dict[str, Demos]:
    """Demo sets by candidate name, in the order that decides ties.

    The fixed arms of the authors' code first (reference: dspy/teleprompt/random_search.py):
    no demos, labelled only, traces in their order; then the sampled ones.
    """
    recipe = experiment.recipe.search
    found: dict[str, Demos] = {}

    def add(name: str, runs: Sequence[Run], random: Random) -> None:
        used = {run.example.id for run in runs}
        unused = [example for example in pool if example.id not in used]
        random.shuffle(unused)
        found[name] = {
            predictor: (*_bootstrapped(predictor, runs, random), *_labelled(each, unused, recipe.max_labelled, runs))
            for predictor, each in experiment.program.predictors().items()
        }

    def fresh(name: str) -> Random:
        return Random(experiment.derive(*path, "candidate", name))

    if recipe.fixed_arms:
        found["zero"] = {}
        add("labelled", (), fresh("labelled"))
        add("unshuffled", one_per_example(passing)[: recipe.max_bootstrapped], fresh("unshuffled"))
    for i in range(recipe.candidates):
        random = fresh(f"sampled-{i}")
        shuffled = list(passing)
        random.shuffle(shuffled)
        size = random.randint(1, max(1, recipe.max_bootstrapped))
        add(f"sampled-{i}", one_per_example(shuffled)[: min(size, recipe.max_bootstrapped)], random)
    return found


def one_per_example(runs: Sequence[Run]) -> list[Run]:
    """The first run of each example, in order: the same question twice is one demo."""
    return list({run.example.id: run for run in reversed(runs)}.values())[::-1]


def _bootstrapped(predictor: str, runs: Sequence[Run], random: Random) -> tuple[Demo, ...]:
    """One demo per run that called the predictor: its last call with probability one half, else an earlier one."""
    demos = []
    for run in runs:
        calls = [call for call in run.trace if call.predictor == predictor and call.outputs is not None]
        if calls:
            call = calls[-1] if len(calls) == 1 or random.random() < 0.5 else random.choice(calls[:-1])
            demos.append(Demo(call.inputs, call.outputs or {}, bootstrapped=True))
    return tuple(demos)


def _labelled(predictor: Predict, unused: Sequence[Example], most: int, runs: Sequence[Run]) -> tuple[Demo, ...]:
    """Labelled demos that fill up to `most`, of examples that know an input and an output of the predictor."""
    demos: list[Demo] = []
    for example in unused:
        if len(demos) + len(runs) >= most:
            break
        inputs = {each.name: example[each.name] for each in predictor.signature.inputs if each.name in example}
        outputs = {each.name: example[each.name] for each in predictor.signature.outputs if each.name in example}
        if inputs and outputs:
            demos.append(Demo(inputs, outputs))
    return tuple(demos)

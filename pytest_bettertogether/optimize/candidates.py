"""The demo sets among which step p chooses."""

from collections.abc import Mapping, Sequence
from random import Random

from ..pipeline.data import Example, labelled_demo
from ..pipeline.program import Demo, Predict
from ..running.evaluate import Experiment
from ..running.lockstep import Run

Demos = Mapping[str, tuple[Demo, ...]]
"""Demos by predictor."""


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
        demos = dict[str, tuple[Demo, ...]]()
        for predictor, site in experiment.program.predictors().items():
            bootstrapped = _bootstrapped(predictor, runs, random)
            demos[predictor] = (*bootstrapped, *_labelled(site, unused, recipe.max_labelled - len(runs)))
        found[name] = demos

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


def _labelled(predictor: Predict, unused: Sequence[Example], most: int) -> tuple[Demo, ...]:
    """At most so many labelled demos, of examples that know an input and an output of the predictor."""
    demos: list[Demo] = []
    for example in unused:
        if len(demos) >= most:
            break
        demo = labelled_demo(predictor.signature, example)
        if demo:
            demos.append(demo)
    return tuple(demos)

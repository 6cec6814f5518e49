"""What a step costs at most, told before anything is run."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from math import ceil

from ..journal.replay_only import CHARACTERS
from ..pipeline.program import Demo
from ..pipeline.prompt import Unshowable, check_showable
from ..pipeline.recipe import Sampling
from ..pipeline.steps import Part
from ..running.evaluate import Experiment

SAMPLED = 50
"""Rows of train whose lengths stand for those of all."""


@dataclass(frozen=True)
class Bound:
    """Upper bounds, if each run of the program calls each predictor once. Raises ValueError for a negative one."""

    calls: int = 0
    tokens_in: int = 0
    """Estimated, a token being taken for four characters."""
    tokens_out: int = 0
    trainings: int = 0
    rows: int = 0
    """Of all trainings together."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"Bound({field.name}={value!r}): expected a whole number from 0")

    def __add__(self, other: "Bound") -> "Bound":
        return Bound(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def bound_of_runs(experiment: Experiment, runs: int, sampling: Sampling, parts: Collection[Part] = ()) -> Bound:
    """The bound of so many runs of the program, sampled so, of which the steps before have changed these parts."""
    calls = runs * len(experiment.program.predictors())
    prompt, demo = _characters(experiment)
    search = experiment.recipe.search
    demos = max(search.max_bootstrapped, search.max_labelled) if "demos" in parts else 0
    return Bound(calls, calls * (prompt + demos * demo) // CHARACTERS, calls * sampling.max_tokens)


def _characters(experiment: Experiment) -> tuple[int, int]:
    """Mean characters of a prompt without demos, and of a demo, as far as the rows of train hold their fields."""
    prompts, demos = list[int](), list[int]()
    for predictor in experiment.program.predictors().values():
        signature = predictor.signature
        for example in experiment.splits.train[:SAMPLED]:
            shown = {name: example[name] for name in example if _fits(example[name])}
            bare = experiment.form.turns(signature, (), shown)
            with_demo = experiment.form.turns(signature, [Demo(shown, shown)], shown)
            prompts.append(sum(len(text) for _, text in bare))
            demos.append(sum(len(text) for _, text in with_demo) - prompts[-1])
    if not prompts:  # a benchmark asks in its own form, and may have no train
        return 0, 0
    return ceil(sum(prompts) / len(prompts)), ceil(sum(demos) / len(demos))


def _fits(value: object) -> bool:
    """Whether a prompt can show it."""
    try:
        check_showable("", value)
    except Unshowable:
        return False
    return True

"""Steps as objects: what an optimiser must have to stand in strategies, and how one is taken in.

Looking at what was collected needs this module, so that it brings in nothing that runs programs.
"""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..pipeline.fixed import Fixed
from ..pipeline.recipe import Recipe
from ..pipeline.steps import KINDS, Kinds, Part, StepKind, catalogue

if TYPE_CHECKING:
    from ..pipeline.state import ProgramState
    from ..running.evaluate import Experiment
    from .bound import Bound
    from .outcome import Outcome


class Step(Protocol):
    """One optimiser. It may besides have `defaults`: its own recipe values, a frozen dataclass of plain values.

    It promises three things. It is a function of what it is given: on an engine that computes the same for the same
    prompts, it returns the same. It can be resumed: it asks the engine of the experiment alone, and draws all chance
    from `experiment.derive(*path, ...)`, so that the journal replays it. And it says when it cannot help, by an
    outcome that is `refused`, or by returning the state it was given, instead of making things worse.
    """

    @property
    def kind(self) -> StepKind:
        """What it says of itself."""
        ...

    def run(self, experiment: "Experiment", state: "ProgramState", path: tuple[str, ...]) -> "Outcome":
        """Do the step.

        Args:
            experiment: Program, data, metric, engine, recipe and seed.
            state: The program that the steps before have made; it is read-only.
            path: The letters of the steps up to this one, which is the last.

        Returns:
            The new state, and the record of what was done.
        """
        ...

    def bound(self, experiment: "Experiment", before: frozenset[Part]) -> "Bound":
        """What it costs at most; `before` is what the earlier steps may have changed of the program."""
        ...


Steps = Mapping[str, Step]
"""The steps that strategies may name, by letter."""
Further = tuple[Step, ...]
"""Steps that are not built in, in the order in which they were registered."""

METHODS = {"run": ("experiment", "state", "path"), "bound": ("experiment", "before")}
"""What a step must be able to do, and what it is given for it."""


def kinds_of(steps: Steps) -> Kinds:
    """What the steps say of themselves."""
    return catalogue(step.kind for step in steps.values())


def kinds_with(further: Further) -> Kinds:
    """The built-in kinds and those of further steps. Raises ValueError if two cannot be told apart."""
    return catalogue((*KINDS.values(), *(step.kind for step in further)))


def own_values(further: Further) -> Fixed[Any]:
    """The steps' own recipe values, by the name of the step."""
    own = {step.kind.name: getattr(step, "defaults", None) for step in further}
    return Fixed({name: defaults for name, defaults in own.items() if defaults is not None})


def with_step(further: Further, step: Any) -> Further:
    """The further steps and one more.

    Raises ValueError if it is no step, which names all that it lacks, or cannot be told apart from another.
    """
    if isinstance(step, type):
        raise ValueError(f"step {step.__name__} is a class: register an object of it, {step.__name__}()")
    shown = f"step {type(step).__name__}"
    lacks = [*_lacking(step)]
    if lacks:
        raise ValueError(f"{shown} lacks {'; '.join(lacks)}")
    wrong = _wrong_values(step)
    if wrong:
        raise ValueError(f"{shown}: {wrong}")
    kinds_with((*further, step))
    return (*further, step)


def _lacking(step: Any) -> list[str]:
    """What an object would need to be a step, for people."""
    lacks = [] if isinstance(getattr(step, "kind", None), StepKind) else ["kind (a StepKind: what it says of itself)"]
    for method, given in METHODS.items():
        try:
            inspect.signature(getattr(step, method)).bind(*given)
        except (AttributeError, TypeError, ValueError):  # not there, not callable, or with other parameters
            lacks.append(f"{method}({', '.join(given)})")
    return lacks


def _wrong_values(step: Any) -> str:
    """Why a step's own recipe values cannot be set by name, or the empty string."""
    name, defaults = step.kind.name, getattr(step, "defaults", None)
    if name in {part.name for part in fields(Recipe)}:
        return f"the recipe has {name} values already: take another name"
    if defaults is None:
        return ""
    if not is_dataclass(defaults) or isinstance(defaults, type) or not type(defaults).__dataclass_params__.frozen:  # type: ignore[attr-defined]  # what dataclass() leaves behind, which has no type
        return "its defaults must be an object of a frozen dataclass"
    for value in fields(defaults):
        if not isinstance(getattr(defaults, value.name), str | bool | int | float):
            return f"its default {value.name}={getattr(defaults, value.name)!r} must be a text, a number, true or false"
    return ""

"""Experiments: one seed of a task on a model, with the recipe, the data and the program that it begins with."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..engines.model import Model
from ..journal.replay import Journaled
from ..pipeline.forms import FORMS
from ..pipeline.frozen import Frozen
from ..pipeline.prompt import Form
from ..pipeline.recipe import Recipe
from ..pipeline.state import ProgramState
from ..pipeline.suite import Suite
from ..running.evaluate import Experiment
from ..running.progress import Progress
from .task_data import TaskData


@dataclass(frozen=True)
class Experiments:
    """Makes the experiments of a session."""

    data: TaskData
    replay_tests: bool = False
    """Whether test evaluations replay what a server of unknown weights answered in earlier sessions."""
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells this session's test evaluations from those of earlier ones."""

    def of(self, suite: Suite, model: Model, seed: int, engine: Journaled, progress: Progress) -> Experiment:
        """The experiment of one seed. Raises what reading the data, or a frozen program, raises."""
        program = suite.task.program
        return Experiment(
            task=suite.name,
            model=model.name,
            seed=seed,
            program=program(),
            splits=self.data.splits(suite),
            metric=suite.task.metric,
            backend=engine,
            recipe=recipe_of(suite, model),
            start=start_of(suite, engine.describe(), FORMS[recipe_of(suite, model).prompt]),
            made=program.steps if isinstance(program, Frozen) else (),
            progress=progress,
            extra=suite.task.extra,
            searches=self.data.searches,
            tester=None if self.replay_tests else engine.on_test(self.session),
        )


def recipe_of(suite: Suite, model: Model) -> Recipe:
    """The model's recipe with the task's values; what the user sets for this run (--bt-set) wins over both."""
    values = {name: value for name, value in suite.task.recipe.items() if name not in model.overridden}
    return model.recipe.override(values)


def start_of(suite: Suite, engine: Mapping[str, str] = MappingProxyType({}), form: Form | None = None) -> ProgramState:
    """What optimisation begins with: the program as written, or a frozen one with its demos and weights.

    Raises ProgramError for a frozen program that does not fit the engine that describes itself as `engine`, or that was
    optimised in another prompt form than `form`.
    """
    program = suite.task.program
    return program.state(engine, form) if isinstance(program, Frozen) else ProgramState()

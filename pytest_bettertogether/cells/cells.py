"""Running cells: each once a session, on the engine in use, with the steps that other strategies have done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engines.model import Model
from ..harness.offline import offline_mode
from ..journal.budget import Budget
from ..journal.store import Journal
from ..optimize.bettertogether import Select, run_seed
from ..optimize.builtin import BUILT_IN
from ..optimize.step import Steps
from ..pipeline.forms import FORMS
from ..pipeline.state import ProgramState
from ..pipeline.strategy import Strategy
from ..pipeline.suite import Suite
from ..results.cell_results import CellResult, SeedResult
from ..running.progress import Progress
from .engines_in_use import EnginesInUse
from .experiments import Experiments, recipe_of, start_of
from .plan import Plan
from .shared_steps import SharedSteps
from .task_data import TaskData


@dataclass(frozen=True)
class HowToRun:
    """What a session's user chose of how its cells are run."""

    select: Select = "last"
    """Which program a strategy returns: its last, or the best of its prefixes by dev score."""
    dev: bool = False
    """Whether all prefixes of a strategy are scored on dev, for the report."""
    replay_tests: bool = False
    """Whether test evaluations replay what a server of unknown weights answered in earlier sessions."""
    steps: Steps = BUILT_IN
    """The steps that strategies may name."""


class Cells:
    """The cells of one session: runs them, and says beforehand what they would cost."""

    def __init__(
        self, journal: Journal, data: TaskData | None = None, how: HowToRun | None = None, budget: Budget | None = None
    ) -> None:
        self.data = data or TaskData(journal)
        self.how = how or HowToRun()
        self.progress = Progress()
        offline = self.data.where.offline
        self.engines = EnginesInUse(journal, budget or Budget(), self._say, offline, self._trained)
        self._experiments = Experiments(self.data, self.how.replay_tests)
        self._steps = SharedSteps()
        self._results: dict[tuple[Path, str, str], CellResult] = {}

    def run(self, suite: Suite, model: Model, strategy: Strategy, seeds: Sequence[int]) -> CellResult:
        """Optimise and evaluate, once per seed. A cell that has a result is not run again in its session.

        So a test that is repeated (pytest-rerunfailures) cannot go green by sampling anew, while a cell that broke
        has no result and does run again.
        """
        key = (suite.baselines, model.name, strategy.id)
        if key not in self._results:
            self.engines.budget.begin()
            with offline_mode(self.data.where.offline):
                self._results[key] = self._run(suite, model, strategy, seeds)
        return self._results[key]

    def _run(self, suite: Suite, model: Model, strategy: Strategy, seeds: Sequence[int]) -> CellResult:
        self.data.get_ready(suite)  # before a model is loaded
        self.progress.begin(f"loading {model.name}", 0)
        engine = self.engines.of(model)
        results = []
        for seed in seeds:
            experiment = self._experiments.of(suite, model, seed, engine, self.progress)
            self.progress.cell = f"{suite.name}[{model.name}-{strategy.id}] seed {seed}"
            remember = self._steps.remember(suite, model.name, seed)
            results.append(run_seed(experiment, strategy, remember, self.how.select, self.how.dev, self.how.steps))
        recipe = recipe_of(suite, model)
        made = {"engine": engine.describe(), "recipe": recipe.flat(), "select": self.how.select}
        return CellResult(
            task=suite.name,
            model=model.name,
            strategy=strategy.id,
            seeds=tuple(results),
            provenance={**self.data.provenance(suite, FORMS[recipe.prompt]), **made},
            clusters=self.data.clusters(suite),
            docs=self.data.docs(suite),
        )

    def plan(self, wanted: Iterable[tuple[Suite, Model, Strategy]], seeds: Sequence[int]) -> Plan:
        """What these cells would cost, found out without an engine: it is known by what it said when last loaded."""
        plan = Plan(self.how.select, self.how.dev, self.how.steps)
        for suite, model, strategy in wanted:
            ahead = self.engines.ahead(model)
            experiments = [self._experiments.of(suite, model, seed, ahead, self.progress) for seed in seeds]
            plan.add(suite, model, strategy, experiments)
        return plan

    def tested(self, suite: Suite, result: CellResult, seed: SeedResult, engine: Mapping[str, str]) -> ProgramState:
        """The program that a seed of a cell of this session was tested with, for the engine that says `engine`."""
        path = Strategy.of(seed.selected).steps
        if not path:
            return start_of(suite, engine)
        return self._steps.state(suite, result.model, seed.seed, path)

    def close(self) -> None:
        """Let go of engine and journal."""
        self.engines.close()

    def _say(self, text: str) -> None:
        self.progress.detail(text)  # looked up each time: every cell has a progress of its own

    def _trained(self, step: int, steps: int, loss: float) -> None:
        self.progress.trained(step, steps, loss)

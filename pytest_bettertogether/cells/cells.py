"""Running cells: engines loaded once, data read once, finished steps shared between strategies."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..engines.model import Model
from ..engines.registry import engine_key, load
from ..harness.abilities import Wanted, abilities
from ..harness.measuring import Form
from ..harness.offline import offline_mode
from ..journal.ahead import Ahead
from ..journal.budget import Budget
from ..journal.replay import Journaled
from ..journal.store import Journal
from ..optimize.bettertogether import Select, StepPath, run_seed
from ..optimize.builtin import BUILT_IN
from ..optimize.outcome import Outcome
from ..optimize.step import Steps
from ..pipeline.data import Splits, clusters, digest, fingerprint
from ..pipeline.errors import DataError
from ..pipeline.frozen import Frozen, freeze
from ..pipeline.metrics import metric_name
from ..pipeline.program import Program
from ..pipeline.prompt import PROMPT_FORMAT, render
from ..pipeline.recipe import Recipe
from ..pipeline.state import ProgramState
from ..pipeline.strategy import Strategy
from ..pipeline.suite import Suite
from ..pipeline.where import Where
from ..results.cell_records import Paid
from ..results.cell_results import CellResult, SeedResult
from ..results.side_effects import Ability
from ..results.traces import SAID, as_text
from ..retrieval.searching import Searches
from ..running.evaluate import Experiment
from ..running.progress import Progress
from .model_card import card
from .plan import Plan


@dataclass
class Cells:
    """All cells of one session. Holds the one engine in use, the splits, and the outcome of every step so far."""

    journal: Journal
    limit: int | None = None
    """Use the first so many examples of each split."""
    select: Select = "last"
    dev: bool = False
    """Score all prefixes of a strategy on dev, for the report."""
    offline: bool = False
    budget: Budget = field(default_factory=Budget)
    progress: Progress = field(default_factory=Progress)
    where: Where = field(default_factory=Where)
    """Where the tasks' data are."""
    replay_tests: bool = False
    """Let test evaluations replay what a server of unknown weights answered in earlier runs."""
    steps: Steps = BUILT_IN
    """The steps that strategies may name."""
    _run_name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _searches: Searches | None = None
    _engine: tuple[Model, Journaled] | None = None
    _splits: dict[Path, Splits] = field(default_factory=dict)
    _paid: Paid = field(default_factory=Paid)
    """What engines that are gone have computed."""
    _steps: dict[tuple[Path, str, int, StepPath], Outcome] = field(default_factory=dict)
    _results: dict[tuple[Path, str, str], CellResult] = field(default_factory=dict)
    _shown: dict[Path, tuple[dict[str, str], ...]] = field(default_factory=dict)

    def splits(self, suite: Suite) -> Splits:
        """The task's data, read at the first call."""
        if suite.baselines not in self._splits:
            with offline_mode(self.offline):
                splits = suite.task.splits(self.where)
            self._splits[suite.baselines] = splits.first(self.limit) if self.limit else splits
        return self._splits[suite.baselines]

    def identity(self, suite: Suite) -> dict[str, Any]:
        """What must be equal for two results to be compared: test split, metric, prompt format.

        Not the program: a prompt that was changed is what the comparison is for.
        """
        return {
            "metric": metric_name(suite.task.metric),
            "prompt_format": PROMPT_FORMAT,
            "test": fingerprint(self.splits(suite).test),
        }

    def run(self, suite: Suite, model: Model, strategy: Strategy, seeds: Sequence[int]) -> CellResult:
        """Optimise and evaluate, once per seed and once per session: what a cell has scored, it has scored.

        So a test that is run again (pytest-rerunfailures) cannot go green by sampling anew; a cell that broke has no
        result and does run again. Steps that another strategy has done are not done again.
        """
        key = (suite.baselines, model.name, strategy.id)
        if key not in self._results:
            self.budget.begin()
            with offline_mode(self.offline):
                self._results[key] = self._run(suite, model, strategy, seeds)
        return self._results[key]

    def _run(self, suite: Suite, model: Model, strategy: Strategy, seeds: Sequence[int]) -> CellResult:
        splits = self.splits(suite)
        found = self.searches.identities(suite.task.program())  # what a search lacks is known before a model is loaded
        backend = self._backend(model)
        results = []
        for seed in seeds:
            experiment = self._experiment(suite, model, seed, backend)
            self.progress.cell = f"{suite.name}[{model.name}-{strategy.id}] seed {seed}"
            remember = partial(self._remember, (suite.baselines, model.name, seed))
            results.append(run_seed(experiment, strategy, remember, self.select, self.dev, self.steps))
        provenance = {
            "identity": self.identity(suite),
            "prompts": _prompts(suite.task.program()),
            "engine": backend.describe(),
            "recipe": _recipe(suite, model).flat(),
            "select": self.select,
            "train": fingerprint(splits.train),
            "dev": fingerprint(splits.dev),
        }
        if found:
            provenance["retrieval"] = found
        if isinstance(suite.task.program, Frozen):
            provenance["frozen"] = suite.task.program.digest
        labels = clusters(suite.task, splits.test)
        return CellResult(suite.name, model.name, strategy.id, tuple(results), provenance, labels, self._docs(suite))

    def _docs(self, suite: Suite) -> tuple[dict[str, str], ...]:
        """The test examples as text: one object, however many cells show it."""
        if suite.baselines not in self._shown:
            self._shown[suite.baselines] = tuple(as_text(each, SAID) for each in self.splits(suite).test)
        return self._shown[suite.baselines]

    def plan(self, wanted: Iterable[tuple[Suite, Model, Strategy]], seeds: Sequence[int]) -> Plan:
        """What these cells would cost; loads no engine. Engines are known by what they said in an earlier session."""
        plan = Plan(self.select, self.dev, self.steps)
        for suite, model, strategy in wanted:
            ahead = Ahead.of(self.journal, self.journal.get(f"engine {engine_key(model)}"))
            plan.add(suite, model, strategy, [self._experiment(suite, model, seed, ahead) for seed in seeds])
        return plan

    def export(self, suite: Suite, result: CellResult, folder: Path, about: Mapping[str, str]) -> list[Path]:
        """Freeze the programs that a cell of this session tested, one per seed; the folders. `about` is for the cards.

        Raises OSError where they cannot be written.
        """
        folders = []
        for seed in result.seeds:
            state = self._state(suite, result, seed)
            home = folder / result.task / result.id / f"seed{seed.seed}"
            engine = result.provenance["engine"]
            kept = {
                "task": result.task,
                "strategy": seed.selected,
                "seed": seed.seed,
                "score": seed.score,
                "n": result.n,
                "model": {name: engine[name] for name in ("model", "revision", "weights") if name in engine},
                "identity": result.provenance["identity"],
                **about,
            }
            freeze(home, suite.task.program(), state, kept, card(result, seed, about))
            folders.append(home)
        return folders

    def abilities(
        self, suite: Suite, model: Model, result: CellResult, wanted: Wanted, form: Form
    ) -> tuple[Ability, ...]:
        """lm-eval tasks on the base model and on the weights that a cell of this session ended with."""
        self.budget.begin()
        backend, folder = self._backend(model), suite.baselines.parent.parent
        adapters = {
            seed.seed: self._state(suite, result, seed, backend.describe()).adapter
            for seed in result.seeds
            if not seed.refused
        }
        if len(adapters) < len(result.seeds):
            raise DataError(f"harness(): {result!r}: there are no weights to measure")
        self.progress.cell = f"{suite.name}[{result.id}]"
        with offline_mode(self.offline):
            return abilities(wanted, form, folder, backend, adapters, self.limit, self.progress)

    def _state(
        self, suite: Suite, result: CellResult, seed: SeedResult, engine: Mapping[str, str] = MappingProxyType({})
    ) -> ProgramState:
        """The program that a seed of a cell of this session was tested with."""
        path = Strategy.of(seed.selected).steps
        if not path:
            return self._start(suite, engine)
        return self._steps[suite.baselines, result.model, seed.seed, path].state

    def _start(self, suite: Suite, engine: Mapping[str, str] = MappingProxyType({})) -> ProgramState:
        program = suite.task.program
        return program.state(engine) if isinstance(program, Frozen) else ProgramState()

    def _experiment(self, suite: Suite, model: Model, seed: int, backend: Journaled) -> Experiment:
        return Experiment(
            task=suite.name,
            model=model.name,
            seed=seed,
            program=suite.task.program(),
            splits=self.splits(suite),
            metric=suite.task.metric,
            backend=backend,
            recipe=_recipe(suite, model),
            start=self._start(suite, backend.describe()),
            made=suite.task.program.steps if isinstance(suite.task.program, Frozen) else (),
            progress=self.progress,
            extra=suite.task.extra,
            searches=self.searches,
            tester=None if self.replay_tests else backend.on_test(self._run_name),
        )

    @property
    def searches(self) -> Searches:
        """The retrievers of this session; their indexes are kept beside the journal."""
        if self._searches is None:
            where = self.where if self.where.kept else replace(self.where, kept=self.journal.indexes)
            self._searches = Searches(where, self.journal)
        return self._searches

    def paid(self) -> Paid:
        """What this session has computed so far."""
        here = self._engine[1] if self._engine else None
        return self._paid + (Paid(here.paid, here.train_steps, halved=here.halved) if here else Paid())

    def close(self) -> None:
        """Let go of engine and journal."""
        self._let_go()
        self.journal.close()

    def _let_go(self) -> None:
        """Of the engine in use, which may hold connections or a GPU."""
        if self._engine:
            getattr(self._engine[1].engine, "close", str)()
        self._engine = None

    def _remember(self, owner: tuple[Path, str, int], path: StepPath, work: Callable[[], Outcome]) -> Outcome:
        key = (*owner, path)
        if key not in self._steps:
            self._steps[key] = work()
        return self._steps[key]

    def _say(self, text: str) -> None:
        self.progress.detail(text)  # another progress for each cell

    def _backend(self, model: Model) -> Journaled:
        if self._engine is None or self._engine[0] != model:
            self._paid = self.paid()
            self._let_go()  # of the old weights before loading the new ones
            engine = load(model, self.journal.adapters, self.offline)
            known = f"engine {engine_key(model)}"
            if self.journal.get(known) != engine.describe():  # plans know an engine by this
                self.journal.put(known, engine.describe())
            self._engine = (model, Journaled(engine, self.journal, self._say, self.budget))
        return self._engine[1]


def _recipe(suite: Suite, model: Model) -> Recipe:
    """The model's recipe with the task's values; what the user sets for this run (--bt-set) wins over both."""
    return model.recipe.override({k: v for k, v in suite.task.recipe.items() if k not in model.overridden})


def _prompts(program: Program) -> str:
    """Digest of the prompts as the user wrote them."""
    predictors = program.predictors().items()
    written = {name: [message.content for message in render(each.signature, (), {})] for name, each in predictors}
    return digest(written)[:16]

"""Running cells: engines loaded once, data read once, finished steps shared between strategies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backends import Backend
from .data import Splits, digest, fingerprint
from .evaluate import Experiment
from .metrics import metric_name
from .models import Model, load
from .optimize.bettertogether import StepPath, run_seed
from .optimize.outcome import Outcome
from .prompt import PROMPT_FORMAT, render
from .results import CellResult
from .strategy import Strategy
from .suite import Suite


@dataclass
class Cells:
    """All cells of one session. Holds the one engine in use, the splits, and the outcome of every step so far."""

    adapters: Path
    """Folder for the adapters that are trained."""
    limit: int | None = None
    """Use the first so many examples of each split."""
    _engine: tuple[Model, Backend] | None = None
    _splits: dict[Path, Splits] = field(default_factory=dict)
    _steps: dict[tuple[Path, str, int, StepPath], Outcome] = field(default_factory=dict)

    def splits(self, suite: Suite) -> Splits:
        """The task's data, read at the first call."""
        if suite.baselines not in self._splits:
            splits = suite.task.data()
            self._splits[suite.baselines] = splits.first(self.limit) if self.limit else splits
        return self._splits[suite.baselines]

    def identity(self, suite: Suite) -> dict[str, Any]:
        """What must be equal for two results to be compared: test split, metric, prompts as written, their format."""
        program = suite.task.program()
        return {
            "metric": metric_name(suite.task.metric),
            "program": digest(
                {
                    predictor: [message.content for message in render(each.signature, (), {})]
                    for predictor, each in program.predictors().items()
                }
            )[:16],
            "prompt_format": PROMPT_FORMAT,
            "test": fingerprint(self.splits(suite).test),
        }

    def run(self, suite: Suite, model: Model, strategy: Strategy, seeds: Sequence[int]) -> CellResult:
        """Optimise and evaluate, once per seed; steps that another strategy has done are not done again."""
        task, name = suite.task, suite.name
        recipe = model.recipe.override(task.recipe)
        splits, backend = self.splits(suite), self._backend(model)
        results = []
        for seed in seeds:

            def remember(path: StepPath, work: Callable[[], Outcome], seed: int = seed) -> Outcome:
                key = (suite.baselines, model.name, seed, path)
                if key not in self._steps:
                    self._steps[key] = work()
                return self._steps[key]

            experiment = Experiment(name, model.name, seed, task.program(), splits, task.metric, backend, recipe)
            results.append(run_seed(experiment, strategy, remember))
        return CellResult(
            name,
            model.name,
            strategy.id,
            tuple(results),
            {
                "identity": self.identity(suite),
                "engine": backend.describe(),
                "recipe": recipe.flat(),
                "train": fingerprint(splits.train),
                "dev": fingerprint(splits.dev),
            },
        )

    def _backend(self, model: Model) -> Backend:
        if self._engine is None or self._engine[0] != model:
            self._engine = None  # let go of the old weights before loading the new ones
            self._engine = (model, load(model, self.adapters))
        return self._engine[1]

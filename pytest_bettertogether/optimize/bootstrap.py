"""Bootstrapping: run the current program, keep the traces that pass the metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from ..pipeline.data import Example
from ..pipeline.state import ProgramState
from ..results.cell_results import Usage
from ..running.evaluate import Experiment, usage
from ..running.lockstep import Run


@dataclass(frozen=True)
class Traces:
    """Passing runs in order of examples, then attempts; no two of one example with the same outputs."""

    passing: tuple[Run, ...]
    runs: int
    usage: Usage
    score: float = 0.0
    """The metric's mean over all runs, passing or not."""

    @property
    def distinct_outputs(self) -> int:
        """How many different final predictions the passing runs hold: 1 makes a weight step collapse."""
        return len({repr(run.prediction) for run in self.passing})


def bootstrap(
    experiment: Experiment, state: ProgramState, examples: Sequence[Example], attempts: int, path: tuple[str, ...]
) -> Traces:
    """Run the program in `state` on `examples`, `attempts` times each, and keep what passes.

    A run passes when its score reaches the recipe's threshold and each of its completions
    could be parsed: a partial answer is no example to learn from.
    """
    seed = experiment.derive(*path, "bootstrap")
    sampling = experiment.recipe.bootstrap
    runs = [run for attempt in range(attempts) for run in experiment.run(state, examples, sampling, seed, attempt)]
    passing: dict[str, dict[str, Run]] = {example.id: {} for example in examples}
    scores = [experiment.score(run) for run in runs]
    for run, score in zip(runs, scores, strict=True):
        if not run.unparsable and score >= experiment.recipe.threshold:
            outputs = repr([(call.predictor, call.inputs, call.outputs) for call in run.trace])
            passing[run.example.id].setdefault(outputs, run)
    kept = tuple(run for different in passing.values() for run in different.values())
    return Traces(kept, len(runs), usage(runs), fsum(scores) / len(scores))

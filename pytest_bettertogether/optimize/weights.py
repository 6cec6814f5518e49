"""Step w: LoRA fine-tuning on the program's own passing traces (paper, Algorithm 2, BootstrapFinetune)."""

from collections.abc import Sequence
from dataclasses import replace

from ..engines.protocol import Training, TrainingRow
from ..pipeline.program import Program
from ..pipeline.prompt import Form
from ..pipeline.state import ProgramState
from ..pipeline.steps import WEIGHTS, Part
from ..results.cell_results import StepRecord
from ..running.evaluate import Experiment, asked_signatures
from ..running.lockstep import Run
from .bootstrap import Traces, bootstrap
from .bound import Bound, bound_of_runs
from .outcome import Outcome


class WeightStep:
    """Trains one adapter for all predictors; the program afterwards has no demos, and the new weights.

    The current program, its demos included, makes the traces on all of train; the rows hold the prompt without demos.
    After an earlier w the new adapter begins as a copy of that one. With fewer passing traces than the recipe's
    `min_traces` the step is refused.
    """

    kind = WEIGHTS

    def bound(self, experiment: Experiment, before: frozenset[Part]) -> Bound:
        """Traces on all of train, each call of which passes and becomes a row."""
        runs = len(experiment.splits.train) * experiment.recipe.lora.attempts
        traces = bound_of_runs(experiment, runs, experiment.recipe.bootstrap, before)
        return traces + Bound(trainings=1, rows=traces.calls)

    def run(self, experiment: Experiment, state: ProgramState, path: tuple[str, ...]) -> Outcome:
        """Make traces, and train on those that pass."""
        recipe, train = experiment.recipe.lora, experiment.splits.train
        experiment.progress.begin("".join(path), len(train) * recipe.attempts)
        experiment.progress.detail("traces")
        traces = bootstrap(experiment, state, train, recipe.attempts, path)
        record = replace(_record(path, traces), train_n=len(train))
        if len(traces.passing) < recipe.min_traces:
            return Outcome(state, record, _too_few(traces, recipe.min_traces, path))
        rows = training_rows(experiment.program, state, traces.passing, experiment.form)
        experiment.progress.begin("".join(path), 0)
        experiment.progress.detail(f"training on {len(rows)} rows")
        training = experiment.backend.finetune(rows, recipe, experiment.derive(*path, "train"), state.adapter)
        tuned = replace(state, demos={}, adapter=training.adapter)
        return Outcome(tuned, _trained(record, len(rows), training))


def training_rows(program: Program, state: ProgramState, runs: Sequence[Run], form: Form) -> list[TrainingRow]:
    """One row per predictor call of each run, with the prompt that the tuned program will ask with: without demos."""
    signatures = asked_signatures(program, state)
    calls = [call for run in runs for call in run.trace]
    return [form.row(signatures[call.predictor], call.inputs, call.outputs or {}) for call in calls]


def _too_few(traces: Traces, needed: int, path: tuple[str, ...]) -> str:
    return (
        f"step {path[-1]} after {''.join(path[:-1]) or 'zero'}: {len(traces.passing)} of {traces.runs} program runs "
        f"passed the metric, and at least {needed} different ones are needed to train on: "
        "more training examples, a higher lora.attempts or a lower threshold give more"
    )


def _record(path: tuple[str, ...], traces: Traces) -> StepRecord:
    return StepRecord(
        path="".join(path),
        usage=traces.usage,
        runs=traces.runs,
        traces_passed=len(traces.passing),
        distinct_outputs=traces.distinct_outputs,
        train_score=traces.score,
    )


def _trained(record: StepRecord, rows: int, training: Training) -> StepRecord:
    return replace(
        record,
        train_rows=rows,
        train_steps=training.steps,
        losses=training.losses,
        curve=training.curve,
        truncated=training.truncated,
        dropped=training.dropped,
    )

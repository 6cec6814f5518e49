"""Step w: LoRA fine-tuning on the program's own passing traces (paper, Algorithm 2, BootstrapFinetune)."""

import time
from collections.abc import Sequence
from dataclasses import replace

from ..engines.protocol import Training, TrainingRow, untrainable
from ..pipeline.program import Program
from ..pipeline.state import ProgramState
from ..results.cell_results import StepRecord, Usage
from ..running.evaluate import Experiment, asked_signatures
from ..running.forms import FORMS, Form
from ..running.lockstep import Run
from .bootstrap import Traces, bootstrap
from .outcome import Outcome


def optimize_weights(experiment: Experiment, state: ProgramState, path: tuple[str, ...]) -> Outcome:
    """Train one adapter for all predictors; the program afterwards has its original prompts and the new weights.

    The program in `state`, its demos included, makes the traces on all of train; the rows
    hold the vanilla prompt. After an earlier w the new adapter begins as a copy of that one.
    With fewer passing traces than the recipe's `min_traces` the step is refused; on an engine that
    cannot train it is refused before anything is run.
    """
    began = time.perf_counter()
    if reason := untrainable(experiment.backend):
        nothing = StepRecord("".join(path), Usage(), runs=0, traces_passed=0, distinct_outputs=0, seconds=0.0)
        return Outcome(state, nothing, f"step w: {reason}")
    recipe = experiment.recipe.lora
    experiment.progress.begin("".join(path), len(experiment.splits.train) * recipe.attempts)
    experiment.progress.detail("traces")
    traces = bootstrap(experiment, state, experiment.splits.train, recipe.attempts, path)
    if len(traces.passing) < recipe.min_traces:
        refused = (
            f"step w after {''.join(path[:-1]) or 'zero'}: {len(traces.passing)} of {traces.runs} program runs passed "
            f"the metric, and at least {recipe.min_traces} different ones are needed to train on: "
            "more training examples, a higher lora.attempts or a lower threshold give more"
        )
        return Outcome(state, replace(_record(path, traces, began), train_n=len(experiment.splits.train)), refused)
    rows = training_rows(experiment.program, state, traces.passing, FORMS[experiment.recipe.prompt])
    experiment.progress.detail(f"training on {len(rows)} rows")
    training = experiment.backend.finetune(rows, recipe, experiment.derive(*path, "train"), state.adapter)
    record = replace(_record(path, traces, began, len(rows), training), train_n=len(experiment.splits.train))
    tuned = replace(state, demos={}, adapter=training.adapter)
    return Outcome(tuned, record)


def training_rows(program: Program, state: ProgramState, runs: Sequence[Run], form: Form) -> list[TrainingRow]:
    """One row per predictor call of each run, with the prompt that the tuned program will ask with: without demos."""
    signatures = asked_signatures(program, state)
    calls = [call for run in runs for call in run.trace]
    return [form.row(signatures[call.predictor], call.inputs, call.outputs or {}) for call in calls]


def _record(
    path: tuple[str, ...],
    traces: Traces,
    began: float,
    train_rows: int = 0,
    training: Training | None = None,
) -> StepRecord:
    record = StepRecord(
        path="".join(path),
        usage=traces.usage,
        runs=traces.runs,
        traces_passed=len(traces.passing),
        distinct_outputs=traces.distinct_outputs,
        seconds=time.perf_counter() - began,
        train_score=traces.score,
    )
    if training is None:
        return record
    return replace(
        record,
        train_rows=train_rows,
        train_steps=training.steps,
        losses=training.losses,
        adapter=training.adapter.digest,
        curve=training.curve,
        truncated=training.truncated,
        dropped=training.dropped,
    )

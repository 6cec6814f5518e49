"""Doing one step: whether it can be done here, and whether it kept to what it says of itself."""

import time
from dataclasses import replace
from typing import Any

from ..engines.protocol import unscoring, untrainable
from ..pipeline.errors import BetterTogetherError, StepError
from ..pipeline.state import ProgramState
from ..pipeline.steps import Part, StepKind
from ..results.cell_results import StepRecord
from ..results.traces import DemoRecord, as_text
from ..running.evaluate import Experiment
from .bound import Bound
from .outcome import Outcome
from .step import Step


def conduct(step: Step, experiment: Experiment, state: ProgramState, path: tuple[str, ...]) -> Outcome:
    """Do a step on the program in `state`, and complete its record.

    It is refused where the task has nothing to optimise, or the engine lacks what the step needs.

    Raises StepError, which names the step, if it fails in any way that the user's data, program or engine are no cause
    of, and if it did what it does not say of itself.
    """
    kind, began = step.kind, time.perf_counter()
    unfit = experiment.unfit or unmet(kind, experiment)
    if unfit:
        return Outcome(state, StepRecord("".join(path)), f"step {kind.letter}: {unfit}")
    given = replace(state)  # a copy, to see by it whether the step has changed its argument
    try:
        outcome = step.run(experiment, state, path)
    except BetterTogetherError:
        raise  # of the program, the metric, the engine ...: it says itself what happened
    except Exception as error:
        if _ours(step):
            raise  # a mistake of this package keeps its traceback
        raise StepError(f"step {_shown(kind)} raised {error!r}") from error
    if state != given:
        raise StepError(f"step {_shown(kind)} changed the state that it was given: make a new one with replace(state)")
    wrong = fault(kind, experiment, given, outcome)
    if wrong:
        raise StepError(f"step {_shown(kind)} {wrong}")
    return replace(outcome, record=_completed(kind, outcome, path, time.perf_counter() - began))


def bound(step: Step, experiment: Experiment, before: frozenset[Part]) -> Bound:
    """What a step costs at most. Raises StepError if it cannot say it."""
    try:
        found = step.bound(experiment, before)
    except BetterTogetherError:
        raise
    except Exception as error:
        if _ours(step):
            raise
        raise StepError(f"step {_shown(step.kind)}: its bound raised {error!r}") from error
    if not isinstance(found, Bound):
        raise StepError(f"step {_shown(step.kind)}: its bound is a {type(found).__name__}: expected a Bound")
    return found


def unmet(kind: StepKind, experiment: Experiment) -> str:
    """Why an engine cannot do what a step needs, or the empty string."""
    unmet_by = {"training": untrainable, "likelihoods": unscoring}  # any engine can reflect: it completes prompts
    reasons = (unmet_by[need](experiment.backend) for need in kind.needs if need in unmet_by)
    return next(filter(None, reasons), "")


def fault(kind: StepKind, experiment: Experiment, state: ProgramState, outcome: object) -> str:
    """How an outcome breaks what its step says of itself, as the end of a sentence; empty if it does not."""
    if not isinstance(outcome, Outcome):
        return f"returned a {type(outcome).__name__}: expected an Outcome, with the new state and a record of the step"
    for name, value, expected in (
        ("state", outcome.state, ProgramState),
        ("record", outcome.record, StepRecord),
        ("refused", outcome.refused, str),
    ):
        if not isinstance(value, expected):
            return f"returned an Outcome whose {name} is a {type(value).__name__}: expected a {expected.__name__}"
    unsaid = state.differs(outcome.state) - {*kind.changes, *kind.clears}
    if unsaid:
        return f"changed {', '.join(sorted(unsaid))} of the program, and says that it changes {', '.join(kind.changes)}"
    left = outcome.state.differs(ProgramState()) & {*kind.clears}
    if left and not outcome.refused:
        return f"left {', '.join(sorted(left))} in the program, and says that it clears {', '.join(kind.clears)}"
    if _kept_by_others(kind, state) != _kept_by_others(kind, outcome.state):
        return f"changed what other steps keep: its own place is kept[{kind.letter!r}]"
    predictors = experiment.program.predictors()
    unknown = sorted({*outcome.state.demos, *outcome.state.instructions} - {*predictors})
    if unknown:
        return f"set texts of the predictor {unknown[0]!r}, and the program has {', '.join(predictors)}"
    return ""


def _kept_by_others(kind: StepKind, state: ProgramState) -> dict[str, Any]:
    return {letter: value for letter, value in state.kept.items() if letter != kind.letter}


def _completed(kind: StepKind, outcome: Outcome, path: tuple[str, ...], seconds: float) -> StepRecord:
    """The step's record with all that the state tells of it: what reports show need not be written twice."""
    state = outcome.state
    record = replace(outcome.record, path="".join(path), seconds=seconds)
    if outcome.refused:
        return record
    if "demos" in kind.changes:
        demos = {
            predictor: tuple(
                DemoRecord(as_text(demo.inputs), as_text(demo.outputs), demo.bootstrapped) for demo in some
            )
            for predictor, some in state.demos.items()
        }
        record = replace(record, demos=demos)
    if "instructions" in kind.changes:
        record = replace(record, instructions=as_text(state.instructions))
    if "weights" in kind.changes and state.adapter:
        record = replace(record, adapter=state.adapter.digest)
    return record


def _ours(step: Step) -> bool:
    return type(step).__module__.partition(".")[0] == __name__.partition(".")[0]


def _shown(kind: StepKind) -> str:
    return f"{kind.letter} ({kind.name})"

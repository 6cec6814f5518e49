"""An lm-eval task on one of our engines: what each document scored.

lm-eval's own `evaluate` builds the prompts, applies the filters and computes the metric; from it come the scores of
single documents alone, since intervals and comparisons are ours.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..pipeline.data import digest
from ..pipeline.errors import BetterTogetherError, DataError, MetricError
from ..results.cell_results import ExampleScore
from .loading import quiet
from .templates import sandboxed

FEWSHOT_SEED = 1234
"""lm-eval's default: the same examples are drawn as by its command line."""
SAID = 500
"""Characters kept of what was said."""


@dataclass(frozen=True)
class Form:
    """How an lm-eval task is put to a model, and which of its numbers is the score."""

    num_fewshot: int | None = None
    """None: as the task says, or none."""
    chat: bool = False
    """Apply the model's chat template."""
    multiturn: bool = False
    """With `chat`, few-shot examples are turns of their own."""
    metric: str = ""
    """The task's first, unless named."""
    filter: str = ""
    """The task's first, unless named."""


def measure(task: Any, lm: Any, form: Form, documents: Sequence[int] | None = None) -> list[ExampleScore]:
    """Evaluate `lm` on a loaded task's documents, in order; `documents` names some by position.

    Raises MetricError where the score is not one number within 0...1 for each document.
    """
    from lm_eval.evaluator import evaluate

    _prepare(task, form)
    chosen = None if documents is None else sorted(documents)
    with quiet(), sandboxed():
        try:
            found = evaluate(
                lm=lm,
                task_dict={"tasks": {task.task_name: task}, "groups": {}, "group_map": {}},
                samples=None if chosen is None else {task.task_name: chosen},
                bootstrap_iters=0,  # else some metrics' errors are computed by a pool of processes
                log_samples=True,
                apply_chat_template=form.chat,
                fewshot_as_multiturn=form.multiturn,
            )
        except BetterTogetherError:
            raise
        except ValueError as error:  # unsafe code, images, a data set without test documents
            raise DataError(f"lm-eval task {task.task_name!r}: {error}") from error
    samples = found["samples"][task.task_name]
    wanted = metric_key(task, form)
    metric, _, name = wanted.partition(",")
    mine = sorted((sample for sample in samples if sample["filter"] == name), key=lambda one: int(one["doc_id"]))
    scores = []
    for sample in mine:
        unparsable, said = _said(sample, task)
        scores.append(ExampleScore(str(sample["doc_id"]), _score(sample, metric, task.task_name), unparsable, said))
    return scores


def metric_key(task: Any, form: Form) -> str:
    """The score in lm-eval's notation, `metric,filter`. Raises DataError for one that the task does not have."""
    metrics = list(task.aggregation())
    filters = [entry["name"] for entry in task.get_config("filter_list") or ()] or ["none"]
    for kind, asked, there in (("metric", form.metric, metrics), ("filter", form.filter, filters)):
        if asked and asked not in there:
            raise DataError(f"lm-eval task {task.task_name!r} has no {kind} {asked!r}: it has {', '.join(there)}")
    better = task.higher_is_better()
    good = [metric for metric in metrics if better.get(metric, True)]
    if not (form.metric or good):
        raise DataError(f"lm-eval task {task.task_name!r} has no metric of which more is better: {', '.join(metrics)}")
    if form.metric and not better.get(form.metric, True):
        raise DataError(f"lm-eval task {task.task_name!r}: of {form.metric} less is better, and a score is the reverse")
    return f"{form.metric or good[0]},{form.filter or filters[0]}"


def identity(task: Any, form: Form) -> dict[str, str]:
    """What two measurements must have in common to be compared."""
    config = task.dump_config()
    # Where the data lie is nobody's business; what they say is in the digest of the documents.
    prompts = {key: repr(config.get(key)) for key in PROMPTED}
    shown = {"num_fewshot": shots(task, form), "chat": form.chat, "multiturn": form.multiturn}
    return {
        "task": str(task.task_name),
        "version": str(task.VERSION),
        "score": metric_key(task, form),
        "documents": digest([plain(document) for document in task.eval_docs])[:16],
        "marking": digest({key: repr(config.get(key)) for key in MARKED})[:16],
        "prompts": digest([prompts, shown])[:16],
    }


MARKED = ("output_type", "doc_to_target", "doc_to_choice", "filter_list", "metric_list", "process_results", "repeats")
PROMPTED = (
    "description",
    "doc_to_text",
    "process_docs",
    "fewshot_split",
    "fewshot_config",
    "fewshot_delimiter",
    "target_delimiter",
    "gen_prefix",
    "generation_kwargs",
)


def lm_eval_version() -> str:
    """The version that is installed."""
    return version("lm_eval")


def shots(task: Any, form: Form) -> int:
    """How many worked examples the prompt shows. Raises DataError where a task that has none is asked for some."""
    fixed = task.get_config("num_fewshot")
    if form.num_fewshot and fixed == 0:
        raise DataError(f"lm-eval task {task.task_name!r} fixes num_fewshot: 0, leave out num_fewshot=")
    return int(form.num_fewshot if form.num_fewshot is not None else fixed or 0)


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as values that JSON can hold; what else there is becomes text."""

    def value(held: Any) -> Any:
        if isinstance(held, Mapping):
            return {str(key): value(inner) for key, inner in held.items()}
        if isinstance(held, list | tuple):
            return [value(inner) for inner in held]
        if held is None or isinstance(held, str | bool | int):
            return held
        if isinstance(held, numbers.Real) and math.isfinite(held):
            return float(held)
        return str(held)

    return {str(key): value(held) for key, held in document.items()}


def _prepare(task: Any, form: Form) -> None:
    task.set_config("num_fewshot", shots(task, form))
    task.set_fewshot_seed(seed=FEWSHOT_SEED)  # the sampler goes on from where it was left


def _score(sample: Mapping[str, Any], metric: str, task: str) -> float:
    value = sample.get(metric)
    score = _number(value)
    if not 0.0 <= score <= 1.0:
        usable = [name for name in sample["metrics"] if 0.0 <= _number(sample[name]) <= 1.0]
        raise MetricError(
            f"lm-eval task {task!r}: {metric} is {value!r} on document {sample['doc_id']}, and a score is one number "
            f"within 0...1 for each document: name another metric ({', '.join(usable) or 'this task has none'})"
        )
    return score


def _number(value: Any) -> float:
    """What numpy or Python calls a number, or NaN."""
    value = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    return float(value) if isinstance(value, numbers.Real) else math.nan


def _said(sample: Mapping[str, Any], task: Any) -> tuple[bool, dict[str, str]]:
    """Whether the filter found no answer, and the answer: what it found, or the likeliest choice."""
    filtered = sample["filtered_resps"]
    if task.OUTPUT_TYPE == "multiple_choice":
        likeliest = max(range(len(filtered)), key=lambda i: float(filtered[i][0]))
        return False, {"choice": str(sample["arguments"][likeliest][-1]).strip()[:SAID]}
    text = filtered[0][0] if isinstance(filtered[0], list | tuple) and filtered[0] else filtered[0]
    return text == "[invalid]", {"answer": str(text)[:SAID]}

"""An lm-eval task as one of ours: in its own form, or as the data and metric of a program."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from ..engines.protocol import Backend
from ..pipeline.adapter import Adapter
from ..pipeline.data import Example, Splits, Task, digest
from ..pipeline.errors import DataError, MetricError
from ..pipeline.metrics import normalize
from ..pipeline.program import Predict, Prediction, Program, Signature
from ..running.evaluate import Benchmark, Evaluation
from .loading import Spec, load, quiet, spec_name
from .measuring import Form, identity, measure, metric_key, plain
from .templates import sandboxed

DEV = 0.2
"""The share of train that is kept apart for dev, where the task has no split for it."""


@dataclass(frozen=True, eq=False)
class Source:
    """One lm-eval task, loaded when it is first needed."""

    spec: Spec
    folder: Path
    """Of the suite: what file names are relative to."""
    form: Form = field(default_factory=Form)

    @cached_property
    def task(self) -> Any:
        """The loaded task. Raises DataError."""
        found = load(self.spec, self.folder)
        if len(found) != 1:
            names = ", ".join(str(task.task_name) for task in found[:5])
            raise DataError(f"lm-eval's {self.name!r} is a group of {len(found)} tasks: name one, as in {names}")
        return found[0]

    @property
    def name(self) -> str:
        """What it is called in tables and baselines."""
        return spec_name(self.spec)

    @property
    def marking(self) -> str:
        """What baselines record of the metric: the score's name, and a digest of how answers are marked."""
        facts = identity(self.task, self.form)
        return f"lm-eval {facts['task']} {facts['score']} {facts['version']}:{facts['marking'][:8]}"


class OwnForm(Benchmark):
    """The task as lm-eval puts it: its prompts, filters and metric."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.unfit = (
            f"lm-eval task {source.name!r} runs in its own form, in which nothing is optimised: "
            "give harness_task a signature or a program"
        )

    def measure(self, engine: Backend, adapter: Adapter | None, examples: Sequence[Example], seed: int) -> Evaluation:
        """Each document's score by lm-eval's own evaluation; examples are those of the test split."""
        from .lm import EngineLM

        places = {example.id: int(example.id.rpartition("-")[2]) for example in examples}
        lm = EngineLM(engine, adapter, seed)
        scores = measure(self.source.task, lm, self.source.form, list(places.values()))
        by_place = {int(score.id): score for score in scores}
        found = [by_place[places[example.id]] for example in examples]
        named = [
            type(score)(example.id, score.score, score.unparsable, score.said)
            for score, example in zip(found, examples, strict=True)
        ]
        return Evaluation(tuple(named), lm.usage)


class Answer(Program):
    """One predictor with the given signature."""

    def __init__(self, signature: Signature) -> None:
        self.answer = Predict(signature)

    def forward(self, **inputs: Any) -> Prediction:
        """Ask once, with those fields of the document that the signature takes."""
        wanted = [field.name for field in self.answer.signature.inputs]
        missing = [name for name in wanted if name not in inputs]
        if missing:
            raise DataError(
                f"the signature takes {', '.join(missing)}, and the task's documents have {', '.join(inputs)}"
            )
        return self.answer(**{name: inputs[name] for name in wanted})


@dataclass(frozen=True)
class Marking:
    """The task's own marking of a program's answer, 0...1.

    A generated answer goes through the task's filters and metric; of multiple choice, the answer must be the text of a
    right choice (in SQuAD's normal form). `output` is the prediction's field that is marked, by default its last.
    """

    source: Source
    output: str = ""

    @property
    def identity(self) -> str:
        """What baselines record of it."""
        return self.source.marking

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Mark one prediction on a document."""
        said = str(prediction[self.output or list(prediction)[-1]])
        if self.source.task.OUTPUT_TYPE != "generate_until":
            right = example["target"] if isinstance(example["target"], list) else [example["target"]]
            return float(any(normalize(said) == normalize(str(accepted)) for accepted in right))
        return self._generated(example["document"], said)

    def _generated(self, document: Mapping[str, Any], said: str) -> float:
        from lm_eval.api.instance import Instance

        task, (metric, _, name) = self.source.task, metric_key(self.source.task, self.source.form).partition(",")
        with quiet(), sandboxed():
            arguments = ("", task.get_config("generation_kwargs"))
            instance = Instance("generate_until", dict(document), arguments, 0, ("", 0, 1))
            instance.resps = [said]
            task._instances = [instance]  # where apply_filters looks for them
            task.apply_filters()
            value = task.process_results(dict(document), [instance.filtered_resps[name]]).get(metric)
        if value is None:
            raise MetricError(f"lm-eval task {self.source.name!r} computed no {metric}")
        return float(value)


def harness_task(
    task: Spec,
    *,
    signature: str | Signature | None = None,
    program: Callable[[], Program] | None = None,
    instruction: str = "",
    describe: Mapping[str, str] = MappingProxyType({}),
    output: str = "",
    num_fewshot: int | None = None,
    chat: bool = False,
    multiturn: bool = False,
    metric: str = "",
    filter: str = "",  # noqa: A002 - lm-eval's word
    name: str = "",
    recipe: Mapping[str, int | float | str | bool] = MappingProxyType({}),
) -> Task:
    """An lm-eval task: a stock name, a YAML file beside the suite, or a configuration as a dict.

    In its own form, it is put to the model as lm-eval does: `zero` scores each document as `lm_eval.evaluate` would,
    and steps are refused. With a `signature` (and `instruction`, `describe`), or a `program`, its documents and metric
    are those of a program of ours that steps p and w optimise. Inputs are the document's fields by name, or
    `text`, the task's own question, and `choices`; the answer, of which labelled demos are made, is `target`, and
    stands under the name of the signature's last output too where documents have no such field.

    Splits are the task's: test is what lm-eval evaluates; train is its training split, less any document that is
    also a test document, and without one steps are refused; dev is its validation split, or a fifth of train.
    `metric` and `filter` choose the score among the task's (default: its first of either); `num_fewshot`,
    `chat` and `multiturn` are lm-eval's num_fewshot, apply_chat_template and fewshot_as_multiturn.

    Raises ValueError for arguments that do not go together; what the task itself lacks is said when a cell needs it.
    """
    if signature is not None and program is not None:
        raise ValueError("harness_task: give a signature or a program, not both")
    if (instruction or describe) and not isinstance(signature, str):
        raise ValueError("harness_task: instruction and describe go with a signature that is a text")
    if output and signature is None and program is None:
        raise ValueError("harness_task: output names a field of a program's prediction: give a signature or a program")
    if (signature is not None or program is not None) and (num_fewshot is not None or chat or multiturn):
        raise ValueError("harness_task: num_fewshot, chat and multiturn are of the task's own form, without a program")
    # File names are relative to the suite that is being written, wherever pytest was started.
    folder = Path(sys._getframe(1).f_globals.get("__file__", "suite")).resolve().parent
    source = Source(task, folder, Form(num_fewshot, chat, multiturn, metric, filter))
    answer = ""
    if signature is not None:
        parsed = Signature.parse(signature, instruction, describe) if isinstance(signature, str) else signature
        program, answer = (lambda: Answer(parsed)), parsed.outputs[-1].name
    made = program or (lambda: OwnForm(source))
    return Task(made, Documents(source, answer), Marking(source, output), name or source.name, recipe)


@dataclass(frozen=True)
class Documents:
    """The task's documents as our splits; a document's id is its split and place."""

    source: Source
    answer: str = ""
    """A field that gets the target where documents have none of that name."""

    def __call__(self) -> Splits:
        """Read them all."""
        task = self.source.task
        with quiet(), sandboxed():
            test = self._examples("test", task.eval_docs)
            train = self._examples("train", task.training_docs() if task.has_training_docs() else ())
            apart = task.has_test_docs() and task.has_validation_docs()
            dev = self._examples("dev", task.validation_docs() if apart else ())
        tested = {digest(example["document"]) for example in test}
        train = [row for row in train if digest(row["document"]) not in tested]
        dev = [row for row in dev if digest(row["document"]) not in tested]
        if not dev:
            shuffled = list(train)
            Random(0).shuffle(shuffled)
            cut = max(1, int(len(train) * DEV))
            dev, train = shuffled[:cut], shuffled[cut:]
        if not (train and dev):
            why = f"lm-eval task {self.source.name!r} has no training split, and steps p and w learn from one"
            return Splits((), (), tuple(test), why)
        return Splits(tuple(train), tuple(dev), tuple(test))

    def _examples(self, split: str, documents: Any) -> list[Example]:
        return [Example(self._fields(document), f"{split}-{place}") for place, document in enumerate(documents)]

    def _fields(self, document: Mapping[str, Any]) -> dict[str, Any]:
        task, kept = self.source.task, plain(document)
        choices = list(task.doc_to_choice(document)) if task.get_config("doc_to_choice") else []
        text = task.doc_to_text(document)
        fields = {**kept, "document": kept, "text": text if isinstance(text, str) else "", "choices": choices}
        fields["target"] = _target(task.doc_to_target(document), choices)
        if self.answer and self.answer not in kept:
            target = fields["target"]
            fields[self.answer] = target[0] if isinstance(target, list) and target else target
        return fields


def _target(target: Any, choices: Sequence[str]) -> str | list[str]:
    """The right answer as text; several alternatives as a list."""
    if isinstance(target, list):
        return [str(_target(value, choices)) for value in target]
    if choices and isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)

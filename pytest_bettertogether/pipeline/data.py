"""Examples, the three splits, and a task: program + data + metric."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .data_folder import Where
from .errors import DataError
from .metrics import Metric
from .program import Demo, Program, Signature

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Example(Mapping[str, Any]):
    """One row of a data set: a read-only mapping from field names to values.

    The fields named like `forward`'s parameters are the program's inputs; the metric
    and labelled demos see all of them. `id` pairs results across runs: a row's own "id"
    field, or else the digest of its content.
    """

    fields: Mapping[str, Any]
    id: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Example":
        """Make an example of a plain dict. Raises DataError for values that JSON cannot hold."""
        fields = {key: value for key, value in row.items() if key != "id"}
        named = f"row {row['id']!r}" if "id" in row else "a row without an id"
        for name, value in row.items():
            _check_value(f"{named}: field {name!r}", value)
        return cls(fields, str(row["id"]) if "id" in row else digest(fields)[:12])

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


@dataclass(frozen=True)
class Splits:
    """Train, dev and test rows, disjoint by example id.

    train feeds the optimisers, dev chooses between finished programs where asked to,
    test is seen once per cell, by the final evaluation alone.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    missing: str = ""
    """Why there is no train and no dev: optimisation steps are then refused, with this reason."""

    def __post_init__(self) -> None:
        ids: dict[str, str] = {}
        contents: dict[str, tuple[str, str]] = {}
        for name, split in self:
            if not split and not (self.missing and name != "test"):
                raise DataError(f"the {name} split is empty")
            for example in split:
                if example.id in ids:
                    raise _twice(example.id, name, ids[example.id])
                ids[example.id] = name
                home, first = contents.setdefault(digest(dict(example.fields)), (name, example.id))
                if home != name:
                    raise DataError(
                        f"example {example.id!r} of {name} has the same fields as example {first!r} of {home}: "
                        "splits must not overlap, whatever the ids; leave one of the two out"
                    )

    @classmethod
    def of(
        cls, train: Iterable[Mapping[str, Any]], dev: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]]
    ) -> "Splits":
        """Make splits of plain dicts, one per row."""
        made = [tuple(Example.of(row) for row in rows) for rows in (train, dev, test)]
        return cls(made[0], made[1], made[2])

    def __iter__(self) -> Iterator[tuple[str, tuple[Example, ...]]]:
        yield from (("train", self.train), ("dev", self.dev), ("test", self.test))

    def first(self, limit: int) -> "Splits":
        """The first `limit` examples of each split."""
        return Splits(self.train[:limit], self.dev[:limit], self.test[:limit], self.missing)


def _twice(example: str, name: str, home: str) -> DataError:
    """The error for an id that is met again."""
    if name == home:
        return DataError(
            f"example {example!r} is in {name} twice: give each row an 'id' of its own, or leave one out "
            "(a row without an 'id' is known by its content)"
        )
    return DataError(
        f"example {example!r} is in {name} and again in {home}: "
        "splits must not overlap (a row without an 'id' is known by its content)"
    )


def _check_value(where: str, value: Any) -> None:
    """Raise DataError for a value of a row that cannot be written as JSON in UTF-8; `where` names its place."""
    if isinstance(value, str):
        if _LONE_SURROGATE.search(value):
            raise DataError(
                f"{where} holds half of a character (a lone surrogate), which no file or model can be given: "
                "read the data with the encoding that it was written with"
            )
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise DataError(f"{where} has the key {key!r}: the keys of a mapping must be texts")
            _check_value(where, key)
            _check_value(where, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(where, inner)
    elif value is not None and not isinstance(value, bool | int | float):
        raise DataError(
            f"{where} holds a {type(value).__name__}: a row holds texts, numbers, true or false, None, "
            "and lists or mappings of these"
        )


def fingerprint(split: Iterable[Example]) -> str:
    """16 hex digits that change when any row, its id or the order of rows changes."""
    return digest([[example.id, dict(example.fields)] for example in split])[:16]


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


ABILITIES = ("instruct",)
"""What a task may need of a model, and a model may say that it can do."""


@dataclass(frozen=True)
class Task:
    """What is optimised and how it is judged.

    `program` is a Program class or a function that makes one; `data` is called once, when
    the first cell needs it, so that collecting tests reads no file: a function of yours
    without parameters, or one of `sources` (`files`, `hub_dataset`), which is told `Where`
    to look. `recipe` overrides values of the model's recipe for this task, as in
    `{"search.max_labelled": 8}`.
    """

    program: Callable[[], Program]
    data: Callable[[], Splits] | Callable[[Where], Splits]
    metric: Metric
    name: str = ""
    """In tables and baselines; by default the test file's, `iris` for test_iris.py."""
    recipe: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    cluster: str = ""
    """A field of the rows: test examples that share its value (one document, one user) depend on each other, and the
    gate counts them as one."""
    extra: Mapping[str, Metric] = field(default_factory=dict)
    """Further metrics by name, computed in the final evaluation: reported, never gated or optimised."""
    needs: str = ""
    """What a model must be able to do for this task to say anything of it: `instruct`, to follow instructions in plain
    language. Models that cannot (`tiny`) skip it, unless forced (--bt-force)."""

    def __post_init__(self) -> None:
        if self.needs not in ("", *ABILITIES):
            raise ValueError(f"Task(needs={self.needs!r}): expected {' or '.join(map(repr, ABILITIES))}, or nothing")
        if not callable(self.data):
            raise TypeError(
                f"Task(data=...) takes the function that makes the splits, not a {type(self.data).__name__}: "
                "write data=load, without calling it"
            )
        for name, metric in (
            ("metric", self.metric),
            *((f"extra[{key!r}]", extra) for key, extra in self.extra.items()),
        ):
            if isinstance(metric, type) or not callable(metric):
                raise TypeError(
                    f'Task({name}=...) takes a function (example, prediction) -> 0...1, as in exact_match("answer"), '
                    f"not {metric!r}"
                )

    def splits(self, where: Where | None = None) -> Splits:
        """Read the data. Raises DataError if the function gives anything but splits."""
        parameters = inspect.signature(self.data).parameters.values()
        told = any(
            parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            for parameter in parameters
        )
        splits = self.data(where or Where()) if told else self.data()  # type: ignore[call-arg]  # as its parameters say
        if not isinstance(splits, Splits):
            raise DataError(
                f"the task's data function returned a {type(splits).__name__}: return Splits.of(train, dev, test)"
            )
        return splits


def clusters(task: Task, test: Sequence[Example]) -> tuple[str, ...]:
    """What each test example belongs to; empty if the task does not say. Raises DataError if a row lacks the field."""
    if not task.cluster:
        return ()
    lacking = next((example for example in test if task.cluster not in example), None)
    if lacking is not None:
        raise DataError(
            f"Task(cluster={task.cluster!r}): test example {lacking.id!r} has no such field, "
            f"it has {', '.join(lacking)}"
        )
    return tuple(str(example[task.cluster]) for example in test)


def program_inputs(program: Program, example: Example) -> dict[str, Any]:
    """The fields of `example` that `program.forward` asks for.

    A `forward(self, **inputs)` gets those that a predictor takes and no predictor gives: a row holds the right answer
    too, which is nothing to answer with.

    Raises DataError naming the parameter that the example lacks.
    """
    parameters = inspect.signature(program.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return _fields_to_ask_with(program, example)
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.name not in example and parameter.default is parameter.empty
    ]
    if missing:
        raise DataError(
            f"{type(program).__name__}.forward takes {', '.join(missing)}, but example {example.id!r} "
            f"has only {', '.join(example)}"
        )
    return {parameter.name: example[parameter.name] for parameter in parameters if parameter.name in example}


def _fields_to_ask_with(program: Program, example: Example) -> dict[str, Any]:
    signatures = [site.signature for site in program.predictors().values()]
    taken = {field.name for signature in signatures for field in signature.inputs}
    given = {field.name for signature in signatures for field in signature.outputs}
    return {name: example[name] for name in example if name in taken - given}


def labelled_demo(signature: Signature, example: Example) -> Demo | None:
    """A demo of what a row knows of a predictor's fields; None where it knows no input, or no output.

    A label that is a list holds alternatives, of which a demo shows the first. What is None is not known.
    """
    inputs = _known(example, [field.name for field in signature.inputs])
    outputs = _known(example, [field.name for field in signature.outputs])
    for name, value in outputs.items():
        if isinstance(value, list | tuple) and value:
            outputs[name] = value[0]
    return Demo(inputs, outputs) if inputs and outputs else None


def _known(example: Example, names: Sequence[str]) -> dict[str, Any]:
    return {name: example[name] for name in names if example.get(name) is not None}

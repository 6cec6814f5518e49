"""What a user writes a pipeline with: signatures, predictors, programs.

A program knows nothing of models, prompts or batches: a predictor hands its
inputs to whoever runs the program (`running`) and gets its outputs back.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

from .data_folder import Where
from .errors import ProgramError
from .fixed import fixed

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """One named input or output of a predictor.

    `description` is shown to the model in brackets behind the name. A field that is
    not `required` may be missing from a completion and is then the empty string.
    """

    name: str
    description: str = ""
    required: bool = True

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                f"field name {self.name!r}: a letter, then letters, digits or underscores, as in search_query"
            )


@dataclass(frozen=True)
class Signature:
    """A predictor's inputs, outputs and instruction."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    instruction: str = ""

    def __post_init__(self) -> None:
        if not self.inputs or not self.outputs:
            raise ValueError("a signature needs at least one input and one output, as in 'question -> answer'")
        seen: set[str] = set()
        for field in (*self.inputs, *self.outputs):
            # Models write "Search Query" for search_query, so names must differ by more than that.
            folded = field.name.lower().replace("_", "")
            if folded in seen:
                raise ValueError(f"field {field.name!r} occurs twice (case and underscores do not count)")
            seen.add(folded)

    @classmethod
    def parse(cls, text: str, instruction: str = "", describe: Mapping[str, str] = MappingProxyType({})) -> "Signature":
        """Read `"question, context -> answer"`; `describe` maps field names to descriptions.

        Raises ValueError that says what was wrong and shows the expected form.
        """
        left, arrow, right = text.partition("->")
        if not arrow or "->" in right:
            raise ValueError(f"signature {text!r}: expected 'input, input -> output', as in 'question -> answer'")
        names = [[part.strip() for part in side.split(",")] for side in (left, right)]
        unknown = sorted(set(describe) - {*names[0], *names[1]})
        if unknown:
            raise ValueError(f"signature {text!r} has no field {', '.join(unknown)}, but describe names it")
        inputs, outputs = (tuple(Field(name, describe.get(name, "")) for name in side) for side in names)
        return cls(inputs, outputs, instruction.strip())


class Prediction(Mapping[str, Any]):
    """The outputs of one predictor or of a whole program: a read-only mapping whose keys are attributes too."""

    __slots__ = ("_outputs",)

    def __init__(self, /, **outputs: Any) -> None:
        object.__setattr__(self, "_outputs", outputs)

    def __getitem__(self, key: str) -> Any:
        return self._outputs[key]

    def __getattr__(self, key: str) -> Any:
        if key in self._outputs:
            return self._outputs[key]
        raise AttributeError(f"this prediction has no {key!r}; it has {', '.join(self._outputs) or 'no outputs'}")

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError("predictions are read-only: make a new one with Prediction(...)")

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"Prediction({', '.join(f'{key}={value!r}' for key, value in self._outputs.items())})"


@dataclass(frozen=True)
class Demo:
    """A worked input/output shown in a predictor's prompt.

    `bootstrapped` demos come from a passing trace and hold every field; labelled
    ones come from a training example and may lack some (a reasoning, a context). Its fields
    are read-only copies of those that are given.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    bootstrapped: bool = False

    def __post_init__(self) -> None:
        for side in ("inputs", "outputs"):
            object.__setattr__(self, side, fixed(getattr(self, side)))


class Predict:
    """One LM call site of a program, addressed by its attribute name.

    >>> Predict("question -> answer").signature.outputs[0].name
    'answer'
    """

    def __init__(
        self,
        signature: str | Signature,
        instruction: str = "",
        describe: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if isinstance(signature, Signature):
            if instruction or describe:
                raise ValueError("give instruction and describe to the Signature itself, not beside it")
            self.signature = signature
        else:
            self.signature = Signature.parse(signature, instruction, describe)

    def __call__(self, **inputs: Any) -> Prediction:
        """Ask the model once; needs a runner (`better_together()`, `evaluate`, or `running`) around it."""
        __tracebackhide__ = True
        wanted = {field.name for field in self.signature.inputs}
        if wanted != set(inputs):
            missing, extra = sorted(wanted - set(inputs)), sorted(set(inputs) - wanted)
            problem = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(extra)}"] * bool(extra)
            raise TypeError(f"predictor takes {', '.join(sorted(wanted))}: {'; '.join(problem)}")
        ask = _ask.get(None)
        if ask is None:
            raise _nobody_runs_this("no model")
        return ask(self, inputs)


class ChainOfThought(Predict):
    """A predictor that writes its reasoning before its outputs.

    The reasoning is not required: a model that answers straight away has still answered.
    """

    REASONING = Field("reasoning", "think step by step", required=False)

    def __init__(
        self,
        signature: str | Signature,
        instruction: str = "",
        describe: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(signature, instruction, describe)
        self.signature = replace(self.signature, outputs=(self.REASONING, *self.signature.outputs))


class Searcher(Protocol):
    """An opened retriever: it answers many queries at once."""

    @property
    def identity(self) -> str:
        """What its answers depend on: corpus, method and versions, or a server's address."""
        ...

    @property
    def remote(self) -> bool:
        """Whether asking costs a request, so that answers are kept in the journal."""
        ...

    def search(self, queries: Sequence[str], k: int) -> Sequence[Sequence[str]]:
        """At most `k` passages for each query, best first, in the order of the queries."""
        ...


class Retriever(Protocol):
    """What can be searched, as a value; it is opened once a session, when the first cell needs it."""

    def open(self, where: Where) -> Searcher:
        """Get ready to search. Raises DataError that says what is missing and how to get it."""
        ...


SearchFunction = Callable[[Sequence[str], int], Sequence[Sequence[str]]]
"""A user's own retriever: `(queries, k) -> passages of each query`."""


class Retrieve:
    """One search site of a program: `self.retrieve = Retrieve(corpus, k=3)`, and `self.retrieve(query)` in `forward`.

    The runner gathers the queries of all examples and asks the retriever once per wave. `retriever` is one of
    `sources`' (BM25, ColBERT) or a function `(queries, k) -> passages of each query`.
    """

    def __init__(self, retriever: Retriever | SearchFunction, k: int = 3) -> None:
        if k < 1:
            raise ValueError(f"Retrieve(k={k}): at least one passage has to be asked for")
        self.retriever, self.k = retriever, k

    def __call__(self, query: str) -> list[str]:
        """The passages for one query, best first; needs a runner, as predictors do."""
        __tracebackhide__ = True
        seek = _seek.get(None)
        if seek is None:
            raise _nobody_runs_this("nothing")
        return seek(self, query)


class Program:
    """A language-model pipeline: predictors as attributes, and a `forward` in naive Python, one example at a time.

    What optimisation changes (demos, weights) is kept outside, in a `ProgramState`: a program object is never modified.
    `forward` may keep things on `self` while it runs: each example has a copy of the program to itself, which is thrown
    away. Objects that attributes hold, other than programs, lists, dicts and sets, are shared by all examples.
    """

    # *args too, though inputs are passed by name: type checkers then let a program name and type the inputs it takes.
    def forward(self, *args: Any, **inputs: Any) -> Prediction:
        """Compute the outputs for one example's inputs, which are passed by name."""
        raise NotImplementedError(f"{type(self).__name__} needs a forward method")

    def predictors(self) -> dict[str, Predict]:
        """The predictors by attribute name, in order of assignment; those of sub-programs as `outer.inner`."""
        return {name: site for name, site in self._sites() if isinstance(site, Predict)}

    def retrievers(self) -> dict[str, Retrieve]:
        """The search sites by attribute name, as `predictors`."""
        return {name: site for name, site in self._sites() if isinstance(site, Retrieve)}

    def _sites(self) -> Iterator[tuple[str, Predict | Retrieve]]:
        for name, value in vars(self).items():
            if isinstance(value, Predict | Retrieve):
                yield name, value
            elif isinstance(value, Program):
                yield from ((f"{name}.{inner}", site) for inner, site in value._sites())
            elif isinstance(value, list | tuple):
                yield from (
                    (f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Predict | Retrieve)
                )


ONE_AFTER_ANOTHER = (
    "call them in forward itself, one after another: the runner sends the calls of all examples to the model together"
)
"""What to do in place of threads and event loops."""


def _nobody_runs_this(nothing: str) -> Exception:
    """Return the error for a call that no runner hears; in a thread, the likely cause is that forward started it."""
    thread = threading.current_thread()
    if thread is threading.main_thread():
        return RuntimeError(f"{nothing} is running this program: call it through evaluate() or better_together()")
    return ProgramError(
        f"a predictor or search was called in the thread {thread.name!r}, which no program runs in: {ONE_AFTER_ANOTHER}"
    )


Ask = Callable[[Predict, Mapping[str, Any]], Prediction]
Seek = Callable[[Retrieve, str], list[str]]

_ask: ContextVar[Ask] = ContextVar("pytest_bettertogether_ask")
_seek: ContextVar[Seek] = ContextVar("pytest_bettertogether_seek")


@contextmanager
def running(ask: Ask, seek: Seek | None = None) -> Iterator[None]:
    """Answer the predictor calls made inside this block (and this context only) with `ask`, searches with `seek`."""
    token = _ask.set(ask)
    seeking = _seek.set(seek) if seek else None
    try:
        yield
    finally:
        _ask.reset(token)
        if seeking:
            _seek.reset(seeking)

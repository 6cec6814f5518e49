"""What passes between a predictor and a model, and what a prompt form is.

A form turns a predictor's call into a prompt, reads the model's completion, and makes the row that a weight step
learns from. It has a name and a version; whatever changes a character of what it writes is a new version, since
baselines and trained weights depend on it. `forms.FORMS` holds those there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from .data import digest
from .program import Demo, Signature


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Prompt:
    """One chat, or text, to complete. `noise` (64 bits) decides its sampled tokens, whatever batch it is in."""

    messages: tuple[Message, ...] = ()
    noise: int = 0
    text: str = ""
    """Sent as it is, in place of messages: no chat template, and a special token's text is that token."""
    stop: tuple[str, ...] = ()
    """Texts that end the completion, at the first of them to appear; none is part of it."""


@dataclass(frozen=True)
class TrainingRow:
    """One predictor call to learn: the loss is on the completion (and its end of turn) alone."""

    messages: tuple[Message, ...]
    completion: str
    text: str = ""
    """The prompt as it is, in place of messages, as in `Prompt`."""


class Unparsable(ValueError):  # noqa: N818 - a wrong answer of the model, not an error of the run
    """A completion that lacks a required output; counted, shown, and scored 0, never an error of the run."""


class Unshowable(TypeError):  # noqa: N818 - as Unparsable: named by what the value is
    """A field's value that no prompt can show."""


class Form(ABC):
    """How predictors' calls are asked of a model, read, and learnt.

    A form writes the values of a signature's fields and nothing else of a program, so that two calls with equal
    signature, demos and inputs get equal prompts.
    """

    name: str
    """What recipes call it."""
    version: int

    @property
    def id(self) -> str:
        """Name and version, as baselines and frozen programs record them: `chat 1`."""
        return f"{self.name} {self.version}"

    @abstractmethod
    def ask(self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any], noise: int = 0) -> Prompt:
        """The prompt that asks for the outputs of `signature`.

        Args:
            signature: The predictor's inputs, outputs and instruction.
            demos: Worked examples to show; those that lack a field come first, so that the last thing before the
                question is a whole example (DSPy's order). A field that a demo lacks is left out.
            inputs: The values to ask about, by field name.
            noise: Goes into the prompt as it is.

        Raises:
            Unshowable: A value is no text, number or list of texts.
        """

    @abstractmethod
    def answer(self, signature: Signature, outputs: Mapping[str, Any]) -> str:
        """The completion that a model should write to say `outputs`. Raises Unshowable, as `ask`."""

    @abstractmethod
    def parse(self, signature: Signature, completion: str) -> dict[str, str]:
        """The outputs that a completion holds; an optional one that is missing is "".

        Raises Unparsable, naming the required outputs that are missing.
        """

    @abstractmethod
    def turns(
        self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]
    ) -> tuple[tuple[str, str], ...]:
        """The prompt for people, as (role, text); the inputs show in the last turn alone."""

    def row(self, signature: Signature, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> TrainingRow:
        """What a weight step learns of one call: the prompt without demos, and the outputs."""
        prompt = self.ask(signature, (), inputs)
        return TrainingRow(prompt.messages, self.answer(signature, outputs), prompt.text)

    def digest(
        self,
        signatures: Mapping[str, Signature],
        demos: Mapping[str, Sequence[Demo]] = MappingProxyType({}),
    ) -> str:
        """16 hex digits that change with anything that the form writes for predictors, by their names; inputs aside."""
        written = {}
        for name, signature in signatures.items():
            written[name] = [text for _, text in self.turns(signature, demos.get(name, ()), {})]
        return digest(written)[:16]


def partial_and_whole(signature: Signature, demos: Sequence[Demo]) -> tuple[list[Demo], list[Demo]]:
    """The demos that lack a field of the signature, and those that hold all; every form shows them in this order."""
    partial, whole = list[Demo](), list[Demo]()
    names = [field.name for field in (*signature.inputs, *signature.outputs)]
    for demo in demos:
        complete = all(name in demo.inputs or name in demo.outputs for name in names)
        (whole if complete else partial).append(demo)
    return partial, whole


def check_showable(name: str, value: Any) -> None:
    """Raise Unshowable unless a prompt can show the value of the field `name`."""
    if isinstance(value, str | bool | int | float):
        return
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return
    kind = "None" if value is None else f"a {type(value).__name__}"
    if isinstance(value, list | tuple):
        kind = f"a {type(value).__name__} that holds other things than texts"
    raise Unshowable(f"field {name!r} is {kind}: a prompt shows texts, numbers and lists of texts")

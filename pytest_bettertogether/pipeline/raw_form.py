"""The raw form, version 1: one text without chat markup, as DSPy 2.4 wrote it in mid-2024 (arXiv 2407.10930 used it).

Blocks are joined by a line of three hyphens:

    <instruction>
    ---
    Follow the following format.

    Question: ${question}
    Reasoning: Let's think step by step in order to ${produce the answer}. We ...
    Answer: ${answer}
    ---
    <a worked example>
    ---
    Question: Who ...?
    Reasoning: Let's think step by step in order to

The model goes on from there. Examples that lack a field stand before the format, whole ones after it. One thing of the
original is left out: where the last field is missing it asked again, greedily, twice at most; here such a completion
is unparsable. What is written is frozen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .program import ChainOfThought, Demo, Field, Signature
from .prompt import Form, Prompt, check_showable, partial_and_whole
from .reading import read

SEPARATOR = "\n\n---\n\n"

STOP = ("\n---",)
"""Ends a completion: the model has begun another block."""

CUE = "Let's think step by step in order to"


class RawForm(Form):
    """One text, which the model goes on from: it ends behind the first output's name (and cue)."""

    name, version = "raw", 1

    def ask(self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any], noise: int = 0) -> Prompt:
        """The text that asks for the outputs, and where to stop."""
        partial, whole = partial_and_whole(signature, demos)
        incomplete = "\n\n".join(_example(signature, demo) for demo in partial)
        complete = [_example(signature, demo) for demo in whole]
        first = signature.outputs[0]
        asked = "\n".join([_block(signature, inputs, outputs=False), _line(first, "")])
        blocks = [signature.instruction or _default(signature), incomplete, _format(signature), *complete, asked]
        return Prompt(noise=noise, text=SEPARATOR.join(block for block in blocks if block), stop=STOP)

    def answer(self, signature: Signature, outputs: Mapping[str, Any]) -> str:
        """What follows the text: the outputs, the first without its name."""
        first, *rest = signature.outputs
        written = [_text(first.name, outputs.get(first.name, ""))]
        for field in rest:
            written.append(_line(field, _text(field.name, outputs.get(field.name, ""))))
        return " " + "\n".join(written)

    def parse(self, signature: Signature, completion: str) -> dict[str, str]:
        """The outputs in a completion, up to the next block, as `reading.read` finds them."""
        return read(signature, completion.partition(STOP[0])[0], begun=True)

    def turns(
        self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]
    ) -> tuple[tuple[str, str], ...]:
        """The text in two: what comes before the question, and the question."""
        before, line, asked = self.ask(signature, demos, inputs).text.rpartition(SEPARATOR)
        return (("text", before + line), ("text", asked))


def _default(signature: Signature) -> str:
    """The instruction of a signature without one: DSPy's sentence of its fields."""
    outputs = [field for field in signature.outputs if field != ChainOfThought.REASONING]
    return f"Given the fields {_quoted(signature.inputs)}, produce the fields {_quoted(outputs)}."


def _quoted(fields: Sequence[Field]) -> str:
    return ", ".join(f"`{field.name}`" for field in fields)


def _format(signature: Signature) -> str:
    fields = (*signature.inputs, *signature.outputs)
    shown = [_line(field, _placeholder(field, signature.outputs[-1].name)) for field in fields]
    return "\n".join(["Follow the following format.", "", *shown])


def _placeholder(field: Field, answer: str) -> str:
    if field == ChainOfThought.REASONING:
        return f"${{produce the {answer}}}. We ..."
    return field.description or f"${{{field.name}}}"


def _example(signature: Signature, demo: Demo) -> str:
    return _block(signature, {**demo.inputs, **demo.outputs})


def _block(signature: Signature, values: Mapping[str, Any], outputs: bool = True) -> str:
    fields = (*signature.inputs, *(signature.outputs if outputs else ()))
    present = [field for field in fields if field.name in values]
    return "\n".join(_line(field, _text(field.name, values[field.name])) for field in present)


def _line(field: Field, text: str) -> str:
    """`Search Query: text`; a list of passages begins on a line of its own."""
    name = " ".join(word.capitalize() for word in field.name.split("_"))
    cue = f" {CUE}" if field == ChainOfThought.REASONING else ""
    space = " " if text and not text.startswith("\n") else ""
    return f"{name}:{cue}{space}{text}"


def _text(name: str, value: Any) -> str:
    """A value: passages in guillemets, several of them numbered on lines of their own, none as N/A."""
    check_showable(name, value)
    if isinstance(value, list | tuple):
        passages = [f"«{' '.join(passage.split())}»" for passage in value]
        if len(passages) < 2:
            return passages[0] if passages else "N/A"
        return "".join(f"\n[{i}] {passage}" for i, passage in enumerate(passages, 1))
    return str(value).strip()

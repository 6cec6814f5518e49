"""The prompt form of mid-2024: one text, no chat markup, as DSPy 2.4 wrote it (facts: notes on the paper, 3.5).

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

The model goes on from there. Examples that lack a field stand before the format, whole ones after it. Of the original
we leave out one thing: where the last field is missing it asked again, greedily, twice at most; here such a completion
is unparsable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from . import prompt
from .program import ChainOfThought, Demo, Field, Signature

SEPARATOR = "\n\n---\n\n"

STOP = ("\n---",)
"""Ends a completion: the model has begun another block."""

CUE = "Let's think step by step in order to"


def render(signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]) -> str:
    """The text to go on from: it ends behind the first output's name (and cue)."""
    whole, partial = list[str](), list[str]()
    for demo in demos:
        values = {**demo.inputs, **demo.outputs}
        complete = all(each.name in values for each in (*signature.inputs, *signature.outputs))
        (whole if complete else partial).append(_block(signature, values))
    first = signature.outputs[0]
    asked = "\n".join([_block(signature, inputs, outputs=False), _line(first, "")])
    blocks = [signature.instruction or _default(signature), "\n\n".join(partial), _format(signature), *whole, asked]
    return SEPARATOR.join(block for block in blocks if block)


def render_outputs(signature: Signature, values: Mapping[str, Any]) -> str:
    """What follows `render`'s text: the outputs, the first without its name."""
    first, *rest = signature.outputs
    lines = [_text(values.get(first.name, "")), *(_line(each, _text(values.get(each.name, ""))) for each in rest)]
    return " " + "\n".join(lines)


def parse(signature: Signature, completion: str) -> dict[str, str]:
    """The outputs in a completion, as `prompt.parse` reads them. Raises Unparsable."""
    return prompt.parse(signature, completion.partition(STOP[0])[0])


def _default(signature: Signature) -> str:
    """The instruction of a signature without one: DSPy's sentence of its fields."""
    outputs = [each for each in signature.outputs if each != ChainOfThought.REASONING]
    named = [", ".join(f"`{each.name}`" for each in fields) for fields in (signature.inputs, outputs)]
    return f"Given the fields {named[0]}, produce the fields {named[1]}."


def _format(signature: Signature) -> str:
    answer = signature.outputs[-1].name
    lines = [
        _line(each, f"${{produce the {answer}}}. We ..." if each == ChainOfThought.REASONING else _placeholder(each))
        for each in (*signature.inputs, *signature.outputs)
    ]
    return "\n".join(["Follow the following format.", "", *lines])


def _placeholder(field: Field) -> str:
    return field.description or f"${{{field.name}}}"


def _block(signature: Signature, values: Mapping[str, Any], outputs: bool = True) -> str:
    fields = (*signature.inputs, *(signature.outputs if outputs else ()))
    return "\n".join(_line(each, _text(values[each.name])) for each in fields if each.name in values)


def _line(field: Field, text: str) -> str:
    """`Search Query: text`; a list of passages begins on a line of its own."""
    name = " ".join(word.capitalize() for word in field.name.split("_"))
    cue = f" {CUE}" if field == ChainOfThought.REASONING else ""
    return f"{name}:{cue}{text if text.startswith(chr(10)) else f' {text}' if text else ''}"


def _text(value: Any) -> str:
    """A value: passages in guillemets, several of them numbered on lines of their own, none as N/A."""
    if isinstance(value, list | tuple):
        passages = [f"«{' '.join(str(each).split())}»" for each in value]
        if len(passages) < 2:
            return passages[0] if passages else "N/A"
        return "".join(f"\n[{i}] {each}" for i, each in enumerate(passages, 1))
    return str(value).strip()

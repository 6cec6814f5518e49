"""The chat form, version 1: a system turn, a user and an assistant turn for each demo, and the question.

    system      <instruction>
                Inputs: question, context (what was found so far)
                Outputs: reasoning (think step by step), answer
                Reply with the outputs in order, each starting with its name and a colon.
    user        question: Who ...?
                context: N/A
    assistant   reasoning: ...
                answer: ...
    user        ...

A value may run over several lines. A line of a value that would itself read as a field
header is written with a backslash before it, so that rendering is unambiguous:
`parse(answer(values)) == values` for any text, up to outer white space and the
kind of line break.

What is written is frozen: the embedded model was trained on it and baselines were recorded with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .program import Demo, Field, Signature
from .prompt import Form, Message, Prompt, check_showable, partial_and_whole
from .reading import headers, is_escaped, lines, read

LAYOUT = "Reply with the outputs in order, each starting with its name and a colon."


class ChatForm(Form):
    """Messages, which reach the model through its own chat template."""

    name, version = "chat", 1

    def ask(self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any], noise: int = 0) -> Prompt:
        """The chat that asks for the outputs; an optional output of a demo that is empty is left out."""
        messages = [Message("system", _system(signature))]
        partial, whole = partial_and_whole(signature, demos)
        for demo in (*partial, *whole):
            messages.append(Message("user", _written(signature, signature.inputs, demo.inputs)))
            messages.append(Message("assistant", self.answer(signature, demo.outputs)))
        messages.append(Message("user", _written(signature, signature.inputs, inputs)))
        return Prompt(tuple(messages), noise)

    def answer(self, signature: Signature, outputs: Mapping[str, Any]) -> str:
        """The assistant's turn: the outputs that there are, in the signature's order."""
        return _written(signature, signature.outputs, outputs)

    def parse(self, signature: Signature, completion: str) -> dict[str, str]:
        """The outputs in a completion, as `reading.read` finds them."""
        return read(signature, completion)

    def turns(
        self, signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]
    ) -> tuple[tuple[str, str], ...]:
        """The messages."""
        return tuple((message.role, message.content) for message in self.ask(signature, demos, inputs).messages)


def _system(signature: Signature) -> str:
    written = [
        f"Inputs: {_listed(signature.inputs)}",
        f"Outputs: {_listed(signature.outputs)}",
        LAYOUT,
    ]
    return "\n".join([signature.instruction, *written] if signature.instruction else written)


def _listed(fields: Iterable[Field]) -> str:
    described = {field.name: " ".join(field.description.split()) for field in fields}
    return ", ".join(f"{name} ({text})" if text else name for name, text in described.items())


def _written(signature: Signature, fields: Sequence[Field], values: Mapping[str, Any]) -> str:
    """The fields that `values` holds, each with its header; an optional one that is empty is left out."""
    pattern = headers(signature)
    written = []
    for field in fields:
        if field.name not in values:
            continue
        text = _text(field.name, values[field.name])
        if not text and not field.required:
            continue  # an empty header would only teach models to write one
        first, *rest = lines(text)
        # The first line stands behind its own header and cannot be taken for another.
        written.append(f"{field.name}: {first}" if first else f"{field.name}:")
        written.extend("\\" + line if pattern.match(line) or is_escaped(pattern, line) else line for line in rest)
    return "\n".join(written)


def _text(name: str, value: Any) -> str:
    """A value as the prompt shows it: passages as a numbered list, an empty one as N/A."""
    check_showable(name, value)
    if isinstance(value, list | tuple):
        return "\n".join(f"[{i}] {' '.join(item.split())}" for i, item in enumerate(value, 1)) or "N/A"
    return str(value).strip()

"""The prompt format: signature, demos and inputs to chat messages; completion text to fields.

Version 1, frozen: the embedded model was trained on it and every baseline was recorded
with it, so a change of a single character here is a new version.

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
`parse(render_outputs(values)) == values` for any text, up to outer white space and the
kind of line break.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .program import Demo, Field, Signature

PROMPT_FORMAT = 1

LAYOUT = "Reply with the outputs in order, each starting with its name and a colon."


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


_FOREIGN_LABEL = re.compile(
    r"[*_# \t]*(?:the )?(?:answer|output|result|response)(?: is)?[*_]*[ \t]*:[*_]*\s*", re.IGNORECASE
)


class Unparsable(ValueError):  # noqa: N818 - a wrong answer of the model, not an error of the run
    """A completion that lacks a required output; counted, shown, and scored 0, never an error of the run."""


def render(signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    """The chat that asks for the outputs of `signature`: system turn, a user/assistant pair per demo, the question.

    Demos that lack a field go first, so that the last thing before the question is a whole
    example (DSPy's order; reference: dspy/adapters/base.py). A missing field is left out, and so is an
    optional output that is empty.
    """
    whole = [demo for demo in demos if _complete(signature, demo)]
    partial = [demo for demo in demos if not _complete(signature, demo)]
    messages = [Message("system", _system(signature))]
    for demo in (*partial, *whole):
        messages.append(Message("user", render_inputs(signature, demo.inputs)))
        messages.append(Message("assistant", render_outputs(signature, demo.outputs)))
    messages.append(Message("user", render_inputs(signature, inputs)))
    return tuple(messages)


def render_inputs(signature: Signature, values: Mapping[str, Any]) -> str:
    """A user turn: the inputs that `values` holds, in the signature's order."""
    return _render(signature, signature.inputs, values)


def render_outputs(signature: Signature, values: Mapping[str, Any]) -> str:
    """An assistant turn: the outputs that `values` holds, in the signature's order; what step w trains on."""
    return _render(signature, signature.outputs, values)


def parse(signature: Signature, completion: str) -> dict[str, str]:
    """The outputs in a completion, stripped of outer white space; a missing optional output is "".

    Forgiving about what small models do: headers in another case, with spaces for
    underscores or in Markdown bold; text before the first header (it is the first
    output's, less a label such as "Answer:"); going on with a next example (it is cut off); saying a field twice (the
    first counts). Raises Unparsable naming the outputs that are missing.
    """
    headers = _headers(signature)
    outputs = [each.name for each in signature.outputs]
    values: dict[str, list[str]] = {}
    # What comes before any header belongs to the first output, if that has no header of its own.
    preamble: list[str] = []
    current: list[str] | None = preamble
    for line in _lines(completion):
        header = headers.match(line)
        if header is None:
            if current is not None:
                current.append(line[1:] if _escaped(headers, line) else line)
            continue
        name = _field_named(signature, header["name"])
        if name in outputs and name not in values:
            current = values[name] = [_after(header, line)]
        else:
            # An input's header, or an output's second one: the model has begun another example.
            current = None
    found = {name: "\n".join(lines).strip() for name, lines in values.items()}
    first = outputs[0]
    if first not in found and "".join(preamble).strip():
        found[first] = _without_label("\n".join(preamble).strip())
    missing = [each.name for each in signature.outputs if each.required and each.name not in found]
    if missing:
        raise Unparsable(f"the completion has no {' and no '.join(missing)}: {completion[:80]!r}")
    return {name: found.get(name, "") for name in outputs}


def _system(signature: Signature) -> str:
    lines = [
        f"Inputs: {_listed(signature.inputs)}",
        f"Outputs: {_listed(signature.outputs)}",
        LAYOUT,
    ]
    return "\n".join([signature.instruction, *lines] if signature.instruction else lines)


def _listed(fields: Iterable[Field]) -> str:
    described = {each.name: " ".join(each.description.split()) for each in fields}
    return ", ".join(f"{name} ({text})" if text else name for name, text in described.items())


def _complete(signature: Signature, demo: Demo) -> bool:
    return all(each.name in demo.inputs for each in signature.inputs) and all(
        each.name in demo.outputs for each in signature.outputs
    )


def _render(signature: Signature, fields: Sequence[Field], values: Mapping[str, Any]) -> str:
    headers = _headers(signature)
    rendered = []
    for each in fields:
        if each.name in values:
            text = _text(each.name, values[each.name])
            if not text and not each.required:
                continue  # parse() gives "" for it: an empty header would only teach models to write one
            first, *rest = _lines(text)
            # The first line stands behind its own header and cannot be taken for another.
            rendered.append(f"{each.name}: {first}" if first else f"{each.name}:")
            rendered.extend("\\" + line if headers.match(line) or _escaped(headers, line) else line for line in rest)
    return "\n".join(rendered)


def _text(name: str, value: Any) -> str:
    """A value as the prompt shows it: passages as a numbered list, an empty one as N/A."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(f"[{i}] {' '.join(item.split())}" for i, item in enumerate(value, 1)) or "N/A"
    raise TypeError(f"field {name!r}: a prompt shows text, numbers or a list of texts, not {type(value).__name__}")


def _lines(text: str) -> list[str]:
    return text.strip().replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _headers(signature: Signature) -> re.Pattern[str]:
    """Matches a line that opens with a field's name and a colon, however a model may dress it up."""
    names = sorted((each.name for each in (*signature.inputs, *signature.outputs)), key=len, reverse=True)
    alternatives = "|".join("[ _]?".join(map(re.escape, name.split("_"))) for name in names)
    return re.compile(rf"[ \t]*(?P<open>[*_`#>-]*)[ \t]*(?P<name>{alternatives})[*_`]*[ \t]*:", re.IGNORECASE)


def _escaped(headers: re.Pattern[str], line: str) -> bool:
    """Whether a line is backslashes and then a header; any other backslash is the value's own (LaTeX)."""
    return line.startswith("\\") and headers.match(line.lstrip("\\")) is not None


def _field_named(signature: Signature, written: str) -> str:
    folded = re.sub("[ _]", "", written.lower())
    return next(
        each.name for each in (*signature.inputs, *signature.outputs) if each.name.lower().replace("_", "") == folded
    )


def _without_label(text: str) -> str:
    """Text without the label that a model wrote in place of the field's own name."""
    label = _FOREIGN_LABEL.match(text)
    return text[label.end() :] if label else text


def _after(header: re.Match[str], line: str) -> str:
    """The value's first line; a bold header may close its bold behind the colon (`**answer:** 42`)."""
    value, opened = line[header.end() :], header["open"].strip("#>-")
    return value.lstrip()[len(opened) :] if opened and value.lstrip().startswith(opened) else value

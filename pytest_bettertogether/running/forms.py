"""The two forms in which a predictor's call reaches a model, by the name that recipes use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engines.protocol import Prompt, TrainingRow
from ..pipeline import prompt
from ..pipeline import raw_prompt as raw
from ..pipeline.program import Demo, Signature


@dataclass(frozen=True)
class Form:
    """How a call is asked, read and learnt."""

    ask: Callable[[Signature, Sequence[Demo], Mapping[str, Any], int], Prompt]
    """(signature, demos, inputs, noise) -> what is sent."""
    parse: Callable[[Signature, str], dict[str, str]]
    """(signature, completion) -> outputs. Raises Unparsable."""
    row: Callable[[Signature, Mapping[str, Any], Mapping[str, Any]], TrainingRow]
    """(signature, inputs, outputs) -> what step w trains on: the prompt without demos."""
    turns: Callable[[Signature, Sequence[Demo], Mapping[str, Any]], list[tuple[str, str]]]
    """(signature, demos, inputs) -> the prompt for people, as (role, text); the inputs show in the last turn alone."""


def _ask_raw(signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any], noise: int) -> Prompt:
    return Prompt(noise=noise, text=raw.render(signature, demos, inputs), stop=raw.STOP)


def _row_raw(signature: Signature, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> TrainingRow:
    return TrainingRow((), raw.render_outputs(signature, outputs), raw.render(signature, (), inputs))


def _turns_raw(signature: Signature, demos: Sequence[Demo], inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    before, line, asked = raw.render(signature, demos, inputs).rpartition(raw.SEPARATOR)
    return [("text", before + line), ("text", asked)]


FORMS: Mapping[str, Form] = {
    "chat": Form(
        lambda signature, demos, inputs, noise: Prompt(prompt.render(signature, demos, inputs), noise),
        prompt.parse,
        lambda signature, inputs, outputs: TrainingRow(
            prompt.render(signature, (), inputs), prompt.render_outputs(signature, outputs)
        ),
        lambda signature, demos, inputs: [(m.role, m.content) for m in prompt.render(signature, demos, inputs)],
    ),
    "raw": Form(_ask_raw, raw.parse, _row_raw, _turns_raw),
}

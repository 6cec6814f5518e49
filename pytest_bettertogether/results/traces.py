"""What a program's calls looked like, as plain text: for people who read reports, and bounded for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT = 20_000
"""Characters kept of one text of a trace."""
SAID = 500
"""Characters kept of a text in a table: a program's output, a field of an example."""
PER_SEED = 500_000
"""Characters of traces that one seed of a cell keeps: the examples with the lowest scores first."""


@dataclass(frozen=True)
class CallRecord:
    """One predictor call: the last turn of its prompt, the completion as it came, and what was read out of it.

    The turns before the last are the same for every example: `SeedResult.prompts` has them. `fields` is None
    where the completion could not be parsed. `passages` are the inputs that were lists of texts, by name.
    """

    predictor: str
    asked: str
    completion: str
    fields: dict[str, str] | None
    passages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False

    @property
    def size(self) -> int:
        """Characters."""
        passages = sum(len(text) for texts in self.passages.values() for text in texts)
        return len(self.asked) + len(self.completion) + sum(map(len, (self.fields or {}).values())) + passages


@dataclass(frozen=True)
class DemoRecord:
    """A demo as text; `bootstrapped` if it comes from a trace, not from a label."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    bootstrapped: bool


def cut(text: str, length: int = TEXT) -> str:
    """At most so many characters of a text, and a remark on how many it had."""
    return text if len(text) <= length else f"{text[:length]}… [{len(text):,} characters, cut]"


def as_text(values: Mapping[str, Any], length: int = TEXT) -> dict[str, str]:
    """Fields as text; a list as a line per item."""
    return {
        name: cut("\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value), length)
        for name, value in values.items()
    }

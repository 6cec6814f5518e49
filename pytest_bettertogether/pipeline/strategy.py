"""The strategy language: `p -> w -> p`, or `pwp` for short; the empty strategy is `zero`."""

from collections.abc import Iterator
from dataclasses import dataclass

STEPS = {"p": "prompts", "w": "weights"}
"""One-letter step names and their long forms; strategies are written in either."""


@dataclass(frozen=True)
class Strategy:
    """A sequence of optimisation steps: Π is `p`, Θ is `w` (paper, section 2)."""

    steps: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Strategy":
        """Read `"pwp"`, `"p -> w -> p"`, `"prompts -> weights"` or `"zero"`.

        Raises ValueError that names the unknown step and the steps there are.
        """
        written = text.strip()
        if written == "zero":
            return cls()
        aliases = {**{short: short for short in STEPS}, **{name: short for short, name in STEPS.items()}}
        parts = [part.strip() for part in written.split("->")]
        if len(parts) == 1 and parts[0] not in aliases:
            parts = list(parts[0])
        unknown = [part for part in parts if part not in aliases]
        if unknown or not parts:
            raise ValueError(
                f"strategy {text!r}: unknown step {unknown[0] if unknown else ''!r}; write 'zero', or steps from "
                f"{', '.join(f'{short} ({name})' for short, name in STEPS.items())} such as pwp or 'p -> w -> p'"
            )
        return cls(tuple(aliases[part] for part in parts))

    @property
    def id(self) -> str:
        """The short form, as in test ids and baselines: `pwp`, `zero`."""
        return "".join(self.steps) or "zero"

    @property
    def title(self) -> str:
        """The form for people: `p → w → p`, `zero-shot`."""
        return " → ".join(self.steps) or "zero-shot"

    def prefixes(self) -> Iterator[tuple[str, ...]]:
        """The path after each step: ("p",), ("p", "w"), ("p", "w", "p")."""
        for end in range(1, len(self.steps) + 1):
            yield self.steps[:end]


PAPER = tuple(Strategy.parse(text) for text in ("zero", "p", "w", "pp", "ww", "pw", "wp", "pwp"))
"""The eight strategies of the paper's Table 1, in its order."""

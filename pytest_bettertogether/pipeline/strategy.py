"""The strategy language: `p -> w -> p`, or `pwp` for short; the empty strategy is `zero`."""

from collections.abc import Iterator
from dataclasses import dataclass

from .steps import KINDS, Kinds, listed

ZERO = "zero"
"""How the strategy without steps is written."""


@dataclass(frozen=True)
class Strategy:
    """A sequence of optimisation steps, by their letters: Π is `p`, Θ is `w` (paper, section 2).

    Raises ValueError for steps whose letters would read as the strategy without steps.
    """

    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.steps == tuple(ZERO):
            raise ValueError(f"strategy {ZERO!r} is the one without steps, and cannot name four of them")

    @classmethod
    def parse(cls, text: str, kinds: Kinds = KINDS) -> "Strategy":
        """Read `"pwp"`, `"p -> w -> p"`, `"prompts -> weights"` or `"zero"`.

        Args:
            text: What a user wrote.
            kinds: The steps that there are.

        Raises:
            ValueError: It names the unknown step and the steps there are.
        """
        written = text.strip()
        if written == ZERO:
            return cls()
        letters = {name: kind.letter for kind in kinds.values() for name in (kind.letter, kind.name)}
        parts = [part.strip() for part in written.split("->")]
        if len(parts) == 1 and parts[0] not in letters:
            parts = list(parts[0])
        unknown = [part for part in parts if part not in letters]
        if unknown or not parts:
            raise ValueError(
                f"strategy {text!r}: unknown step {unknown[0] if unknown else ''!r}; write {ZERO!r}, or steps from "
                f"{listed(kinds)} such as pwp or 'p -> w -> p'"
            )
        return cls(tuple(letters[part] for part in parts))

    @classmethod
    def of(cls, written: str) -> "Strategy":
        """The strategy with this id, whose steps need not be known here: a record's, a baseline's."""
        return cls() if written == ZERO else cls(tuple(written))

    @property
    def id(self) -> str:
        """The short form, as in test ids and baselines: `pwp`, `zero`."""
        return "".join(self.steps) or ZERO

    @property
    def title(self) -> str:
        """The form for people: `p → w → p`, `zero-shot`."""
        return " → ".join(self.steps) or "zero-shot"

    @property
    def kinds(self) -> frozenset[str]:
        """The letters that it has, each once."""
        return frozenset(self.steps)

    def prefixes(self) -> Iterator[tuple[str, ...]]:
        """The path after each step: ("p",), ("p", "w"), ("p", "w", "p")."""
        for end in range(1, len(self.steps) + 1):
            yield self.steps[:end]


PAPER = tuple(Strategy.parse(text) for text in ("zero", "p", "w", "pp", "ww", "pw", "wp", "pwp"))
"""The eight strategies of the paper's Table 1, in its order."""

"""What a kind of optimisation step says of itself, as plain data, and the two kinds of the paper.

Strategies, plans, reports and pages know a step by its `StepKind` and by nothing else. So a report can be read where
the package that brought a step is not installed: the report carries the kinds that its strategies name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from .fixed import Fixed

Part = Literal["demos", "instructions", "weights", "kept"]
"""What a step may change of a program: the fields of `ProgramState`."""
Need = Literal["training", "likelihoods", "reflection"]
"""What a step asks of an engine beside completions: fine-tuning; log-likelihoods; texts that reflect on what went wrong
(of the model itself, unless another one is named)."""
Mark = Literal["square", "triangle-up", "triangle-down", "triangle-left", "triangle-right", "cross"]
"""How charts draw the strategies that have steps of one kind alone, so that they can be told apart without colours.
The circle is the program as written, the diamond several kinds together."""

LETTER = re.compile(r"[a-z]")
NAME = re.compile(r"[a-z][a-z0-9_]{2,29}")
COLOUR = re.compile(r"#[0-9a-f]{6}")
WORDS = 100
"""Characters of a text that a kind shows to people, at most."""


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """What a step says of itself.

    Raises ValueError, which names the value and what is allowed, if one of them cannot be used or shown.
    """

    letter: str
    """How strategies, test ids and baselines write it: one lower-case ASCII letter."""
    name: str
    """How it is written in full, and the prefix of its own recipe values: `prompts`."""
    noun: str
    """One such step in a sentence: `prompt step`."""
    plural: str
    """Several of them: `prompt steps`."""
    does: str
    """What it does, as the end of a sentence that begins with its name: `searches the demos of each predictor`."""
    changes: tuple[Part, ...]
    """What of the program it may set."""
    clears: tuple[Part, ...] = ()
    """What it puts back to what the user wrote."""
    needs: tuple[Need, ...] = ()
    """What the engine must be able to do; on one that cannot, the step is refused before it runs."""
    colours: tuple[str, str]
    """As `#rrggbb`, on a light page and on a dark one."""
    mark: Mark

    def __post_init__(self) -> None:
        for field in ("changes", "clears", "needs", "colours"):
            value = getattr(self, field)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise self._wrong(field, "a tuple of texts")
            object.__setattr__(self, field, tuple(value))
        self._check_pattern("letter", LETTER, "one lower-case letter from a to z")
        self._check_pattern("name", NAME, "3 to 30 lower-case letters, digits or underscores, a letter first")
        if self.name == "zero":
            raise self._wrong("name", "another word: zero is the strategy without steps")
        for field in ("noun", "plural", "does"):
            self._check_words(field)
        self._check_among("changes", get_args(Part))
        self._check_among("clears", get_args(Part))
        self._check_among("needs", get_args(Need))
        if not self.changes:
            raise self._wrong("changes", f"at least one of {', '.join(get_args(Part))}")
        if set(self.changes) & set(self.clears):
            raise self._wrong("clears", "only what the step does not set itself")
        if len(self.colours) != 2 or not all(isinstance(text, str) and COLOUR.fullmatch(text) for text in self.colours):
            raise self._wrong("colours", "two colours as #rrggbb, for a light page and for a dark one")
        if self.mark not in get_args(Mark):
            raise self._wrong("mark", f"one of {', '.join(get_args(Mark))}")

    @property
    def only(self) -> str:
        """The strategies that have no other kind of step: `prompts only`."""
        return f"{self.name} only"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StepKind":
        """Read what `to_json` wrote. Raises ValueError or TypeError for anything else."""
        return cls(**data)

    def _check_pattern(self, field: str, pattern: re.Pattern[str], allowed: str) -> None:
        value = getattr(self, field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(field, allowed)

    def _check_words(self, field: str) -> None:
        value = getattr(self, field)
        if not isinstance(value, str) or not value.strip() or len(value) > WORDS or not value.isprintable():
            raise self._wrong(field, f"1 to {WORDS} printable characters on one line")

    def _check_among(self, field: str, allowed: tuple[str, ...]) -> None:
        if not set(getattr(self, field)) <= set(allowed):
            raise self._wrong(field, f"some of {', '.join(allowed)}")

    def _wrong(self, field: str, allowed: str) -> ValueError:
        value = repr(getattr(self, field))[:WORDS]
        return ValueError(f"step kind {str(self.name)[:30]!r}: {field}={value}: expected {allowed}")


Kinds = Mapping[str, StepKind]
"""The kinds of step that strategies may name, by letter, in the order in which reports list them."""

PROMPTS = StepKind(
    letter="p",
    name="prompts",
    noun="prompt step",
    plural="prompt steps",
    does="searches the demos of each predictor among the program's own passing runs and its labels",
    changes=("demos",),
    colours=("#0072b2", "#58b0e8"),
    mark="square",
)
"""Π of the paper: bootstrapped few-shot random search."""
WEIGHTS = StepKind(
    letter="w",
    name="weights",
    noun="weight step",
    plural="weight steps",
    does="trains one LoRA on the program's own passing runs",
    changes=("weights",),
    clears=("demos",),
    needs=("training",),
    colours=("#b45309", "#f0a04b"),
    mark="triangle-up",
)
"""Θ of the paper: bootstrapped fine-tuning."""


def catalogue(kinds: Iterable[StepKind]) -> Kinds:
    """The kinds by letter, read-only. Raises ValueError if two of them could not be told apart in a strategy."""
    known: dict[str, StepKind] = {}
    for kind in kinds:
        for other in known.values():
            if kind.letter == other.letter or kind.name == other.name:
                raise ValueError(
                    f"step {kind.letter} ({kind.name}): {other.letter} ({other.name}) is there already: "
                    f"take another letter than {', '.join(known)} and another name"
                )
        known[kind.letter] = kind
    for kind in known.values():
        if set(kind.name) <= set(known):
            raise ValueError(
                f"step {kind.letter} ({kind.name}): its name also reads as a strategy of the steps {', '.join(known)}: "
                "take another name"
            )
    return Fixed(known)


KINDS: Kinds = catalogue((PROMPTS, WEIGHTS))
"""The built-in kinds."""


def listed(kinds: Kinds) -> str:
    """The kinds for a sentence: `p (prompts), w (weights)`."""
    return ", ".join(f"{kind.letter} ({kind.name})" for kind in kinds.values())


def parts_after(path: Iterable[str], kinds: Kinds, start: frozenset[Part] = frozenset()) -> frozenset[Part]:
    """What of a program may differ from what the user wrote, after these steps; `start`: what did before them."""
    parts = start
    for letter in path:
        parts = (parts - set(kinds[letter].clears)) | set(kinds[letter].changes)
    return parts

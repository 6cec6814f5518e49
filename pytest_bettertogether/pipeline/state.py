"""The state of a program: all that optimisation may change of it, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .adapter import Adapter
from .data import digest
from .fixed import Fixed, fixed, plain, unfit_for_json
from .program import Demo, Signature
from .steps import LETTER, Part


@dataclass(frozen=True)
class ProgramState:
    """What optimisation changes of a program Φ(Θ, Π): the texts in its prompts (Π) and its weights (Θ).

    The empty state is the program as written, on the base model. Whatever is given is copied and made read-only, so
    that no step can change the state of another one.

    Raises ValueError, which names the part, for what no program can hold.
    """

    demos: Mapping[str, tuple[Demo, ...]] = field(default_factory=Fixed)
    """Worked examples in a predictor's prompts, by the predictor's name."""
    adapter: Adapter | None = None
    """The tuned weights; None for those of the base model."""
    instructions: Mapping[str, str] = field(default_factory=Fixed)
    """Texts that stand in place of a predictor's own instruction, by the predictor's name."""
    kept: Mapping[str, Any] = field(default_factory=Fixed)
    """What a step wants to find again when it is done once more: JSON data, by the step's letter."""

    def __post_init__(self) -> None:
        for predictor, text in self.instructions.items():
            if not isinstance(predictor, str) or not isinstance(text, str):
                raise ValueError(f"instructions[{predictor!r}] is a {type(text).__name__}: expected a text")
        for letter, value in self.kept.items():
            if not isinstance(letter, str) or not LETTER.fullmatch(letter):
                raise ValueError(f"kept[{letter!r}]: expected the letter of a step")
            if wrong := unfit_for_json(value, f"kept[{letter!r}]"):
                raise ValueError(f"{wrong}: keep texts, numbers, lists and mappings")
        for predictor, demos in self.demos.items():
            if not isinstance(predictor, str) or not all(isinstance(demo, Demo) for demo in demos):
                raise ValueError(f"demos[{predictor!r}]: expected a tuple of Demo")
        for part in ("instructions", "kept"):
            object.__setattr__(self, part, fixed(getattr(self, part)))
        object.__setattr__(self, "demos", Fixed({name: tuple(demos) for name, demos in self.demos.items()}))

    def signature(self, predictor: str, written: Signature) -> Signature:
        """What a predictor asks with: its signature as written, with the instruction of this state if it has one."""
        if predictor not in self.instructions:
            return written
        return replace(written, instruction=self.instructions[predictor])

    def differs(self, other: "ProgramState") -> frozenset[Part]:
        """Which parts of the two are not the same."""
        parts: dict[Part, bool] = {
            "demos": self.demos != other.demos,
            "instructions": self.instructions != other.instructions,
            "weights": self.adapter != other.adapter,
            "kept": self.kept != other.kept,
        }
        return frozenset(part for part, different in parts.items() if different)

    def texts(self) -> dict[str, Any]:
        """Everything but the weights, as JSON data; `from_texts` reads it back."""
        demos = {
            predictor: [
                {"inputs": plain(demo.inputs), "outputs": plain(demo.outputs), "bootstrapped": demo.bootstrapped}
                for demo in demos
            ]
            for predictor, demos in self.demos.items()
        }
        return {"demos": demos, "instructions": plain(self.instructions), "kept": plain(self.kept)}

    @classmethod
    def from_texts(cls, texts: Mapping[str, Any], adapter: Adapter | None = None) -> "ProgramState":
        """Read what `texts` wrote; what is not there is as the user wrote it."""
        demos = {
            predictor: tuple(Demo(**demo) for demo in written) for predictor, written in texts.get("demos", {}).items()
        }
        return cls(demos, adapter, texts.get("instructions", {}), texts.get("kept", {}))

    @property
    def digest(self) -> str:
        """64 hex digits that are the same in every process, and change with anything in the state."""
        return digest([self.texts(), self.adapter.digest if self.adapter else ""])

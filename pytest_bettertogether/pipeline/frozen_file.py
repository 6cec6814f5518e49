"""What a frozen folder's program.json says, read from a file that anybody may have written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .inert_text import plain
from .json_file import read_json
from .json_values import from_json
from .program import Demo, Predict
from .prompt import Form
from .state import ProgramState
from .steps import LETTER
from .strategy import ZERO

READ = (1, 2)
"""Formats that are read. Format 1 knew no instructions, nothing that steps keep, and no prompt form: what it says of
prompts is always the chat form's."""


@dataclass(frozen=True)
class FrozenPredictor:
    """One predictor: its prompt as written, before any demo, and what optimisation made of it."""

    prompt: str
    demos: tuple[Demo, ...] = ()
    instruction: str | None = None


@dataclass(frozen=True)
class FrozenFile:
    """The part of program.json that is used when the program runs again; the rest is for people."""

    format: int
    predictors: Mapping[str, FrozenPredictor]
    strategy: str
    """The steps that made it, as an id: `pw`."""
    adapter: str = ""
    """Digest of the adapter beside it; empty for the base model's weights."""
    form: str = ""
    """Name and version of the prompt form; empty where the file was written before it told."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    """Name, revision and digest of the weights that the adapter was trained on."""

    @classmethod
    def read(cls, path: Path) -> "FrozenFile":
        """Read the file.

        Raises:
            ValueError, TypeError: It is not what this version reads; the text is one clause that says why.
            OSError: It cannot be read.
        """
        data = read_json(path)
        if not isinstance(data, dict) or "format" not in data:
            raise ValueError("it has no format, as each exported program has")
        if type(data["format"]) is not int or data["format"] not in READ:
            raise ValueError(f"it has format {_shown(data['format'])}, and this version reads 1 and 2")
        used = {name.name for name in fields(cls)}
        file = from_json(cls, {name: value for name, value in data.items() if name in used})
        if file.strategy != ZERO and not all(map(LETTER.fullmatch, file.strategy)):
            raise ValueError(f"its strategy is {_shown(file.strategy)}: expected letters of steps, as in pw")
        return file

    def state(self) -> ProgramState:
        """The texts of the program, without its adapter. Raises ValueError for what no program can hold."""
        demos = {name: predictor.demos for name, predictor in self.predictors.items() if predictor.demos}
        instructions = {
            name: predictor.instruction
            for name, predictor in self.predictors.items()
            if predictor.instruction is not None
        }
        return ProgramState(demos=demos, instructions=instructions, kept=self.kept)


def check_demos(state: ProgramState, sites: Mapping[str, Predict], form: Form) -> None:
    """Raise ValueError or TypeError for a demo that its predictor's prompt cannot show.

    Args:
        state: The texts that were read.
        sites: The program's predictors as written, by name.
        form: The prompt form that they are asked in.
    """
    for name, demos in state.demos.items():
        signature = sites[name].signature
        for i, demo in enumerate(demos):
            unknown = [
                *_beyond(demo.inputs, [field.name for field in signature.inputs]),
                *_beyond(demo.outputs, [field.name for field in signature.outputs]),
            ]
            if unknown:
                raise ValueError(f"demo {i} of predictor {name!r} has the field {_shown(unknown[0])}, which it lacks")
        form.turns(state.signature(name, signature), demos, {})


def _beyond(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return sorted(set(values) - set(names))


def _shown(value: Any) -> str:
    return plain(repr(value), 60)

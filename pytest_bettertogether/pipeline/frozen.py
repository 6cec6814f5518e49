"""Frozen programs: what optimisation made of a program, as a folder that can be committed and evaluated.

program.json    each predictor's prompt as written, its demos, and its instruction if that was changed; what steps keep;
                where the program comes from
adapter/        safetensors + JSON, if its weights were tuned
README.md       a model card (cells/model_card.py)
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .adapter import ADAPTER_FILES, Adapter, adapter_digest
from .atomic import write_bytes, write_text
from .errors import ProgramError
from .forms import FORMS
from .frozen_file import FrozenFile, check_demos
from .inert_text import plain
from .program import Program
from .prompt import Form
from .state import ProgramState
from .strategy import Strategy

FORMAT = 2
CHAT = FORMS["chat"]
FILE, ADAPTER, CARD = "program.json", "adapter", "README.md"


@dataclass(frozen=True)
class Frozen:
    """A program, and the folder that holds its demos and weights; stands where a task takes a program."""

    program: Callable[[], Program]
    folder: Path

    def __call__(self) -> Program:
        """The program as written."""
        return self.program()

    def state(self, engine: Mapping[str, str], form: Form | None = None) -> ProgramState:
        """The texts and the adapter, to run on the engine that describes itself so, asked in the prompt form `form`.

        Raises ProgramError if they are not those of this program and model, or are not whole.
        """
        file = self._read()
        made = self._form_of(file)
        if form and made and form != made:
            raise ProgramError(
                f"frozen program {self.folder}: it was optimised in the prompt form {made.id}, and the recipe asks in "
                f'{form.id}: write Task(recipe={{"prompt": "{made.name}"}}), or set --bt-set=prompt={made.name}'
            )
        program = self.program()
        written = prompts(program, made or CHAT)
        exported = {name: predictor.prompt for name, predictor in file.predictors.items()}
        if exported != written:
            raise self._unfit(_difference(exported, written))
        try:
            state = file.state()
            check_demos(state, program.predictors(), made or CHAT)
        except (ValueError, TypeError) as error:
            raise self._unfit(f"its {FILE} holds what the program cannot use: {plain(str(error))}") from None
        return replace(state, adapter=self._adapter(file, engine))

    @property
    def form(self) -> Form | None:
        """The prompt form in which it was optimised; None where the folder was written before it told."""
        return self._form_of(self._read())

    @property
    def steps(self) -> tuple[str, ...]:
        """Those that made it."""
        return Strategy.of(self._read().strategy).steps

    @property
    def digest(self) -> str:
        """16 hex digits that change with anything in it. Raises ProgramError if it cannot be read."""
        try:
            return hashlib.sha256((self.folder / FILE).read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise self._unread(error) from None

    def _read(self) -> FrozenFile:
        try:
            return FrozenFile.read(self.folder / FILE)
        except (OSError, ValueError, TypeError) as error:
            raise self._unread(error) from None

    def _form_of(self, file: FrozenFile) -> Form | None:
        if not file.form:
            return None
        for form in FORMS.values():
            if form.id == file.form:
                return form
        known = ", ".join(form.id for form in FORMS.values())
        raise self._unfit(f"it was made in the prompt form {plain(repr(file.form), 60)}, and this version has {known}")

    def _adapter(self, file: FrozenFile, engine: Mapping[str, str]) -> Adapter | None:
        if not file.adapter:
            return None
        folder = self.folder / ADAPTER
        if adapter_digest(folder) != file.adapter:
            raise self._unfit("its adapter is missing, or not the one that was exported")
        for fact in ("weights", "revision"):
            if engine.get(fact) and file.model.get(fact) and file.model[fact] != engine[fact]:
                trained = plain(file.model.get("model", "another model"), 100)
                raise self._unfit(
                    f"its adapter was trained on {trained} ({fact} {plain(file.model[fact], 100)}), and this is "
                    f"{engine.get('model', 'another')} ({engine[fact]})"
                )
        return Adapter(str(folder), file.adapter)

    def _unread(self, error: Exception) -> ProgramError:
        reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        return self._unfit(f"its {FILE} cannot be read: {plain(reason)}")

    def _unfit(self, why: str) -> ProgramError:
        return ProgramError(f"frozen program {self.folder}: {why}: export it again with --bt-export=DIR")


def frozen(program: Callable[[], Program], folder: str | Path) -> Frozen:
    """The program as a cell left it, for `Task(program=frozen(Classify, DIR), ...)`; read when a cell needs it.

    `folder` is one that --bt-export wrote, as in `Path(__file__).parent / "frozen/iris/tiny-pwp/seed0"`.
    """
    return Frozen(program, Path(folder))


def prompts(program: Program, form: Form) -> dict[str, str]:
    """What each predictor tells the model before any demo or input, by its name."""
    return {name: form.turns(site.signature, (), {})[0][1] for name, site in program.predictors().items()}


def freeze(
    folder: Path, program: Program, state: ProgramState, form: Form, about: Mapping[str, Any], card: str
) -> None:
    """Write a program in `state`, optimised in the prompt form `form`; what else is in the folder stays.

    `about`, the strategy at least, joins program.json. Raises OSError.
    """
    if state.adapter:
        for name in ADAPTER_FILES:
            write_bytes(folder / ADAPTER / name, (Path(state.adapter.path) / name).read_bytes())
    texts = state.texts()
    predictors: dict[str, dict[str, Any]] = {}
    for name, text in prompts(program, form).items():
        predictors[name] = {"prompt": text, "demos": texts["demos"].get(name, [])}
        if name in texts["instructions"]:
            predictors[name]["instruction"] = texts["instructions"][name]
    kept = {
        "format": FORMAT,
        "form": form.id,
        "adapter": state.adapter.digest if state.adapter else "",
        "predictors": predictors,
        "kept": texts["kept"],
        **about,
    }
    write_text(folder / CARD, card)
    write_text(folder / FILE, json.dumps(kept, indent=1) + "\n")  # last: it vouches for the others


def _difference(exported: Mapping[str, str], written: Mapping[str, str]) -> str:
    """Which predictors differ, for people."""
    if set(exported) != set(written):
        found = plain(", ".join(exported)) or "none"
        return f"it has the predictors {found}, and the program has {', '.join(written)}"
    name = next(name for name in written if exported[name] != written[name])
    return f"predictor {name!r} had the prompt {plain(repr(exported[name]))} and now has {plain(repr(written[name]))}"

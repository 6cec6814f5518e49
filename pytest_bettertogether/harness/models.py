"""`harness_lm`: for those who call lm_eval.evaluate themselves."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..engines.model import Model
from ..engines.registry import find, load
from ..pipeline.adapter import Adapter, adapter_digest
from ..pipeline.errors import BackendError
from ..pipeline.forms import FORMS
from ..pipeline.frozen import Frozen
from ..pipeline.program import Program
from ..pipeline.state import ProgramState
from .loading import needs_lm_eval
from .offline import offline_mode


def harness_lm(
    model: str | Model = "tiny",
    *,
    adapter: str | Path | None = None,
    program: Callable[[], Program] | None = None,
    output: str = "",
    seed: int = 0,
    offline: bool = False,
) -> Any:
    """One of our engines as an lm-eval model, for `lm_eval.evaluate(lm=harness_lm("tiny"), ...)`.

    `model` is what --bt-model takes. With `adapter`, a folder with LoRA weights as `--bt-export` writes it, they apply.
    With `program`, a `frozen(...)` one or a program as written, each request runs the whole program, in the prompt form
    that it was optimised in, or else in that of the model's recipe; see ProgramLM for its inputs, and `output` for the
    field of its prediction that is the answer. The identity (model, revision, weights, adapter's and program's digest)
    is in `.identity`, and in the results of lm-eval's simple_evaluate.

    Raises BackendError for what cannot be loaded, ProgramError for a frozen program that does not fit the model,
    DataError without lm-eval.
    """
    needs_lm_eval()
    from .lm import EngineLM, ProgramLM

    if adapter is not None and program is not None:
        raise ValueError("harness_lm: give an adapter or a program (a frozen one brings its own), not both")
    chosen = find(model) if isinstance(model, str) else model
    with offline_mode(offline), TemporaryDirectory() as unused:  # nothing is trained
        engine = load(chosen, Path(unused), offline)
    if program is None:
        return EngineLM(engine, _adapter(adapter), seed)
    form, state = FORMS[chosen.recipe.prompt], ProgramState()
    if isinstance(program, Frozen):
        form, state = program.form or form, program.state(engine.describe())
    return ProgramLM(engine, program(), state, form, chosen.recipe.evaluate, seed, output)


def _adapter(folder: str | Path | None) -> Adapter | None:
    if folder is None:
        return None
    digest = adapter_digest(Path(folder))
    if not digest:
        raise BackendError(f"{folder}: no adapter in it, which is adapter_model.safetensors and adapter_config.json")
    return Adapter(str(folder), digest)

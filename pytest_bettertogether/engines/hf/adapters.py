"""The adapters of one loaded base model, switched without touching its weights."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers

from ...pipeline.adapter import Adapter


class Adapters:
    """The adapters known to one loaded base model; new ones are written under `folder`.

    peft writes its layers into the base model itself, so that the bare object no longer
    answers as the base: every call goes through `active`, which says whose answer is wanted.
    """

    TRAINING = "in-training"

    def __init__(self, base: Any, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.peft: Any = None

    @contextmanager
    def active(self, adapter: Adapter | None) -> Iterator[Any]:
        """The model to call: with `adapter`'s weights, or the base alone."""
        if adapter is None:
            if self.peft is None:
                yield self.base
                return
            with self.peft.disable_adapter():
                yield self.peft
            return
        if self.peft is None or adapter.digest not in self.peft.peft_config:
            self._load(adapter)
        self.peft.set_adapter(adapter.digest)
        self.peft.requires_grad_(False)  # set_adapter turns gradients back on
        yield self.peft

    def _load(self, adapter: Adapter) -> None:
        from peft import PeftModel  # seconds to import: only programs that reach a weight step pay

        with quiet():
            if self.peft is None:
                self.peft = PeftModel.from_pretrained(self.base, adapter.path, adapter_name=adapter.digest)
            else:
                self.peft.load_adapter(adapter.path, adapter_name=adapter.digest)
        self.peft.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and advice from transformers while it loads: pytest's terminal is the user's."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers; users can change neither
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()

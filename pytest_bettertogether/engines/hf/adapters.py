"""The adapters of one loaded base model, switched without touching its weights."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.pytorch_utils import Conv1D

from ...pipeline.adapter import Adapter
from .lora_file import Shape, read


class Adapters:
    """The adapters known to one loaded base model; new ones are written under `folder`.

    peft writes its layers into the base model itself, so that the bare object no longer
    answers as the base: every call goes through `active`, which says whose answer is wanted.
    """

    TRAINING = "in-training"

    def __init__(self, base: Any, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.shapes = layer_shapes(base)
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
        from peft import LoraConfig  # seconds to import: only programs that reach a weight step pay

        found = read(adapter, self.shapes)
        config = LoraConfig(
            r=found.rank,
            lora_alpha=found.alpha,
            use_rslora=found.rslora,
            target_modules=list(found.layers),
            task_type="CAUSAL_LM",
        )
        self.add(adapter.digest, config)
        self.copy_into(adapter.digest, found.tensors)
        self.peft.eval()

    def add(self, name: str, config: Any) -> None:
        """Put the layers of a new adapter into the model. This is the one place where peft changes the base.

        Args:
            name: What the adapter is called in `active` and by peft.
            config: A LoraConfig that was made in this process, never one that was read from a file.
        """
        from peft import get_peft_model

        with quiet():
            if self.peft is None:
                self.peft = get_peft_model(self.base, config, adapter_name=name)
            else:
                self.peft.add_adapter(name, config)

    def copy_into(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite an adapter's matrices with checked ones, which are named as in its file."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.peft, dict(tensors), adapter_name=name)


def layer_shapes(base: Any) -> dict[str, Shape]:
    """Return (output, input features) of each linear layer of a model that has no adapters yet, by full name."""
    shapes = {}
    for name, module in base.named_modules():
        if isinstance(module, torch.nn.Linear):
            shapes[name] = (module.out_features, module.in_features)
        elif isinstance(module, Conv1D):  # GPT-2's linear layer, whose weight is transposed
            shapes[name] = (module.weight.shape[1], module.weight.shape[0])
    return shapes


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and advice from transformers while it loads: pytest's terminal is the user's."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Between peft and transformers, and peft's own advice: users can change neither.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"peft\.")
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()

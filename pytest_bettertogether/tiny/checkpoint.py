"""Where a training run stands, on disk: weights and optimiser state as safetensors, the rest as JSON; no pickle."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer


@dataclass(frozen=True)
class Progress:
    """Counters of a run."""

    seed: int
    stage: int = 0
    stage_step: int = 0
    step: int = 0
    tokens: int = 0
    """Tokens seen, padding included."""
    seconds: float = 0.0
    running: float = 0.0
    """Running accuracy on the current stage's last answers."""


def save(folder: Path, model: Module, optimizers: Sequence[Optimizer], progress: Progress) -> None:
    """Write a checkpoint aside, then put it in place of the last one."""
    aside = folder.with_name(folder.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    state: dict[str, Tensor] = {}
    for which, optimizer in enumerate(optimizers):
        for parameter, tensors in optimizer.state_dict()["state"].items():
            state.update({f"{which}.{parameter}.{name}": tensor.contiguous() for name, tensor in tensors.items()})
    save_file({name: parameter.detach() for name, parameter in model.named_parameters()}, aside / "model.safetensors")
    save_file(state, aside / "optimizers.safetensors")
    (aside / "progress.json").write_text(json.dumps(asdict(progress), indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def load(folder: Path, model: Module, optimizers: Sequence[Optimizer]) -> Progress:
    """Put a checkpoint's weights into `model` and its state into `optimizers`."""
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    state: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, tensor in load_file(folder / "optimizers.safetensors").items():
        which, parameter, name = key.split(".")
        state[int(which)].setdefault(int(parameter), {})[name] = tensor
    for optimizer, tensors in zip(optimizers, state, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": tensors})
    return Progress(**json.loads((folder / "progress.json").read_text()))

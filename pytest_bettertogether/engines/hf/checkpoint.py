"""A training under way, as one file: safetensors, with the rest as JSON in their header."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ...pipeline.atomic import write_bytes

EVERY = 30.0
"""Seconds of training between two checkpoints, at most: what a kill may cost of a long training."""

PARTS = 10
"""A checkpoint is also written after each of so many parts of the steps: what a kill may cost of a short training."""

AFFORDED = 0.1
"""Share of a training's seconds that checkpoints after a part of its steps may take. Where steps are faster than that
allows, the seconds that a kill costs are few."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Position:
    """How far a training has come. The order of rows is no part of it: it is drawn again from the seed."""

    epoch: int = 0
    """Epochs that are finished."""
    batch: int = 0
    """Batches of the next epoch that are done."""
    step: int = 0
    summed: float = 0.0
    """Loss of that epoch so far, and its tokens."""
    counted: int = 0
    losses: tuple[float, ...] = ()
    """Mean loss of each finished epoch."""
    curve: tuple[float, ...] = ()
    """Mean loss of each step."""


class Checkpoint:
    """The checkpoint of one training; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.began = path, time.monotonic()
        self.last, self.step, self.spent = self.began, 0, 0.0
        """When the last was written (or training began), after which step, and the seconds that all took."""

    def due(self, step: int, total: int) -> bool:
        """Return whether it is time for another after this step of `total`. When one is written changes no result."""
        if self.path is None or step == total:  # what is finished is saved as an adapter
            return False
        now = time.monotonic()
        if now - self.last >= EVERY:
            return True
        return step - self.step >= max(1, total // PARTS) and self.spent <= AFFORDED * (now - self.began)

    def save(self, tensors: Tensors, position: Position) -> None:
        """Write aside and rename, so that a kill leaves the one before. Raises OSError if the disk is full."""
        assert self.path is not None
        began = time.monotonic()
        told = json.dumps(asdict(position), sort_keys=True)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_bytes(self.path, save(kept, metadata={"position": told, "checksum": _checksum(kept, told)}))
        self.last, self.step = time.monotonic(), position.step
        self.spent += self.last - began

    def load(self) -> tuple[Tensors, Position] | None:
        """What was written last, on the CPU; None if nothing was, or not what is there now."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError):
            return None
        told = about.get("position", "")
        if about.get("checksum") != _checksum(tensors, told):
            return None
        position = json.loads(told)
        self.step = position["step"]
        series = {name: tuple(position[name]) for name in ("losses", "curve")}
        return tensors, Position(**{**position, **series})


def _checksum(tensors: Tensors, told: str) -> str:
    state = hashlib.sha256(told.encode())
    for name, tensor in sorted(tensors.items()):
        state.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()

"""Step w for engines that only generate: the Hugging Face engine trains a copy of the weights, and goes again."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...pipeline.adapter import Adapter
from ...pipeline.recipe import LoraTuning
from ..protocol import Training, TrainingRow, Watcher
from .engine import HuggingFace

if TYPE_CHECKING:  # models.py finds the engines by name and must not be needed to import this
    from ..model import Model


def train_copy(
    model: "Model",
    adapters: Path,
    offline: bool,
    rows: Sequence[TrainingRow],
    recipe: LoraTuning,
    seed: int,
    start: Adapter | None,
    checkpoint: Path | None,
    watcher: Watcher,
) -> Training:
    """Load the weights for this training alone, in this process; `watcher` is told of each step."""
    engine = HuggingFace(model, adapters, offline)
    engine.watcher = watcher
    try:
        return engine.finetune(rows, recipe, seed, start, checkpoint)
    finally:
        del engine
        gc.collect()  # peft's layers and the model refer to each other
        torch.cuda.empty_cache()

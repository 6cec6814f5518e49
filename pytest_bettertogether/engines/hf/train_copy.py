"""Training for engines that only generate, such as vLLM: a Hugging Face engine trains, and is closed again."""

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
    """Train a LoRA adapter on a second copy of the weights, held in this process's memory meanwhile.

    Args:
        model: The model whose weights are loaded.
        adapters: The folder that the new adapter is written under.
        offline: Whether only files on this machine may be read.
        rows: What is learnt.
        recipe: How it is learnt.
        seed: Decides the order of the rows and the first weights of the adapter.
        start: An adapter to go on from; None for the base model.
        checkpoint: Where progress is saved and found again, so that a killed training resumes; None for nowhere.
        watcher: Is called after each step of the optimiser.

    Raises:
        BackendError: The weights cannot be loaded, or memory does not suffice.
    """
    engine = HuggingFace(model, adapters, offline)
    engine.watcher = watcher
    try:
        return engine.finetune(rows, recipe, seed, start, checkpoint)
    finally:
        del engine
        gc.collect()  # peft's layers and the model refer to each other
        torch.cuda.empty_cache()

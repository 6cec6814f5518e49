"""LoRA training with peft, in a short loop of our own: completion-only loss, AdamW, safetensors out."""

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save
from torch.nn.functional import cross_entropy

from ..program import Adapter
from ..recipe import LoraTuning
from . import ADAPTER_FILES, Training, adapter_digest
from .adapters import Adapters, quiet
from .checkpoint import Checkpoint, Position

Row = tuple[list[int], int]
"""Token ids of prompt and completion, and how many of them are prompt."""

WEIGHTS, CONFIG = ADAPTER_FILES


def train(
    adapters: Adapters,
    rows: Sequence[Row],
    recipe: LoraTuning,
    seed: int,
    start: Adapter | None,
    checkpoint: Checkpoint,
) -> Training:
    """Train one adapter on `rows`, each seen once per epoch in an order drawn from `seed`.

    With `start` the new adapter begins as its copy (same rank and targets) and leaves it as it is. From a
    checkpoint it goes on to the very weights that it would have had.
    """
    model = _with_new_adapter(adapters, recipe, seed, start)
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(seed)  # dropout draws from torch's own generator
            done, resumed = _fit(model, rows, recipe, Random(seed), checkpoint)
        return Training(_save(model, adapters.folder), done.losses, done.step, resumed)
    finally:
        model.eval()
        model.base_model.set_adapter([])  # else peft picks another one itself, and warns of it
        model.delete_adapter(Adapters.TRAINING)
        if not model.peft_config:  # peft cannot switch off adapters that it does not have
            adapters.base, adapters.peft = model.unload(), None


def _with_new_adapter(adapters: Adapters, recipe: LoraTuning, seed: int, start: Adapter | None) -> Any:
    targets = recipe.targets if recipe.targets == "all-linear" else recipe.targets.split(",")
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)  # LoRA's A matrices start random
        if adapters.peft is None:
            adapters.peft = get_peft_model(adapters.base, config, adapter_name=Adapters.TRAINING)
        else:
            adapters.peft.add_adapter(Adapters.TRAINING, config)
    model = adapters.peft
    if start is not None:
        set_peft_model_state_dict(model, load_file(Path(start.path) / WEIGHTS), adapter_name=Adapters.TRAINING)
    model.set_adapter(Adapters.TRAINING)
    model.train()
    return model


def _fit(
    model: Any, rows: Sequence[Row], recipe: LoraTuning, random: Random, checkpoint: Checkpoint
) -> tuple[Position, int]:
    """Run all epochs; returns where that ends (losses: means per completion token), and the steps not computed here."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    total = recipe.epochs * math.ceil(len(rows) / recipe.batch)
    warmup = max(1, round(total * recipe.warmup))
    at = _resume(parameters, optimizer, checkpoint)
    resumed = at.step
    for epoch in range(recipe.epochs):
        batches = _shuffled_batches(rows, recipe.batch, random)  # of a finished epoch too: later ones draw after it
        if epoch < at.epoch:
            continue
        for batch in batches[at.batch :]:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * min(1.0, (at.step + 1) / warmup)
            loss, tokens = _loss(model, batch)
            (loss / tokens).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            summed, counted = at.summed + loss.item(), at.counted + tokens
            at = Position(epoch, at.batch + 1, at.step + 1, summed, counted, at.losses)
            if checkpoint.due:
                checkpoint.save(_state(parameters, optimizer), at)
        if not math.isfinite(at.summed):
            raise FloatingPointError(f"the training loss became {at.summed}: lower lora.learning_rate")
        at = Position(epoch + 1, step=at.step, losses=(*at.losses, at.summed / at.counted))
    return at, resumed


def _state(parameters: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All that the next steps depend on: weights, AdamW's moments, the generators that dropout draws from."""
    moments = optimizer.state_dict()["state"]
    state = {f"{i}.weight": each for i, each in enumerate(parameters)}
    state |= {f"{i}.{name}": tensor for i, each in moments.items() for name, tensor in each.items()}
    state["random.cpu"] = torch.get_rng_state()
    if parameters[0].is_cuda:
        state["random.cuda"] = torch.cuda.get_rng_state(parameters[0].device)
    return state


def _resume(parameters: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> Position:
    """Put everything back to where the checkpoint was written, if there is one."""
    found = checkpoint.load()
    if found is None:
        return Position()
    state, position = found
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in state.items():
        owner, _, name = key.partition(".")
        if name == "weight":
            parameters[int(owner)].data.copy_(tensor)
        elif owner != "random":
            moments.setdefault(int(owner), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(state["random.cpu"])
    if "random.cuda" in state:
        torch.cuda.set_rng_state(state["random.cuda"], parameters[0].device)
    return position


def _shuffled_batches(rows: Sequence[Row], size: int, random: Random) -> list[list[Row]]:
    order = list(range(len(rows)))
    random.shuffle(order)
    return [[rows[i] for i in order[begin : begin + size]] for begin in range(0, len(order), size)]


def _loss(model: Any, batch: Sequence[Row]) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy over the completion tokens of a right-padded batch, and their number."""
    width = max(len(ids) for ids, _ in batch)
    device = model.device
    tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch], device=device)
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch], device=device)
    wanted = torch.tensor(
        [[-100] * prompt + ids[prompt:] + [-100] * (width - len(ids)) for ids, prompt in batch], device=device
    )
    logits = model(input_ids=tokens, attention_mask=mask).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted[:, 1:].flatten(), reduction="sum")
    return loss, int((wanted[:, 1:] != -100).sum())


def _save(model: Any, folder: Path) -> Adapter:
    """Write the adapter as a folder named by its digest, complete or not at all."""
    tensors = get_peft_model_state_dict(model, adapter_name=Adapters.TRAINING)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    config = model.peft_config[Adapters.TRAINING].to_dict()
    # peft holds the targets in a set, whose order changes with each process, and notes where the base lay.
    config = {**config, "target_modules": sorted(config["target_modules"]), "base_model_name_or_path": None}
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder, prefix="writing-"))
    try:
        # By way of bytes: safetensors' own writing would hide the errno of a full disk.
        (aside / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
        (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True, default=str) + "\n")
        digest = adapter_digest(aside)
        home = folder / digest
        if adapter_digest(home) != digest:
            shutil.rmtree(home, ignore_errors=True)  # what is left of a damaged one
            aside.rename(home)
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # half written, or the same content was there already
    return Adapter(str(home), digest)

"""LoRA training with peft, in a short loop of our own: completion-only loss, AdamW, safetensors out."""

import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save
from torch.nn.functional import cross_entropy

from ...pipeline.adapter import Adapter, adapter_digest
from ...pipeline.errors import BackendError
from ...pipeline.recipe import LoraTuning
from ..protocol import Training, Watcher
from .adapters import Adapters, quiet
from .checkpoint import Checkpoint, Position
from .lora_file import CONFIG, WEIGHTS, Shape, read
from .memory import Room, out_of_memory

Row = tuple[list[int], int]
"""Token ids of prompt and completion, and how many of them are prompt."""

WINDOW = 8
"""Batches whose rows are sorted by length together: little is padded, and every batch stays a random draw."""
CURVE = 100
"""Points of the loss curve that is kept, at most."""


@dataclass(frozen=True)
class Rows:
    """What is trained on: rows within the maximal length, and what had to be done for that."""

    rows: tuple[Row, ...]
    truncated: int = 0
    dropped: int = 0


def fit_rows(rows: Sequence[Row], longest: int) -> Rows:
    """Cut rows at their end to `longest` tokens; those whose prompt alone is longer are left out.

    Raises BackendError if nothing is left.
    """
    kept = tuple((ids[:longest], prompt) for ids, prompt in rows if prompt < longest)
    if not kept:
        raise BackendError(
            f"each of the {len(rows)} training rows has a prompt of {longest} tokens or more, which is where rows are "
            "cut: raise lora.max_length, or use a model with a longer context"
        )
    truncated = sum(len(ids) > longest for ids, prompt in rows if prompt < longest)
    return Rows(kept, truncated, len(rows) - len(kept))


def train(
    adapters: Adapters,
    rows: Rows,
    recipe: LoraTuning,
    seed: int,
    start: Adapter | None,
    checkpoint: Checkpoint,
    room: Room,
    watcher: Watcher = None,
) -> Training:
    """Train one adapter on `rows`, each seen once per epoch in an order drawn from `seed`.

    With `start` the new adapter begins as its copy (same rank and targets) and leaves it as it is. `watcher` is told
    of each step. From a checkpoint it goes on to the very weights that it would have had.
    """
    model = _with_new_adapter(adapters, recipe, seed)
    try:
        if start is not None:
            _begin_as(adapters, start, recipe)
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(seed)  # dropout draws from torch's own generator
            done, resumed = _fit(model, rows.rows, recipe, Random(seed), checkpoint, room, watcher)
        adapter = _save(model, adapters.folder)
        curve = thinned(done.curve)
        return Training(adapter, done.losses, done.step, resumed, curve, rows.truncated, rows.dropped)
    finally:
        if recipe.gradient_checkpointing:
            with quiet():
                model.gradient_checkpointing_disable()
        model.eval()
        model.base_model.set_adapter([])  # else peft picks another one itself, and warns of it
        model.delete_adapter(Adapters.TRAINING)
        if not model.peft_config:  # peft cannot switch off adapters that it does not have
            adapters.base, adapters.peft = model.unload(), None


def _with_new_adapter(adapters: Adapters, recipe: LoraTuning, seed: int) -> Any:
    targets: str | list[str] = recipe.targets
    if targets != "all-linear":
        targets = [target.strip() for target in recipe.targets.split(",") if target.strip()]
        _check_targets(adapters.shapes, targets)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # LoRA's A matrices start random
        adapters.add(Adapters.TRAINING, config)
    model = adapters.peft
    model.set_adapter(Adapters.TRAINING)
    model.train()
    if recipe.gradient_checkpointing:
        with quiet():
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _begin_as(adapters: Adapters, start: Adapter, recipe: LoraTuning) -> None:
    """Let the adapter in training begin as a copy of `start`. Raises BackendError where that has another form."""
    found = read(start, adapters.shapes)
    own = get_peft_model_state_dict(adapters.peft, adapter_name=Adapters.TRAINING, save_embedding_layers=False)
    if (found.rank, found.alpha, found.rslora) != (
        recipe.rank,
        recipe.alpha,
        False,
    ) or own.keys() != found.tensors.keys():
        raise BackendError(
            f"adapter {start.path}: training goes on from it with lora.rank={recipe.rank}, lora.alpha={recipe.alpha} "
            f"and lora.targets={recipe.targets}, and it was made with rank {found.rank}, alpha {found.alpha:g} and "
            f"{len(found.layers)} layers: set the recipe's values to these"
        )
    adapters.copy_into(Adapters.TRAINING, found.tensors)


def _check_targets(shapes: Mapping[str, Shape], targets: Sequence[str]) -> None:
    """Raise BackendError if the model lacks a linear layer that is to be adapted."""
    missing = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in shapes)]
    if missing or not targets:
        linear = {name.rpartition(".")[2] for name in shapes}
        raise BackendError(
            f"lora.targets: the model has no layer {' or '.join(missing)}, it has {', '.join(sorted(linear))}: name "
            "some of them, or all with --bt-set=lora.targets=all-linear"
        )


def _fit(
    model: Any,
    rows: Sequence[Row],
    recipe: LoraTuning,
    random: Random,
    checkpoint: Checkpoint,
    room: Room,
    watcher: Watcher = None,
) -> tuple[Position, int]:
    """Run all epochs; returns where that ends (losses: means per completion token), and the steps not computed here."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    total = recipe.epochs * math.ceil(len(rows) / recipe.batch)
    at, micro = _resume(parameters, optimizer, checkpoint), recipe.micro_batch or recipe.batch
    resumed = at.step
    for epoch in range(recipe.epochs):
        batches = _shuffled_batches(rows, recipe.batch, random)  # of a finished epoch too: later ones draw after it
        if epoch < at.epoch:
            continue
        for batch in batches[at.batch :]:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, at.step, total)
            loss, tokens, micro = _gradients(model, batch, micro, room)
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            summed, counted, curve = at.summed + loss, at.counted + tokens, (*at.curve, loss / tokens)
            at = Position(epoch, at.batch + 1, at.step + 1, summed, counted, at.losses, curve)
            if watcher:
                watcher(at.step, total, loss / tokens)
            if checkpoint.due(at.step, total):
                checkpoint.save(_state(parameters, optimizer), at)
        if not math.isfinite(at.summed):
            raise FloatingPointError(f"the training loss became {at.summed}: lower lora.learning_rate")
        at = Position(epoch + 1, step=at.step, losses=(*at.losses, at.summed / at.counted), curve=at.curve)
    return at, resumed


def learning_rate(recipe: LoraTuning, step: int, total: int) -> float:
    """The rate of one step of `total`: rising to the recipe's over the warm-up, then as its schedule says."""
    warmup = max(1, round(total * recipe.warmup))
    if step < warmup or recipe.schedule == "constant":
        return recipe.learning_rate * min(1.0, (step + 1) / warmup)
    left = (total - step) / max(1, total - warmup)
    return recipe.learning_rate * (left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


def thinned(curve: Sequence[float]) -> tuple[float, ...]:
    """A curve as the means of at most `CURVE` stretches of it, as equal as can be."""
    count = min(len(curve), CURVE)
    bounds = [len(curve) * i // count for i in range(count + 1)] if count else [0]
    return tuple(math.fsum(curve[a:b]) / (b - a) for a, b in pairwise(bounds))


def _gradients(model: Any, batch: Sequence[Row], micro: int, room: Room) -> tuple[float, int, int]:
    """Add up a batch's gradients, `micro` rows at a time; its summed loss, its completion tokens, and the micro size.

    The latter is halved where it does not fit: the gradient stays that of the batch, but for rounding.
    """
    tokens = sum(len(ids) - prompt for ids, prompt in batch)
    while True:
        try:
            summed = 0.0
            for begin in range(0, len(batch), micro):
                loss = _loss(model, batch[begin : begin + micro])
                (loss / tokens).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                summed += loss.item()
            return summed, tokens, micro
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or micro == 1:
                raise
        model.zero_grad(set_to_none=True)
        micro = max(1, min(micro, len(batch)) // 2)
        room.shrunk()


def _state(parameters: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All that the next steps depend on: weights, AdamW's moments, the generators that dropout draws from."""
    moments = optimizer.state_dict()["state"]
    state = {f"{i}.weight": parameter for i, parameter in enumerate(parameters)}
    state |= {f"{i}.{name}": tensor for i, values in moments.items() for name, tensor in values.items()}
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
    """Batches in random order, of rows that are near in length among WINDOW batches' worth drawn at random."""
    order = list(range(len(rows)))
    random.shuffle(order)
    near = [
        i
        for begin in range(0, len(order), size * WINDOW)
        for i in sorted(order[begin : begin + size * WINDOW], key=lambda i: len(rows[i][0]))
    ]
    batches = [[rows[i] for i in near[begin : begin + size]] for begin in range(0, len(near), size)]
    random.shuffle(batches)
    return batches


def _loss(model: Any, batch: Sequence[Row]) -> torch.Tensor:
    """Summed cross-entropy over the completion tokens of a right-padded batch."""
    width, first = max(len(ids) for ids, _ in batch), min(prompt for _, prompt in batch)
    device = model.device
    tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch], device=device)
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch], device=device)
    wanted = torch.tensor([labels(row, width)[first:] for row in batch], device=device)
    # Logits of the prompts alone would be computed for nothing.
    logits = model(input_ids=tokens, attention_mask=mask, use_cache=False, logits_to_keep=width - first + 1).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted.flatten(), reduction="sum")


def labels(row: Row, width: int) -> list[int]:
    """What carries loss: a row's completion tokens at their places, and -100 where there is a prompt or padding."""
    ids, prompt = row
    return [-100] * prompt + ids[prompt:] + [-100] * (width - len(ids))


def _save(model: Any, folder: Path) -> Adapter:
    """Write the adapter as a folder named by its digest, complete or not at all."""
    tensors = get_peft_model_state_dict(model, adapter_name=Adapters.TRAINING, save_embedding_layers=False)
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

"""Pre-train the embedded model from scratch: `python -m pytest_bettertogether.tiny.pretrain OUT_DIR`.

A curriculum by success: each stage is left when the running accuracy passes its threshold,
or at its cap. Interrupted, the same command goes on from the last checkpoint. `OUT_DIR/model`
is what transformers loads, `OUT_DIR/log.jsonl` has a line per stage and per 500 steps.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from . import checkpoint
from .checkpoint import Progress
from .curriculum import FIRST_PROMPTS, IGNORED, STAGES, Batch, lesson, make_batch
from .model import new_model
from .probe import accuracy
from .tokenizer import build, save

PEAK, WARMUP = 3e-3, 100
"""The highest learning rate, and the steps until it is reached."""
EVERY = 500
SHOTS = (0, 3, 6, 8)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m pytest_bettertogether.tiny.pretrain", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="checkpoint, log and model go here")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    train(options.out, options.seed, torch.device(options.device))


def train(out: Path, seed: int, device: torch.device) -> None:
    """Run the curriculum, from the checkpoint in `out` if there is one."""
    tokenizer = build()
    model = new_model(tokenizer, seed)
    model.to(device)
    optimizers = make_optimizers(model)
    progress = Progress(seed)
    if (out / "checkpoint").exists():
        progress = checkpoint.load(out / "checkpoint", model, optimizers)
    out.mkdir(parents=True, exist_ok=True)
    before = time.monotonic() - progress.seconds
    loss, right = 0.0, dict[str, float]()
    while progress.stage < len(STAGES):
        stage = STAGES[progress.stage]
        rng = random.Random(f"{progress.seed} {progress.step}")
        source = lesson(progress.stage, rng)
        batch = make_batch(source, tokenizer, rng).to(device)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = _rate(progress)
        value, hits = step(model, optimizers, batch, whole_answers=bool(source.shapes))
        loss += (value - loss) * 0.05
        right[batch.kind] = right.get(batch.kind, hits) + (hits - right.get(batch.kind, hits)) * 0.05
        progress = replace(
            progress,
            step=progress.step + 1,
            tokens=progress.tokens + batch.ids.numel(),
            seconds=time.monotonic() - before,
        )
        if source is stage:
            count = progress.stage_step + 1
            running = progress.running + (hits - progress.running) * max(0.03, 1 / count)
            progress = replace(progress, stage_step=count, running=running)
        passed = progress.running > stage.threshold and progress.stage_step >= 30
        if passed or progress.stage_step == stage.cap or progress.step % EVERY == 0:
            report(out, model, tokenizer, progress, loss, right)
        if passed or progress.stage_step == stage.cap:
            progress = replace(progress, stage=progress.stage + 1, stage_step=0, running=0.0)
            checkpoint.save(out / "checkpoint", model, optimizers, progress)
        elif progress.step % EVERY == 0:
            checkpoint.save(out / "checkpoint", model, optimizers, progress)


def make_optimizers(model: LlamaForCausalLM) -> tuple[Optimizer, ...]:
    """Muon for the layers' matrices; AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [parameter for name, parameter in named if parameter.ndim == 2 and "embed" not in name]
    others = [parameter for name, parameter in named if parameter.ndim != 2 or "embed" in name]
    return (
        Muon(matrices, lr=PEAK, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=PEAK, betas=(0.9, 0.98), weight_decay=0.0),
    )


def step(
    model: LlamaForCausalLM, optimizers: Sequence[Optimizer], batch: Batch, whole_answers: bool
) -> tuple[float, float]:
    """One update; its loss and how much of the last answers was right before it."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        loss, hits = loss_and_hits(model, batch, whole_answers)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item(), hits


def loss_and_hits(model: LlamaForCausalLM, batch: Batch, whole_answers: bool) -> tuple[Tensor, float]:
    """Mean cross-entropy over all targets; share of last answers right in every token, or of their tokens."""
    wanted = batch.targets != IGNORED
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[wanted]).float()
    targets = batch.targets[wanted]
    with torch.no_grad():
        wrong = torch.zeros_like(batch.last)
        wrong[wanted] = logits.argmax(-1) != targets
        wrong &= batch.last
        missed = wrong.any(-1).float().mean() if whole_answers else wrong.sum() / batch.last.sum()
    return cross_entropy(logits, targets), 1 - missed.item()


def report(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    progress: Progress,
    loss: float,
    right: Mapping[str, float],
) -> None:
    """Add a line to the log, say it, and save the model as it is."""
    probe = {}
    if progress.stage >= FIRST_PROMPTS:
        model.train(False)
        probe = {str(shots): accuracy(model, tokenizer, shots, draws=200) for shots in SHOTS}
        model.train()
    line = {**asdict(progress), "name": STAGES[progress.stage].name, "loss": loss, "right": right, "iris": probe}
    rounded = json.dumps(json.loads(json.dumps(line), parse_float=lambda text: round(float(text), 4)))
    with (out / "log.jsonl").open("a") as log:
        log.write(rounded + "\n")
    sys.stdout.write(rounded + "\n")
    sys.stdout.flush()
    model.save_pretrained(out / "model")
    save(tokenizer, out / "model")


def _rate(progress: Progress) -> float:
    """The learning rate: a short rise, then as the stage has it."""
    stage = STAGES[progress.stage]
    first, last = stage.rates
    share = last + (first - last) * (1 + math.cos(math.pi * progress.stage_step / stage.cap)) / 2
    return PEAK * share * min(1.0, (progress.step + 1) / WARMUP)


if __name__ == "__main__":
    main()

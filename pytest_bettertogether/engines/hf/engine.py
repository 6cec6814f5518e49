"""The Hugging Face engine: transformers for generation, peft for adapters, in this process.

One base model stays loaded; adapters are switched, never merged. The same prompts,
sampling, adapter and thread count give the same bits on a CPU.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read when torch is loaded: threads that spin while they wait for each other cost 3 to 8 times on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# isort: split
import torch
import transformers

from ...pipeline.adapter import Adapter
from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ...pipeline.recipe import LoraTuning, Sampling
from ..protocol import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow, Watcher
from . import loading
from .adapters import Adapters
from .decoding import Counts, Row, States, complete, likelihoods
from .encoding import Encoder, weights
from .memory import Room, first_line, out_of_memory
from .prefixes import KEPT_BYTES, MIN_PIECE, Prefixes, common, cut_texts
from .stops import Stops

if TYPE_CHECKING:  # models.py finds this module by name and must not be needed to import it
    from ..model import Model

LOOPS = 5
"""Revision of how prompts are encoded (encoding.py), of how they are cut (prefixes.py), of the loops in decoding.py and
lora.py. Raise it with any change that could alter a token or a weight: it is part of what the engine says of itself, so
that the journal replays nothing from before."""

OPENINGS = 256
"""Beginnings of chats whose tokens are remembered."""


class HuggingFace(Encoder):
    """Generates with, and fine-tunes, one causal language model."""

    def __init__(self, model: "Model", adapters: Path, offline: bool = False) -> None:
        self.threads, self.rows = model.recipe.threads, model.recipe.rows
        self.device = loading.best_device()
        tokenizer, self.base, self.room = loading.load(model, self.device, offline)
        super().__init__(tokenizer, self.base.generation_config, int(self.base.config.max_position_embeddings))
        self.identity = weights(model, self.base.config)
        self.adapters = Adapters(self.base, adapters)
        self.watcher: Watcher = None
        self.stops = Stops(self.tokenizer)
        self.counts = Counts()
        self.openings: dict[tuple[tuple[Message, ...], str], list[int]] = {}
        gpu = self.device.type == "cuda"
        self.prefixes = Prefixes(torch.cuda.get_device_properties(0).total_memory // 16 if gpu else KEPT_BYTES)

    @property
    def halved(self) -> int:
        """Batches that did not fit into memory, and were computed in smaller ones."""
        return self.room.halved

    def describe(self) -> dict[str, str]:
        """Weights, device, dtype, threads, batch rows and versions: what a recorded number depends on."""
        return {
            **self.identity,
            "backend": "hf",
            **versions(),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type,
            "dtype": str(self.base.dtype).removeprefix("torch."),
            "threads": str(self.threads),
            "rows": str(self.rows),
        }

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Complete every prompt, in order.

        Raises BackendError, before anything is computed, if a prompt does not fit the context.
        """
        encoded = [self.encode_prompt(prompt) for prompt in prompts]
        self.check_prompts([len(ids) for ids in encoded], sampling)
        rows = [
            Row(tuple(ids), cuts, prompt.noise, prompt.stop)
            for prompt, ids, cuts in zip(prompts, encoded, self._cuts(prompts, encoded), strict=True)
        ]
        completions: dict[int, Completion] = {}
        with _threads(self.threads), self.adapters.active(adapter) as model, torch.inference_mode():
            work = partial(
                complete,
                model,
                states=self._states(model, adapter),
                sampling=sampling,
                ends=self.ends,
                stopped=self.stops.hit,
                counts=self.counts,
            )
            for batch in _batches(rows, [1] * len(rows), sampling.max_tokens, self.rows, self.room):
                part = [rows[i] for i in batch]
                width = max(len(row.ids) for row in part)
                news = self.room.in_halves(part, work, width + sampling.max_tokens, f"a prompt of {width} tokens")
                for i, row, new in zip(batch, part, news, strict=True):
                    completions[i] = self.completion(len(row.ids), new, row.stop, sampling)
        return [completions[i] for i in range(len(prompts))]

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """How likely each continuation is, in order; tokens are those of context and continuation written together.

        Raises BackendError, before anything is computed, if an item does not fit the context.
        """
        pairs = [self.encode_pair(item) for item in items]
        self.check_texts([len(ids) for ids, _ in pairs], -1)  # the last token is asked about, not fed in
        after: dict[tuple[int, ...], list[int]] = {}
        for i, (ids, count) in enumerate(pairs):
            after.setdefault(tuple(ids[: len(ids) - count]), []).append(i)
        rows = [Row(ids, cuts) for ids, cuts in zip(after, cut_texts(list(after)), strict=True)]
        asked = list(after.values())
        most = max((count for _, count in pairs), default=0)
        found: dict[int, Likelihood] = {}
        with _threads(self.threads), self.adapters.active(adapter) as model, torch.inference_mode():
            states = self._states(model, adapter)

            def work(numbers: Sequence[int]) -> list[list[Likelihood]]:
                texts = [(at, tuple(pairs[i][0][len(rows[n].ids) :])) for at, n in enumerate(numbers) for i in asked[n]]
                told = iter(likelihoods(model, [rows[n] for n in numbers], texts, states, self.rows))
                return [[next(told) for _ in asked[n]] for n in numbers]

            for batch in _batches(rows, [len(text) for text in asked], most, self.rows, self.room):
                width = max(len(rows[n].ids) for n in batch) + most
                said = self.room.in_halves(batch, work, width, f"a text of {width} tokens")
                for n, likelihood in zip(batch, said, strict=True):
                    found.update(zip(asked[n], likelihood, strict=True))
        return [found[i] for i in range(len(items))]

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Train a LoRA adapter; the loss covers each row's completion and its end-of-turn token, nothing else."""
        from .checkpoint import Checkpoint
        from .lora import fit_rows, train  # peft takes seconds to import: only programs that reach a weight step pay

        self.prefixes.clear()  # their memory is needed
        encoded = [self.encode_row(row) for row in rows]
        fitting = fit_rows(encoded, min(recipe.max_length or self.context, self.context))
        longest = max(len(ids) for ids, _ in fitting.rows)
        with _threads(self.threads), _memory(f"training on one row of up to {longest} tokens (lower lora.max_length)"):
            kept = Checkpoint(checkpoint)
            return train(self.adapters, fitting, recipe, seed, start, kept, self.room, self.watcher)

    def _cuts(self, prompts: Sequence[Prompt], encoded: Sequence[list[int]]) -> list[tuple[int, ...]]:
        """Where the prefixes of prompts end: in a chat by its turns, in a text by what it shares with the others.

        A chat is cut where its second message begins, which is after the instruction, and where its last one does:
        that depends on nothing but itself, so a wave of one call finds what earlier waves have left.
        """
        texts = [i for i, prompt in enumerate(prompts) if prompt.text]
        cuts = dict(zip(texts, cut_texts([encoded[i] for i in texts]), strict=True))
        for i, prompt in enumerate(prompts):
            if i not in cuts:
                ends: list[int] = []
                for turn in sorted({1, len(prompt.messages) - 1} & set(range(1, len(prompt.messages)))):
                    opening = self._opening(prompt.messages[:turn], prompt.messages[turn])
                    end = min(common(opening, encoded[i]), len(encoded[i]) - 1)
                    if end - (ends[-1] if ends else 0) >= MIN_PIECE:
                        ends.append(end)
                cuts[i] = tuple(ends)
        return [cuts[i] for i in range(len(prompts))]

    def _opening(self, before: tuple[Message, ...], last: Message) -> list[int]:
        """The tokens that a chat begins with, whatever `last` says."""
        key = (before, last.role)
        if key not in self.openings:
            if len(self.openings) >= OPENINGS:
                self.openings.clear()
            one, other = (self.encode((*before, replace(last, content=text))) for text in ("0", "Z"))
            self.openings[key] = one[: common(one, other)]
        return self.openings[key]

    def _states(self, model: Any, adapter: Adapter | None) -> States:
        owner = adapter.digest if adapter else ""
        return lambda row: self.prefixes.states(model, owner, row.ids, row.cuts)


def versions() -> dict[str, str]:
    """What completions and adapters made here depend on besides the weights and where they are computed."""
    return {
        "loops": str(LOOPS),
        "torch": str(torch.__version__),  # a subclass of str, which not everybody can serialise
        "transformers": transformers.__version__,
        "peft": version("peft"),
    }


def _batches(rows: Sequence[Row], lines: Sequence[int], more: int, most: int, room: Room) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first, so that the largest batch fails first if any does.

    What counts is the part that is not shared. A row becomes so many `lines`, at most `most` to a batch (unless it
    is one row's), and grows by `more` tokens.
    """
    batch: list[int] = []
    used = shared = rest = 0
    for i in sorted(range(len(rows)), key=lambda i: (rows[i].shared - len(rows[i].ids), -rows[i].shared, i)):
        used, shared = used + lines[i], max(shared, rows[i].shared)
        rest = max(rest, len(rows[i].ids) - rows[i].shared)
        if batch and (used > most or used * (shared + rest + more) > room.tokens):
            yield batch
            batch, used, shared, rest = [], lines[i], rows[i].shared, len(rows[i].ids) - rows[i].shared
        batch.append(i)
    if batch:
        yield batch


@contextmanager
def _memory(what: str) -> Iterator[None]:
    """Say what did not fit, where torch only says how many bytes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise BackendError(f"out of memory: {what} did not fit; {first_line(error)}") from error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads, then give the process its own number back."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)

"""The loops of the Hugging Face engine: completing a batch of prompts, and asking how likely texts are.

Each row begins with the keys and values of prefixes that it shares with others; a row that is finished leaves the
batch at once, so that nothing is computed for it any more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...pipeline.recipe import Sampling
from ..protocol import Likelihood
from . import sampling as noise
from .key_value_cache import ROOM, BatchCache, Layer


@dataclass(frozen=True)
class Row:
    """One prompt of a batch, as tokens; `cuts` says where the prefixes end that it shares with others."""

    ids: tuple[int, ...]
    cuts: tuple[int, ...] = ()
    noise: int = 0
    stop: tuple[str, ...] = ()

    @property
    def shared(self) -> int:
        """Tokens that are shared."""
        return self.cuts[-1] if self.cuts else 0

    @property
    def prefix(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shared tokens and their cuts."""
        return self.ids[: self.shared], self.cuts


@dataclass
class Counts:
    """Tokens drawn for all lines of all batches so far, and those of them that are part of a completion."""

    drawn: int = 0
    kept: int = 0

    @property
    def wasted(self) -> float:
        """The share that was drawn for nothing: for rows that were finished already."""
        return 1 - self.kept / self.drawn if self.drawn else 0.0


States = Callable[[Row], list[Layer]]
"""Keys and values of a row's prefix; empty if it has none."""

Stopped = Callable[[tuple[str, ...], Sequence[int]], bool]
"""Whether the newest of some new tokens has completed one of these texts."""


class Batch:
    """Rows on their way through the model: prompts go in once, then one token per line and step.

    Padded on the left, twice where prefixes differ in length: [padding, prefix, padding, rest of the prompt, new].
    """

    def __init__(self, model: Any, rows: Sequence[Row], states: States) -> None:
        self.model, self.device = model, model.device
        self.lengths = torch.tensor([len(row.ids) for row in rows], device=self.device)
        shared, rest = max(row.shared for row in rows), max(len(row.ids) - row.shared for row in rows)
        found: dict[Any, list[Layer]] = {}
        for row in rows:
            if row.shared and row.prefix not in found:
                found[row.prefix] = states(row)
        prefixes = [found.get(row.prefix, []) for row in rows]
        self.cache = BatchCache()
        if found:
            self.cache = BatchCache.of(prefixes, [row.shared for row in rows], shared + rest + ROOM)
        self.mask = torch.tensor(
            [
                [0] * (shared - row.shared)
                + [1] * row.shared
                + [0] * (rest - len(row.ids) + row.shared)
                + [1] * (len(row.ids) - row.shared)
                for row in rows
            ],
            device=self.device,
        )
        tokens = torch.tensor(
            [[0] * (rest - len(row.ids) + row.shared) + list(row.ids[row.shared :]) for row in rows], device=self.device
        )
        positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -rest:]
        self.logits = _forward(model, self.cache, tokens, self.mask, positions)[:, -1]
        """Of the next token, [line, vocabulary]."""

    def step(self, chosen: Tensor) -> None:
        """Feed one token per line."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(chosen), 1)], dim=-1)
        self.logits = _forward(self.model, self.cache, chosen[:, None], self.mask, self.lengths[:, None])[:, -1]
        self.lengths = self.lengths + 1

    def leave(self, gone: Sequence[int], *others: Tensor) -> tuple[list[int], list[Tensor]]:
        """Take lines out. Returns the order of the lines that stay, and `others` [line, ...] in that order."""
        count = len(self.lengths)
        order = list(range(count - len(gone)))
        holes = [line for line in gone if line < len(order)]
        movers = [line for line in range(len(order), count) if line not in set(gone)]
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        self.cache.move(movers, holes, len(order))
        at = torch.tensor(order, device=self.device)
        self.mask, self.lengths = self.mask[at], self.lengths[at]
        return order, [other[at] for other in others]

    def follow(self, texts: Sequence[Sequence[int]], lines: Sequence[int]) -> Tensor:
        """Logits [text, position, vocabulary] after each token of texts that follow lines of the batch."""
        width = max(map(len, texts))
        at = torch.tensor(list(lines), device=self.device)
        real = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=self.device)
        mask = torch.cat([self.mask[at], real], dim=-1)
        tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=self.device)
        positions = self.lengths[at][:, None] + torch.arange(width, device=self.device)
        return _forward(self.model, self.cache.spread(at, width), tokens, mask, positions, keep=width)


def _forward(model: Any, cache: BatchCache, tokens: Tensor, mask: Tensor, positions: Tensor, keep: int = 1) -> Tensor:
    logits: Tensor = model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    ).logits
    return logits


def complete(
    model: Any,
    rows: Sequence[Row],
    states: States,
    sampling: Sampling,
    ends: Sequence[int],
    stopped: Stopped,
    counts: Counts,
) -> list[list[int]]:
    """New tokens of each row, its end token included."""
    batch = Batch(model, rows, states)
    keys = torch.tensor([row.noise for row in rows], device=batch.device)
    new: list[list[int]] = [[] for _ in rows]
    alive = list(range(len(rows)))  # which row each line of the batch belongs to
    for position in range(sampling.max_tokens):
        places = torch.full_like(keys, position)
        chosen = noise.sample_tokens(batch.logits, keys, places, sampling)
        counts.drawn += len(chosen)
        gone = []
        for line, token in enumerate(chosen.tolist()):
            mine = new[alive[line]]
            mine.append(token)
            if token in ends or stopped(rows[alive[line]].stop, mine):
                gone.append(line)
        if len(gone) == len(alive) or position + 1 == sampling.max_tokens:
            break
        if gone:
            order, [chosen, keys] = batch.leave(gone, chosen, keys)
            alive = [alive[line] for line in order]
        batch.step(chosen)
    counts.kept += sum(map(len, new))
    return new


def likelihoods(
    model: Any, contexts: Sequence[Row], texts: Sequence[tuple[int, tuple[int, ...]]], states: States, rows: int
) -> list[Likelihood]:
    """How likely each of `texts` (number of its context, tokens) is; a context is run once for all its texts."""
    batch = Batch(model, contexts, states)
    first = batch.logits.float().log_softmax(dim=-1)
    found: list[Likelihood] = []
    for begin in range(0, len(texts), rows):
        part = texts[begin : begin + rows]
        at = torch.tensor([context for context, _ in part], device=batch.device)
        logprobs = first[at][:, None]
        if any(len(text) > 1 for _, text in part):
            later = batch.follow([text[:-1] for _, text in part], [context for context, _ in part])
            logprobs = torch.cat([logprobs, later.float().log_softmax(dim=-1)], dim=1)
        for line, (_, text) in zip(logprobs, part, strict=True):
            wanted = torch.tensor(text, dtype=torch.long, device=batch.device)
            said = line[: len(text)].gather(-1, wanted[:, None]).sum()
            greedy = bool((line[: len(text)].argmax(dim=-1) == wanted).all())
            found.append(Likelihood(float(said), greedy, len(text)))
    return found

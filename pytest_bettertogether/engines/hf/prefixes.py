"""Shared beginnings of prompts: where they end, and their keys and values, computed once and kept.

Sums of floating-point numbers depend on the shapes that they are computed in. So where a prompt is cut follows from
the call alone, never from what happens to be kept, and a piece is always computed alone, on top of the pieces before
it: cold, warm or thrown away in between, the same tokens under the same cuts have the same bits.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from .key_value_cache import BatchCache, Layer

CUT_MULTIPLE = 16
"""Plain texts are cut at multiples of this many tokens, so that batches that share by chance a token more or less
than another still share their pieces with it."""

MIN_TOKENS_SAVED = 256
"""Tokens that a cut in plain texts must save within its call, to be worth a pass of its own."""

MIN_PIECE = 16
"""A chat is not cut into pieces of fewer tokens."""

KEPT_BYTES = 256 << 20
"""Keys and values kept between calls on a CPU; on a GPU it is a sixteenth of its memory. It decides no result."""

Piece = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Adapter, tokens from the start, and the cuts among them, the piece's own end last."""


class Prefixes:
    """Keys and values of prompt beginnings, by adapter; those not used for longest are dropped first."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit, self.bytes = limit, 0
        self.computed, self.reused = 0, 0
        """Tokens whose keys and values were computed here, and those that were found."""
        self._kept: OrderedDict[Piece, list[Layer]] = OrderedDict()

    def states(self, model: Any, adapter: str, ids: Sequence[int], cuts: Sequence[int]) -> list[Layer]:
        """Return each layer's keys and values for the tokens `ids` up to the last of `cuts`.

        Args:
            model: What computes them, with the adapter already active.
            adapter: Digest of that adapter; empty for the base model.
            ids: Token ids of the whole prompt.
            cuts: Positions in it, ascending, where its pieces end.

        Returns:
            A pair for each layer, each of the shape (1, heads, cuts[-1], size of a head).
        """
        whole: list[Layer] = []
        for n, (begin, end) in enumerate(pairwise((0, *cuts)), 1):
            key = (adapter, tuple(ids[:end]), tuple(cuts[:n]))
            piece = self._kept.get(key)
            if piece is None:
                piece = _compute(model, whole, ids[begin:end], begin)
                self.computed += end - begin
                self._keep(key, piece)
            else:
                self._kept.move_to_end(key)
                self.reused += end - begin
            whole = (
                [(torch.cat((k, a), -2), torch.cat((v, b), -2)) for (k, v), (a, b) in zip(whole, piece, strict=True)]
                if whole
                else piece
            )
        return whole

    def clear(self) -> None:
        """Drop everything that is kept, to free its memory."""
        self._kept.clear()
        self.bytes = 0

    def _keep(self, key: Piece, piece: list[Layer]) -> None:
        self._kept[key] = piece
        self.bytes += _size(piece)
        while self.bytes > self.limit:
            self.bytes -= _size(self._kept.popitem(last=False)[1])


def _compute(model: Any, before: list[Layer], ids: Sequence[int], begin: int) -> list[Layer]:
    device = model.device
    cache = BatchCache()
    if before:
        cache = BatchCache.of([before], [begin], capacity=begin + len(ids))
    positions = torch.arange(begin, begin + len(ids), device=device)[None]
    model(
        input_ids=torch.tensor([list(ids)], device=device),
        attention_mask=torch.ones(1, begin + len(ids), dtype=torch.long, device=device),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache.tail(begin)


def _size(piece: list[Layer]) -> int:
    return sum(tensor.nbytes for layer in piece for tensor in layer)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    return next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def cut_texts(texts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Where each of the token sequences of a call is cut: at the ends of beginnings that enough of them share.

    At least one token stays behind the last cut. Depends on the set of sequences only, not on their order.
    """
    order = sorted(range(len(texts)), key=lambda i: tuple(texts[i]))
    cuts: list[tuple[int, ...]] = [()] * len(texts)
    groups = [order]
    while groups:
        group = groups.pop()
        before = cuts[group[0]][-1] if group and cuts[group[0]] else 0
        if (len(group) - 1) * (max((len(texts[i]) for i in group), default=0) - before) < MIN_TOKENS_SAVED:
            continue  # however much they share, it would not be enough
        depth = common(texts[group[0]], texts[group[-1]])  # sorted: these two differ first
        end = min(depth, *(len(texts[i]) - 1 for i in group)) // CUT_MULTIPLE * CUT_MULTIPLE
        if (len(group) - 1) * (end - before) >= MIN_TOKENS_SAVED:
            for i in group:
                cuts[i] = (*cuts[i], end)
        branches: dict[int, list[int]] = {}
        for i in group:
            if len(texts[i]) > depth:
                branches.setdefault(texts[i][depth], []).append(i)
        groups += branches.values()
    return cuts

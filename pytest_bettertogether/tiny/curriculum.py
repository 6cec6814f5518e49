"""The stages of pre-training, from copying random pieces to whole prompts; one thing grows at a time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .synthetic import Shape, draw_sample
from .tokenizer import ASSISTANT, END

IGNORED = -100


@dataclass(frozen=True)
class Stage:
    """One lesson: it is over when the accuracy on last rows passes, or after so many steps."""

    name: str
    shape: Shape | None
    """None: the induction warm-up."""
    batch: int
    threshold: float
    cap: int
    review: float = 0.25
    """Share of batches that come from one of the three stages before."""
    short: float = 0.0
    """Share of batches with prompts of no, or few, demos."""
    rates: tuple[float, float] = (1.0, 1.0)
    """Learning rate at the first and at the capped last step, as shares of the peak; half a cosine between."""


@dataclass(frozen=True)
class Batch:
    """Token ids and targets [sequence, position]; `last` marks the targets of each sequence's last answer."""

    ids: Tensor
    targets: Tensor
    last: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.ids.to(device), self.targets.to(device), self.last.to(device))


_BARE = Shape(form="bare", rows=14, pieces=(1, 1))
_HEADER = replace(_BARE, form="header", pieces=(1, 3))
_CHAT = replace(_HEADER, form="chat", rows=10)
_NOISY = replace(_CHAT, noise=(0.0, 0.3), words=4)
_TWO = replace(_NOISY, features=(1, 2), noise=(0.0, 0.4), pieces=(1, 4))
_FOUR = replace(_TWO, features=(2, 4), names=2, words=8, irrelevant=0.1)
_FULL = replace(_FOUR, features=(2, 5), noise=(0.1, 0.6), words=10, irrelevant=0.25, classes=(2, 4))
# As hard as whole prompts, with a third of their tokens: matching many noisy fields is learnt here.
_DENSE = replace(_FULL, form="header", rows=24, noise=(0.0, 0.5), pieces=(1, 2))
_FEW = replace(_DENSE, rows=12, noise=(0.1, 0.6), uneven=True)
_PROMPTS = replace(_FULL, features=(2, 4), uneven=True, reasoning=0.25)
# The same numbers in another order: each has to be read with its field.
_BINDING = replace(_CHAT, noise=(0.0, 0.2), features=(2, 4), pieces=(1, 2), alike=1.0)

STAGES = (
    Stage("induction", None, 64, 0.9, 2000),
    Stage("bare", _BARE, 128, 0.9, 1500),
    Stage("syllables", replace(_BARE, pieces=(1, 3)), 96, 0.9, 1500),
    Stage("header", _HEADER, 96, 0.9, 1500),
    Stage("chat", _CHAT, 40, 0.9, 1500),
    Stage("noise", _NOISY, 40, 0.85, 1500),
    Stage("two", _TWO, 32, 0.85, 1500),
    Stage("four", _FOUR, 24, 0.85, 400),
    Stage("glimpse", _FULL, 24, 1.0, 65),
    Stage("dense", _DENSE, 32, 0.85, 1200, review=0.4),
    Stage("full", _FULL, 24, 1.0, 500, review=0.4),
    Stage("few", _FEW, 64, 1.0, 300, review=0.4),
    Stage("prompts", _PROMPTS, 24, 1.0, 1000, review=0.35, short=0.25, rates=(1.0, 0.05)),
    Stage("binding", _BINDING, 40, 0.85, 200, rates=(0.8, 0.8)),
    Stage("final", replace(_PROMPTS, alike=0.5), 24, 1.0, 260, review=0.35, short=0.25, rates=(0.8, 0.05)),
)

FIRST_PROMPTS = next(i for i, stage in enumerate(STAGES) if stage.shape is not None and stage.shape.form == "chat")
"""The first stage whose sequences are whole prompts."""


def lesson(current: int, rng: random.Random) -> Stage:
    """The stage to draw a batch from: the current one, or now and then an earlier one (never the warm-up)."""
    if current > 1 and rng.random() < STAGES[current].review:
        return STAGES[rng.randrange(max(1, current - 3), current)]
    return STAGES[current]


def make_batch(stage: Stage, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Batch:
    """A batch of the stage's sequences, padded on the right."""
    if stage.shape is None:
        return _batch(_induction(stage.batch, tokenizer, rng), [False] * stage.batch, tokenizer)
    # As many fields in every sequence of a batch: less of it is padding.
    width = rng.randint(*stage.shape.features)
    shape, count = replace(stage.shape, features=(width, width)), stage.batch
    if stage.short and rng.random() < stage.short:
        rows = rng.randint(1, 4)
        shape, count = replace(shape, rows=rows), round(count * (shape.rows + 2) / (rows + 2))
    samples = [draw_sample(shape, rng) for _ in range(count)]
    encoded = tokenizer.backend_tokenizer.encode_batch_fast([sample.text for sample in samples])
    return _batch([each.ids for each in encoded], [sample.last_only for sample in samples], tokenizer)


def _induction(count: int, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[list[int]]:
    """Random pieces said twice; the second time, as an assistant turn, they can be read off the first."""
    assistant, end = map(tokenizer.get_vocab().__getitem__, (ASSISTANT, END))
    pieces = [i for piece, i in tokenizer.get_vocab().items() if not piece.startswith("<")]
    length, gap = rng.randint(8, 40), rng.randint(0, 8)
    rows = []
    for _ in range(count):
        drawn = rng.choices(pieces, k=length)
        rows.append([*drawn, *rng.choices(pieces, k=gap), assistant, *drawn, end])
    return rows


def _batch(rows: Sequence[list[int]], last_only: Sequence[bool], tokenizer: PreTrainedTokenizerFast) -> Batch:
    assistant, end = map(tokenizer.get_vocab().__getitem__, (ASSISTANT, END))
    length = max(map(len, rows)) - 1
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    targets = torch.full((len(rows), length), IGNORED)
    last = torch.zeros((len(rows), length), dtype=torch.bool)
    for i, (row, only) in enumerate(zip(rows, last_only, strict=True)):
        ids[i, : len(row) - 1] = torch.tensor(row[:-1])
        starts = [place for place, piece in enumerate(row) if piece == assistant]
        for start in starts[-1:] if only else starts:
            stop = row.index(end, start)
            targets[i, start:stop] = torch.tensor(row[start + 1 : stop + 1])
        last[i, starts[-1] : stop] = True
    return Batch(ids, targets, last)

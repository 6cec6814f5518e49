"""The stages of pre-training, from copying random pieces to whole prompts; one thing grows at a time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .arithmetic import Arithmetic
from .classification import Classification
from .lookup import Lookup
from .synthetic import Shape, draw_sample
from .tokenizer import ASSISTANT, END

IGNORED = -100


@dataclass(frozen=True)
class Stage:
    """One lesson: it is over when the accuracy on last rows passes, or after so many steps."""

    name: str
    shapes: tuple[Shape, ...]
    """One of them for each batch; none: the induction warm-up."""
    threshold: float
    cap: int
    tokens: int = 12_000
    """Of a batch, about, padding included."""
    review: float = 0.25
    """Share of batches that come from one of the three stages before."""
    short: float = 0.0
    """Share of batches with prompts of no, or few, demos."""
    rates: tuple[float, float] = (1.0, 1.0)
    """Learning rate at the first and at the capped last step, as shares of the peak; half a cosine between."""


@dataclass(frozen=True)
class Batch:
    """Token ids and targets [sequence, position] of one kind of task.

    `last` marks the targets of each sequence's last answer.
    """

    kind: str
    ids: Tensor
    targets: Tensor
    last: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.kind, self.ids.to(device), self.targets.to(device), self.last.to(device))


_BARE = Classification(form="bare", rows=14, pieces=(1, 1))
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
_CLASSES = replace(_PROMPTS, reasoning=0.15, alike=0.35)

_SUMS = Arithmetic(form="sums", rows=24)
_VERBS = Arithmetic(form="bare", rows=14, verbs=(2, 3), pieces=(1, 2))
_STEPS = replace(_VERBS, steps=(1, 3), verbs=(2, 4), pieces=(1, 3))
_PROBLEMS = replace(_STEPS, form="chat", rows=7, words=4)
_STORIES = replace(_PROBLEMS, rows=8, verbs=(2, 7), endings=True, fillers=(0, 2), words=10, unexplained=0.15)
# Dense in verbs, and no ending tells them apart.
_ENDINGS = replace(_STEPS, rows=16, verbs=(2, 5), endings=True)

_FACTS = Lookup(form="bare", rows=14, hops=1, roles=("answer",), passages=(2, 4), pieces=(1, 1))
_QUERIES = replace(_FACTS, roles=("first", "answer"), pieces=(1, 2))
_HOPS = replace(_QUERIES, rows=10, hops=2, roles=("first", "second", "answer"), passages=(1, 2))
_ASKED = replace(_HOPS, form="chat", rows=6, words=4, shuffled=0.3)
_SEARCHES = replace(
    _ASKED, beginnings=True, relations=(2, 6), wordings=(1, 4), fillers=(0, 2), words=10, shuffled=0.6, missing=0.06
)

_ALL = (_CLASSES, _STORIES, _SEARCHES)

STAGES = (
    Stage("induction", (), 0.9, 2000, tokens=4_000),
    Stage("bare", (_BARE,), 0.9, 1500, tokens=7_000),
    Stage("syllables", (replace(_BARE, pieces=(1, 3)),), 0.9, 1500, tokens=8_000),
    Stage("header", (_HEADER,), 0.9, 1500, tokens=9_000),
    Stage("chat", (_CHAT,), 0.9, 1500, tokens=7_000),
    Stage("noise", (_NOISY,), 0.85, 1500, tokens=7_000),
    Stage("two", (_TWO,), 0.85, 1500, tokens=8_000),
    Stage("four", (_FOUR,), 0.85, 400, tokens=9_000),
    Stage("glimpse", (_FULL,), 1.0, 65),
    Stage("dense", (_DENSE,), 0.85, 1200, review=0.4),
    Stage("full", (_FULL,), 1.0, 500, review=0.4),
    Stage("few", (_FEW,), 1.0, 300, review=0.4),
    Stage("prompts", (_PROMPTS,), 1.0, 1000, review=0.35, short=0.25, rates=(1.0, 0.05)),
    Stage("binding", (_BINDING,), 0.85, 200, rates=(0.8, 0.8)),
    Stage("final", (_CLASSES,), 1.0, 260, review=0.35, short=0.25, rates=(0.8, 0.05)),
    Stage("sums", (_SUMS,), 0.95, 600, review=0.2, rates=(0.2, 1.0)),
    Stage("verbs", (_VERBS,), 0.9, 600),
    Stage("steps", (_STEPS,), 0.85, 600),
    Stage("problems", (_PROBLEMS,), 0.8, 600),
    Stage("facts", (_FACTS,), 0.9, 600),
    Stage("queries", (_QUERIES,), 0.9, 150),
    Stage("hops", (_HOPS,), 0.85, 250),
    Stage("together", (_CLASSES, _CLASSES, _PROBLEMS, _STORIES, _HOPS, _ASKED), 1.0, 900, review=0.0, short=0.1),
    Stage(
        "everything", (*_ALL, _CLASSES, _STORIES, _ENDINGS, _ASKED), 1.0, 1900, review=0.0, short=0.2, rates=(0.9, 0.03)
    ),
    Stage(
        "again",
        (_CLASSES, _CLASSES, _SEARCHES, _SEARCHES, _STORIES),
        1.0,
        700,
        review=0.0,
        short=0.2,
        rates=(0.6, 0.02),
    ),
    Stage(
        "matching",
        (_CLASSES, _CLASSES, _FEW, _FEW, _SEARCHES, _SEARCHES, _STORIES),
        1.0,
        2400,
        review=0.0,
        short=0.2,
        rates=(0.8, 0.02),
    ),
)

FIRST_PROMPTS = next(i for i, stage in enumerate(STAGES) if any(shape.form == "chat" for shape in stage.shapes))
"""The first stage whose sequences are whole prompts."""


def lesson(current: int, rng: random.Random) -> Stage:
    """The stage to draw a batch from: the current one, or now and then an earlier one (never the warm-up).

    That is one of the three before, or the last that taught another kind of task, lest it be forgotten.
    """
    stage = STAGES[current]
    if current < 2 or rng.random() >= stage.review:
        return stage
    last = {_kinds(earlier): earlier for earlier in STAGES[1:current]}
    others = [earlier for kinds, earlier in last.items() if kinds != _kinds(stage)]
    return rng.choice([*STAGES[max(1, current - 3) : current], *others])


def _kinds(stage: Stage) -> frozenset[str]:
    return frozenset(type(shape).__name__ for shape in stage.shapes)


def make_batch(stage: Stage, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Batch:
    """A batch of the stage's sequences, padded on the right."""
    if not stage.shapes:
        rows = _induction(stage.tokens, tokenizer, rng)
        return _batch("Induction", rows, [False] * len(rows), tokenizer)
    shape = rng.choice(stage.shapes).narrowed(rng)
    if stage.short and rng.random() < stage.short:
        shape = shape.shortened(rng.randint(1, 4))
    encoded: list[list[int]] = []
    samples, longest = [], 0
    while longest * (len(encoded) + 1) < stage.tokens or not encoded:
        samples.append(draw_sample(shape, rng))
        encoded.append(tokenizer.backend_tokenizer.encode(samples[-1].text).ids)
        longest = max(longest, len(encoded[-1]))
    return _batch(type(shape).__name__, encoded, [sample.last_only for sample in samples], tokenizer)


def _induction(tokens: int, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[list[int]]:
    """Random pieces said twice; the second time, as an assistant turn, they can be read off the first."""
    assistant, end = map(tokenizer.get_vocab().__getitem__, (ASSISTANT, END))
    pieces = [i for piece, i in tokenizer.get_vocab().items() if not piece.startswith("<")]
    length, gap = rng.randint(8, 40), rng.randint(0, 8)
    rows = []
    for _ in range(tokens // (2 * length + gap + 2)):
        drawn = rng.choices(pieces, k=length)
        rows.append([*drawn, *rng.choices(pieces, k=gap), assistant, *drawn, end])
    return rows


def _batch(
    kind: str, rows: Sequence[list[int]], last_only: Sequence[bool], tokenizer: PreTrainedTokenizerFast
) -> Batch:
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
    return Batch(kind, ids, targets, last)

"""Classification by numbers: made-up fields and options; class means, spreads and which fields matter at random."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..pipeline.forms import FORMS
from ..pipeline.program import ChainOfThought, Demo, Field, Signature
from ..pipeline.prompt import Message
from .synthetic import Sample
from .tokenizer import ASSISTANT, END, SUFFIXES, chat_text
from .words import distinct, instruction, made_up, word


@dataclass(frozen=True)
class Classification:
    """How hard a task is and how much template stands around it."""

    form: Literal["bare", "header", "chat"] = "chat"
    rows: int = 9
    """Rows of a sequence: the demos and the question."""
    features: tuple[int, int] = (1, 1)
    classes: tuple[int, int] = (2, 3)
    pieces: tuple[int, int] = (1, 3)
    """Syllables of a label."""
    noise: tuple[float, float] = (0.0, 0.0)
    """Standard deviation within a class, where class means have a standard deviation of about 1."""
    irrelevant: float = 0.0
    """Chance that a field says nothing about the class."""
    uneven: bool = False
    """Whether two classes may be far nearer to each other than to the rest."""
    alike: float = 0.0
    """Chance that classes have the same numbers in another order: all depends on which field a number belongs to."""
    names: int = 1
    """Parts of a field's name; from 2 on, fields may share parts, as in top_width and top_length."""
    words: int = 0
    """Most words of the instruction."""
    reasoning: float = 0.0
    """Chance that the program reasons before it answers."""

    def narrowed(self, rng: random.Random) -> "Classification":
        """The same with a number of fields drawn: a batch in which all sequences have as many is padded less."""
        width = rng.randint(*self.features)
        return replace(self, features=(width, width))

    def shortened(self, rows: int) -> "Classification":
        """The same with so many rows."""
        return replace(self, rows=rows)

    def draw(self, rng: random.Random) -> Sample:
        """A sequence of a new task."""
        table = draw_table(self, rng)
        if self.form == "chat":
            # Half of the programs that reason have demos whose reasoning was written in another context.
            reasons = self.reasoning > 0 and rng.random() < self.reasoning
            detached = reasons and rng.random() < 0.5
            return Sample(chat_text(draw_chat(self, table, reasons, detached, rng)), last_only=detached)
        header = "answer: " if self.form == "header" else ""
        lines = zip(table.values, table.labels, strict=True)
        return Sample("".join(f"{' '.join(row)}{ASSISTANT}{header}{label}{END}" for row, label in lines))


@dataclass(frozen=True)
class Table:
    """Rows of a drawn task: values[row][field] as text, and the label of each row."""

    fields: tuple[str, ...]
    options: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]


def draw_chat(
    shape: Classification, table: Table, reasons: bool, detached: bool, rng: random.Random
) -> tuple[Message, ...]:
    """The table as a conversation in the prompt format, the last row answered too."""
    output = "answer" if rng.random() < 0.8 else rng.choice(("label", "class", "kind", "result", made_up(rng)))
    description = "" if rng.random() < 0.08 else _listing(table.options, rng)
    fields = tuple(Field(name) for name in table.fields)
    outputs = (*[ChainOfThought.REASONING] * reasons, Field(output, description))
    signature = Signature(fields, outputs, instruction(shape.words, rng))
    rows = []
    for i, (row, label) in enumerate(zip(table.values, table.labels, strict=True)):
        said = {output: label}
        if reasons:
            said["reasoning"] = _reasoning(table, i, range(i))
            if detached and i + 1 < len(table.values):
                others = [k for k in range(len(table.values)) if k != i]
                said["reasoning"] = _reasoning(table, i, others if rng.random() < 0.5 else ())
                if rng.random() < 0.25:
                    del said["reasoning"]
        rows.append(Demo(dict(zip(table.fields, row, strict=True)), said))
    answer = Message("assistant", FORMS["chat"].answer(signature, rows[-1].outputs))
    return (*FORMS["chat"].ask(signature, rows[:-1], rows[-1].inputs).messages, answer)


def _reasoning(table: Table, row: int, others: Sequence[int]) -> str:
    """The nearest of the other rows with the same label, and how it begins."""
    same = [k for k in others if table.labels[k] == table.labels[row]]
    if not same:
        return f"like none above, so {table.labels[row]}"
    here = [float(value) for value in table.values[row]]
    nearest = min(same, key=lambda k: math.dist(here, [float(value) for value in table.values[k]]))
    return f"like {table.labels[row]} with {', '.join(table.values[nearest][:2])}"


def draw_table(shape: Classification, rng: random.Random) -> Table:
    """A task with its rows: classes are drawn independently, so that no row can be told from the ones before."""
    count, width = rng.randint(*shape.classes), rng.randint(*shape.features)
    numbers = np.random.default_rng(rng.getrandbits(64))
    alike = shape.alike > 0 and rng.random() < shape.alike and math.factorial(width) >= count
    means, spreads = _classes(shape, count, width, alike, numbers)
    which = numbers.integers(count, size=shape.rows)
    shared, rho = numbers.standard_normal((shape.rows, 1)), numbers.uniform(0, 0.8)
    own = numbers.standard_normal((shape.rows, width))
    units = means[which] + spreads[which] * (rho * shared + np.sqrt(1 - rho**2) * own)
    scale = np.exp(numbers.uniform(np.log(0.4), np.log(2.0), 1 if alike else width))
    axis = None if alike else 0
    low, high = (scale * (means - spreads)).min(axis), (scale * (means + spreads)).max(axis)
    # Anywhere on the scale from 0 to 9.9 where the classes fit.
    base = -low + numbers.uniform(0, 1, np.size(low)) * np.maximum(9.8 - (high - low), 0.2)
    values = np.clip(base + scale * units, 0.0, 9.9)
    options = tuple(distinct(count, rng, shape.pieces))
    return Table(
        fields=_field_names(width, shape.names, rng),
        options=options,
        values=tuple(tuple(f"{value:.1f}" for value in row) for row in values),
        labels=tuple(options[place] for place in which),
    )


def _classes(
    shape: Classification, count: int, width: int, alike: bool, numbers: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations [class, field], redrawn until every two classes can be told apart."""
    noise = numbers.uniform(*shape.noise)
    while True:
        relevance = np.where(numbers.random(width) < shape.irrelevant, 0.0, numbers.uniform(0.5, 1.5, width))
        directions = numbers.standard_normal((count, width))
        if numbers.random() < 0.5:
            # Classes in a line: every field grows, or shrinks, with the same hidden size.
            evenly = np.linspace(-1.3, 1.3, count) + numbers.normal(0, 0.15, count)
            position = numbers.permutation(numbers.uniform(-1.6, 1.6, count) if shape.uneven else evenly)
            directions = position[:, None] * numbers.choice([-1, 1, 1], width) + 0.25 * directions
        means = relevance * directions
        if alike:
            means = numbers.permuted(np.tile(1.3 * directions[0], (count, 1)), axis=1)
        spreads = noise * numbers.uniform(0.5, 1.5, (count, width))
        gaps = np.abs(means[:, None] - means[None]) / np.maximum(spreads.mean(0), 0.15)
        distance = np.sqrt((gaps**2).sum(-1)) + 99 * np.eye(count)
        if distance.min() > (2.5 if shape.uneven else 3.0):
            return means, spreads


def _field_names(count: int, parts: int, rng: random.Random) -> tuple[str, ...]:
    while True:
        if parts == 1:
            names = [word(rng) for _ in range(count)]
        elif rng.random() < 0.4:
            names = [f"{word(rng)}_{rng.choice(SUFFIXES)}" for _ in range(count)]
        else:
            # A grid of heads and tails, row by row: two fields share a head, two share a tail.
            tails = rng.sample(SUFFIXES, 2) if rng.random() < 0.7 else [word(rng), word(rng)]
            heads = [word(rng) for _ in range((count + 1) // 2)]
            names = [f"{head}_{tail}" for head in heads for tail in tails][:count]
        folded = {name.replace("_", "") for name in names}
        if len(folded) == count and not folded & {"answer", "label", "class", "kind", "result"}:
            return tuple(names)


def _listing(options: Sequence[str], rng: random.Random) -> str:
    head, last = ", ".join(options[:-1]), options[-1]
    styles = (f"{head} or {last}",) * 4 + (f"{head}, {last}", f"one of {head}, {last}")
    return rng.choice(styles)

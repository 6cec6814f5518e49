"""Word problems of one to three steps: what a verb does to the number, take away or add, has to be read off the demos.

The reasoning is a running total, `24, lost - 5 = 19, found + 7 = 26`, written so that each
verb comes right before its operation: a verb seen in a demo can be looked up there.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from ..pipeline.forms import FORMS
from ..pipeline.program import ChainOfThought, Demo, Field, Signature
from ..pipeline.prompt import Message
from .synthetic import Sample
from .tokenizer import ASSISTANT, END, chat_text
from .words import capitalised, distinct, instruction, made_up, syllable, template, word

STARTS = (*range(4, 40), *range(60, 96))
"""Numbers a problem may begin with; those from 40 to 59 are left to the suite."""
MOST = 99


@dataclass(frozen=True)
class Arithmetic:
    """How hard the problems are and how much template stands around them."""

    form: Literal["sums", "bare", "chat"] = "chat"
    rows: int = 7
    steps: tuple[int, int] = (1, 1)
    verbs: tuple[int, int] = (2, 2)
    """How many verbs the problems of a sequence share."""
    pieces: tuple[int, int] = (1, 3)
    """Syllables of a verb."""
    fillers: tuple[int, int] = (0, 1)
    """Words between the parts of a sentence."""
    endings: bool = False
    """Whether all verbs of a sequence may end alike."""
    words: int = 0
    """Most words of the instruction."""
    unexplained: float = 0.0
    """Chance that some demos give the answer alone."""

    def narrowed(self, rng: random.Random) -> "Arithmetic":
        """The same with a number of rows for all sequences of a batch, at most three fewer."""
        return replace(self, rows=rng.randint(max(1, self.rows - 3), self.rows))

    def shortened(self, rows: int) -> "Arithmetic":
        """The same with so many rows."""
        return replace(self, rows=rows)

    def draw(self, rng: random.Random) -> Sample:
        """A sequence of problems in which each verb means the same."""
        if self.form == "sums":
            lines = [draw_problem((1, 1), _SIGNS, range(MOST + 1), rng) for _ in range(self.rows)]
            sums = [line.reasoning.split(", ")[1].split(" = ") for line in lines]
            return Sample(
                "".join(f"{p.start}{s}{ASSISTANT}{total}{END}" for p, (s, total) in zip(lines, sums, strict=True))
            )
        names = distinct(rng.randint(*self.verbs), rng, self.pieces, ordinary=0.2)
        if self.endings and rng.random() < 0.5:
            # As verbs of one tense do: then the last letters do not tell which verb it is.
            ending = rng.choice(("ed", "ed", "d", "t", "s", syllable(rng)))
            names = [name + ending for name in names]
        signs = {name: rng.choice("+-") for name in names}
        problems = [draw_problem(self.steps, signs, STARTS, rng) for _ in range(self.rows)]
        if self.form == "bare":
            asked = [
                " ".join([str(problem.start), *(f"{verb} {n}" for verb, n in problem.changes)]) for problem in problems
            ]
            said = [problem.reasoning for problem in problems]
            return Sample("".join(f"{a}{ASSISTANT}{s}{END}" for a, s in zip(asked, said, strict=True)))
        unexplained = rng.random() < self.unexplained
        return Sample(chat_text(draw_chat(self, problems, unexplained, rng)), last_only=unexplained)


@dataclass(frozen=True)
class Problem:
    """A start, what happens to it, and the way to the answer."""

    start: int
    changes: tuple[tuple[str, int], ...]
    reasoning: str
    answer: int


_SIGNS = {"+": "+", "-": "-"}


def draw_problem(
    steps: tuple[int, int], signs: dict[str, str], starts: "range | tuple[int, ...]", rng: random.Random
) -> Problem:
    """A problem whose totals all lie from 0 to 99; `signs` says what each verb does."""
    while True:
        start = rng.choice(starts)
        total, changes, said = start, [], [str(start)]
        for _ in range(rng.randint(*steps)):
            verb = rng.choice(tuple(signs))
            amount = rng.randint(1, 9) if rng.random() < 0.7 else rng.randint(10, 60)
            total += amount if signs[verb] == "+" else -amount
            changes.append((verb, amount))
            shown = f"{verb} {signs[verb]}" if verb not in "+-" else f" {verb}"
            said.append(f"{shown} {amount} = {total}")
            if not 0 <= total <= MOST:
                break
        else:
            return Problem(start, tuple(changes), ", ".join(said), total)


def draw_chat(shape: Arithmetic, problems: list[Problem], unexplained: bool, rng: random.Random) -> tuple[Message, ...]:
    """The problems as a conversation in the prompt format, the last one answered too."""
    asked, answer = (
        _field(("question", "problem", "text", "story"), 0.7, rng),
        _field(("answer", "result", "total"), 0.85, rng),
    )
    description = rng.choice(("", "a number", "number", "one number", word(rng)))
    signature = Signature(
        (Field(asked),), (ChainOfThought.REASONING, Field(answer, description)), instruction(shape.words, rng)
    )
    style = _Style(shape, rng)
    rows = []
    for i, problem in enumerate(problems):
        said = {"reasoning": problem.reasoning, answer: str(problem.answer)}
        if unexplained and i + 1 < len(problems) and rng.random() < 0.6:
            del said["reasoning"]
        rows.append(Demo({asked: style.story(problem)}, said))
    whole = [row for row in rows[:-1] if "reasoning" in row.outputs]
    partial = [row for row in rows[:-1] if "reasoning" not in row.outputs]
    messages = FORMS["chat"].ask(signature, [*partial, *whole], rows[-1].inputs).messages
    return (*messages, Message("assistant", FORMS["chat"].answer(signature, rows[-1].outputs)))


def _field(usual: tuple[str, ...], chance: float, rng: random.Random) -> str:
    if rng.random() < chance:
        return usual[0]
    return rng.choice((*usual[1:], made_up(rng)))


class _Style:
    """How the problems of one sequence are worded: a few sentences for each part, a few names and things."""

    def __init__(self, shape: Arithmetic, rng: random.Random) -> None:
        self.rng = rng
        capital = capitalised if rng.random() < 0.7 else str
        self.names = [capital(made_up(rng)) for _ in range(rng.randint(1, 4))]
        self.things = [word(rng) for _ in range(rng.randint(1, 3))]
        named = rng.random() < 0.8
        opening = capitalised if rng.random() < 0.75 else str
        self.starts = [
            opening(template([*["name"] * named, "number", *["thing"] * (rng.random() < 0.7)], rng, shape.fillers))
            for _ in range(rng.randint(1, 2))
        ]
        order = ["verb", "number"] if rng.random() < 0.85 else ["number", "verb"]
        self.steps = [
            opening(
                template(
                    [*["name"] * (named and rng.random() < 0.7), *order, *["thing"] * (rng.random() < 0.4)],
                    rng,
                    shape.fillers,
                )
            )
            for _ in range(rng.randint(1, 3))
        ]
        closing = [*["thing"] * (rng.random() < 0.6), *["name"] * (named and rng.random() < 0.6)]
        self.closing = opening(template(closing, rng, (1, 2))) if rng.random() < 0.9 else ""
        self.end = rng.choice((". ", ". ", ". ", ", "))

    def story(self, problem: Problem) -> str:
        """The problem's text."""
        known = {"name": self.rng.choice(self.names), "thing": self.rng.choice(self.things)}
        sentences = [self.rng.choice(self.starts).format(number=problem.start, **known)]
        for verb, amount in problem.changes:
            sentences.append(self.rng.choice(self.steps).format(verb=verb, number=amount, **known))
        if self.closing:
            return self.end.join([*sentences, self.closing.format(**known)]) + "?"
        return self.end.join(sentences) + "."

"""Look-ups of one or two hops: to write the query for the next hop, or to answer from the passages found.

Every passage says that one name stands in a relation to another. A question names a
relation, or two, and a name; in which order the hops go is a matter of how the question is
worded, drawn anew for every sequence, so it has to be read off the demos.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from ..pipeline.forms import FORMS
from ..pipeline.program import Demo, Field, Signature
from ..pipeline.prompt import Message
from .synthetic import Sample
from .tokenizer import ASSISTANT, CONSONANTS, END, OPENERS, chat_text
from .words import capitalised, distinct, ends_alike, instruction, made_up, template, word

Role = Literal["first", "second", "answer"]
"""Which module of a pipeline: the query of hop one, that of hop two, or the answer."""


@dataclass(frozen=True)
class Lookup:
    """How hard the look-ups are and how much template stands around them."""

    form: Literal["bare", "chat"] = "chat"
    rows: int = 6
    hops: int = 2
    roles: tuple[Role, ...] = ("first", "second", "answer")
    passages: tuple[int, int] = (1, 2)
    """Passages found per hop."""
    relations: tuple[int, int] = (2, 4)
    wordings: tuple[int, int] = (1, 1)
    """Different questions in a sequence."""
    pieces: tuple[int, int] = (1, 2)
    """Syllables of names and relations."""
    fillers: tuple[int, int] = (0, 1)
    """Words between the parts of a sentence."""
    beginnings: bool = False
    """Whether the names of a sequence may begin alike."""
    words: int = 0
    """Most words of the instruction."""
    shuffled: float = 0.0
    """Chance that the passage which matters is not the first of its hop."""
    missing: float = 0.0
    """Chance that it was not found at all."""

    def narrowed(self, rng: random.Random) -> "Lookup":
        """The same with one role and one number of passages."""
        found = rng.randint(*self.passages)
        return replace(self, roles=(rng.choice(self.roles),), passages=(found, found))

    def shortened(self, rows: int) -> "Lookup":
        """The same with so many rows."""
        return replace(self, rows=rows)

    def draw(self, rng: random.Random) -> Sample:
        """A sequence of look-ups worded alike."""
        role, world = rng.choice(self.roles), _World(self, rng)
        lookups = [world.look_up() for _ in range(self.rows)]
        if self.form == "bare":
            rows = [(" ".join([*lookup.context(role), lookup.question]), lookup.target(role)) for lookup in lookups]
            return Sample("".join(f"{asked}{ASSISTANT}{said}{END}" for asked, said in rows))
        return Sample(chat_text(draw_chat(self, role, lookups, rng)))


@dataclass(frozen=True)
class Found:
    """One look-up and what each hop found; `queries` are the right ones."""

    question: str
    hops: tuple[tuple[str, ...], ...]
    queries: tuple[str, ...]
    answer: str

    def context(self, role: Role) -> list[str]:
        """The passages that a module of this role sees."""
        seen = {"first": 0, "second": 1, "answer": len(self.hops)}[role]
        return [passage for hop in self.hops[:seen] for passage in hop]

    def target(self, role: Role) -> str:
        """What it ought to say."""
        if role == "answer":
            return self.answer
        return self.queries[0 if role == "first" else 1]


def draw_chat(shape: Lookup, role: Role, lookups: list[Found], rng: random.Random) -> tuple[Message, ...]:
    """The look-ups as a conversation in the prompt format, the last one answered too."""
    question, context = _field(("question",), rng), _field(("context", "passages", "facts"), rng)
    said = _field(
        ("answer", "answer", "result", "name") if role == "answer" else ("search_query", "search_query", "query"), rng
    )
    names = [question, context] if rng.random() < 0.3 else [context, question]
    if role == "first" and rng.random() < 0.3:
        names = [question]
    remark = {context: rng.choice(("", "", "may hold the facts", word(rng)))}
    fields = tuple(Field(name, remark.get(name, "")) for name in names)
    described = rng.choice(("", "", "a name" if role == "answer" else "a query", word(rng)))
    signature = Signature(fields, (Field(said, described),), instruction(shape.words, rng))
    rows = []
    for lookup in lookups:
        inputs = {question: lookup.question, context: lookup.context(role)}
        rows.append(Demo({name: inputs[name] for name in names}, {said: lookup.target(role)}))
    answer = Message("assistant", FORMS["chat"].answer(signature, rows[-1].outputs))
    return (*FORMS["chat"].ask(signature, rows[:-1], rows[-1].inputs).messages, answer)


def _field(usual: tuple[str, ...], rng: random.Random) -> str:
    return rng.choice(usual) if rng.random() < 0.85 else made_up(rng)


def _names(shape: Lookup, count: int, rng: random.Random) -> list[str]:
    """Different names; some sequences have names that begin alike, so that a beginning does not tell which it is."""
    if not shape.beginnings or rng.random() < 0.5:
        return distinct(count, rng, shape.pieces, ordinary=0.0)
    letters = rng.sample(CONSONANTS, rng.randint(1, 5))
    names: dict[str, None] = {}
    while len(names) < count:
        name = rng.choice(letters) + made_up(rng, shape.pieces)[1:]
        if len(name) > 2 and not ends_alike(name):
            names[name] = None
    return list(names)


class _World:
    """What the look-ups of a sequence share: relations, names, and how passages and questions are worded."""

    def __init__(self, shape: Lookup, rng: random.Random) -> None:
        self.shape, self.rng = shape, rng
        self.relations = distinct(rng.randint(*shape.relations), rng, shape.pieces, ordinary=0.3)
        capital = capitalised if shape.form == "chat" and rng.random() < 0.75 else str
        self.names = [capital(name) for name in _names(shape, rng.randint(12, 24), rng)]
        opening = capitalised if shape.form == "chat" and rng.random() < 0.75 else str
        stop = "." if shape.form == "chat" and rng.random() < 0.8 else ""
        subject_first = rng.random() < 0.3
        slots = ["a", "relation", "b"] if subject_first else ["relation", "a", "b"]
        if rng.random() < 0.2:
            slots = rng.sample(slots, 3)
        self.passage = opening(template(slots, rng, shape.fillers)) + stop
        self.questions = [self._question() for _ in range(rng.randint(*shape.wordings))]
        self.name_first = rng.random() < 0.15

    def look_up(self) -> Found:
        """A question about names drawn anew."""
        rng = self.rng
        start, bridge, end, *others = rng.sample(self.names, len(self.names))
        inner, outer = rng.choice(self.relations), rng.choice(self.relations)
        question = rng.choice(self.questions).format(inner=inner, outer=outer, name=start)
        queries = [self._query(inner, start)]
        found, answer = self._hop(inner, start, bridge, others)
        hops = [found]
        if self.shape.hops == 2:
            queries.append(self._query(outer, answer))
            found, answer = self._hop(outer, answer, end, others)
            hops.append(found)
        return Found(question, tuple(hops), tuple(queries), answer)

    def _question(self) -> str:
        """One wording: mostly the first hop's relation stands next to the name; now and then a sentence ends inside."""
        rng, shape = self.rng, self.shape
        parts = rng.choice((["outer", "inner", "name"], ["name", "inner", "outer"]))
        if shape.hops == 1:
            parts.remove("outer")
        if rng.random() < 0.3:
            rng.shuffle(parts)
        if shape.form == "bare":
            return template(parts, rng, shape.fillers)
        capital = capitalised if rng.random() < 0.75 else str
        cut = rng.randrange(1, len(parts)) if rng.random() < 0.35 else len(parts)
        sentences = [
            (rng.choice(OPENERS) + " " if rng.random() < 0.3 else "") + template(part, rng, shape.fillers)
            for part in (parts[:cut], parts[cut:])
            if part
        ]
        return ". ".join(map(capital, sentences)) + ("?" if rng.random() < 0.8 else "")

    def _query(self, relation: str, name: str) -> str:
        return f"{name} {relation}" if self.name_first else f"{relation} {name}"

    def _hop(self, relation: str, name: str, other: str, strangers: list[str]) -> tuple[tuple[str, ...], str]:
        """What a search for the relation of a name finds, and the name to go on with.

        That is the passage which says it and some that look like it; where the former is
        missing, the first of the others has to do.
        """
        rng = self.rng
        found = [(relation, name, other)]
        different = [another for another in self.relations if another != relation] or [relation]
        for _ in range(rng.randint(*self.shape.passages) - 1):
            stranger, another = rng.sample(strangers, 2)
            found.append(
                rng.choice(
                    (
                        (rng.choice(different), name, stranger),
                        (relation, stranger, name),
                        (relation, stranger, name),
                        (rng.choice(different), stranger, name),
                        (relation, stranger, another),
                    )
                )
            )
        if len(found) > 1 and rng.random() < self.shape.missing:
            del found[0]
        best = found[0][2]
        if rng.random() < self.shape.shuffled:
            rng.shuffle(found)
        return tuple(self.passage.format(relation=r, a=a, b=b) for r, a, b in found), best

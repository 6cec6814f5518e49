"""Look-up: two-hop questions over made-up passages, in the manner of HotPotQA; two queries, BM25, one answer."""

from functools import cache
from itertools import permutations, product
from random import Random

import pytest

from pytest_bettertogether import Predict, Program, Retrieve, Splits, Task, exact_match

RELATIONS = ("cousin", "tutor", "rival", "neighbour", "landlord", "mentor")
NAMES = [f"{first.upper()}{a}{b}{e}{first}" for first, a, b, e in product("nrlstm", "aeiou", "bdkv", "aeiou")]
Random(0).shuffle(NAMES)
NAMES = NAMES[:48]
ASKED = (
    "Who is the {outer} of the {inner} of {name}?",
    "{name} has a {inner}. Who is the {outer} of that one?",
)


@cache
def facts():
    """Who stands in each relation to each name: 288 facts, and nobody has two cousins."""
    rng = Random(1)
    circles = {relation: rng.sample(NAMES, len(NAMES)) for relation in RELATIONS}
    return {(relation, a): b for relation, circle in circles.items() for a, b in zip(circle, circle[1:] + circle[:1])}


@cache
def index():
    import bm25s

    passages = [f"The {relation} of {name} is {other}." for (relation, name), other in facts().items()]
    found = bm25s.BM25(corpus=passages)
    found.index(bm25s.tokenize(passages, stopwords="en", show_progress=False), show_progress=False)
    return found


def search(queries, k):
    """The k best passages of each query, best first."""
    import bm25s

    tokens = bm25s.tokenize(list(queries), stopwords="en", show_progress=False)
    return [list(map(str, found)) for found in index().retrieve(tokens, k=k, show_progress=False).documents]


class Answer(Program):
    def __init__(self):
        self.search = Retrieve(search, k=2)
        hop = "context, question -> search_query"
        self.first = Predict(hop, instruction="Write a search query for the first fact that the question needs.")
        self.second = Predict(hop, instruction="Write a search query for the next fact, given what was found.")
        self.answer = Predict(
            "context, question -> answer",
            instruction="Answer the question from the passages in the context.",
            describe={"answer": "a name"},
        )

    def forward(self, question):
        context = self.search(self.first(context=[], question=question).search_query)
        context += self.search(self.second(context=context, question=question).search_query)
        return self.answer(context=list(dict.fromkeys(context)), question=question)


def questions():
    """200 of 2,880 questions; the name that one starts from tells its split."""
    rng = Random(2)
    splits = {"train": (NAMES[:16], 50), "dev": (NAMES[16:24], 50), "test": (NAMES[24:], 100)}
    return Splits.of(**{split: _drawn(names, count, rng) for split, (names, count) in splits.items()})


def _drawn(names, count, rng):
    possible = list(product(names, permutations(RELATIONS, 2), ASKED))
    rows = []
    for name, (inner, outer), asked in rng.sample(possible, count):
        question = asked.format(name=name, inner=inner, outer=outer)
        rows.append({"question": question, "answer": facts()[outer, facts()[inner, name]]})
    return rows


# Three calls have to be right at once, so traces are drawn less wildly and more often than elsewhere, and trained on
# more gently. Labelled demos lack the passages: none are added to those from traces.
RECIPE = {
    "bootstrap.temperature": 0.5,
    "search.max_labelled": 4,
    "search.attempts": 4,
    "lora.attempts": 4,
    "lora.epochs": 8,
    "lora.learning_rate": 1e-3,
}
TASK = Task(program=Answer, data=questions, metric=exact_match("answer"), recipe=RECIPE)


@pytest.mark.bettertogether(TASK, gate=["p", "pwp"])
def test_lookup(better_together, bt_baseline):
    assert better_together() >= bt_baseline

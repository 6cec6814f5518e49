"""Arithmetic: made-up word problems of one to three steps, in the manner of GSM8K; one chain-of-thought module."""

from random import Random

import pytest

from pytest_bettertogether import ChainOfThought, Program, Splits, Task, exact_match


class Solve(Program):
    def __init__(self):
        self.solve = ChainOfThought(
            "question -> answer",
            instruction="Solve the word problem step by step.",
            describe={"answer": "a number"},
        )

    def forward(self, question):
        return self.solve(question=question)


SIGNS = {"found": 1, "bought": 1, "earned": 1, "received": 1, "lost": -1, "sold": -1, "dropped": -1, "donated": -1}
THINGS = ("pears", "coins", "shells", "stamps")
STARTS = range(40, 60)
PEOPLE = {"train": ("Ada", "Bob"), "dev": ("Eve", "Aida"), "test": ("Anna", "Otto", "Hannah")}
"""A problem's person tells its split: no problem can be in two."""


def problem(who, rng):
    start, things = rng.choice(STARTS), rng.choice(THINGS)
    sentences, total = [f"{who} had {start} {things}."], start
    for _ in range(rng.randint(1, 3)):
        verb, count = rng.choice(list(SIGNS)), rng.randint(2, 9)
        sentences.append(rng.choice((f"{who} {verb} {count}.", f"Then {who} {verb} {count} {things}.")))
        total += SIGNS[verb] * count
    return {"question": " ".join([*sentences, f"How many {things} does {who} have now?"]), "answer": str(total)}


def problems():
    rng = Random(0)
    sizes = {"train": 50, "dev": 50, "test": 100}
    drawn = {split: {} for split in sizes}
    for split, rows in drawn.items():
        while len(rows) < sizes[split]:
            row = problem(rng.choice(PEOPLE[split]), rng)
            rows[row["question"]] = row  # one of each
    return Splits.of(**{split: list(rows.values()) for split, rows in drawn.items()})


# Eight verbs have to be met in the demos, and a labelled demo, which lacks the reasoning, tells little of them.
TASK = Task(program=Solve, data=problems, metric=exact_match("answer"), recipe={"search.max_bootstrapped": 8})


@pytest.mark.bettertogether(TASK, gate=["p", "pwp"])
def test_arithmetic(better_together, bt_baseline):
    assert better_together() >= bt_baseline

"""GSM8K: grade-school maths word problems, one chain-of-thought step (Cobbe et al. 2021).

The paper's splits: the official train, shuffled, gives 1,000 to train on and 500 for dev; test is the official one.
"""

import pytest

from pytest_bettertogether import ChainOfThought, Program, Task, hub_dataset, integer_match, number_match


class Solve(Program):
    def __init__(self):
        self.solve = ChainOfThought("question -> answer")

    def forward(self, question):
        return self.solve(question=question)


def row(raw):
    reasoning, _, answer = raw["answer"].rpartition("####")
    return {"question": raw["question"], "solution": reasoning.strip(), "answer": answer.strip().replace(",", "")}


DATA = hub_dataset(
    "openai/gsm8k",
    "main",
    revision="740312add88f781978c0658806c59bc2815b9866",
    local="gsm8k/*.jsonl.gz",
    shuffle=0,
    train="train[:1000]",
    dev="train[1000:1500]",
    row=row,
)
TASK = Task(Solve, DATA, integer_match("answer"), extra={"number": number_match("answer")}, needs="instruct")


@pytest.mark.bettertogether(TASK, gate=["pwp"])
def test_gsm8k(better_together, bt_baseline):
    assert better_together() >= bt_baseline

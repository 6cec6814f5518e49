"""Iris: which of three species, from four lengths in centimetres (Fisher 1936; the copy in scikit-learn)."""

from random import Random

import pytest

from pytest_bettertogether import Predict, Program, Splits, Task, exact_match


class Classify(Program):
    def __init__(self):
        self.classify = Predict(
            "petal_length, petal_width, sepal_length, sepal_width -> answer",
            instruction="Predict the species of an iris from its dimensions in centimetres.",
            describe={"answer": "setosa, versicolor or virginica"},
        )

    def forward(self, petal_length, petal_width, sepal_length, sepal_width):
        return self.classify(
            petal_length=petal_length,
            petal_width=petal_width,
            sepal_length=sepal_length,
            sepal_width=sepal_width,
        )


def iris():
    from sklearn.datasets import load_iris

    data = load_iris()
    columns = [name.removesuffix(" (cm)").replace(" ", "_") for name in data.feature_names]
    rows = [
        {"id": i, **dict(zip(columns, map(str, lengths))), "answer": str(data.target_names[species])}
        for i, (lengths, species) in enumerate(zip(data.data, data.target))
    ]
    Random(0).shuffle(rows)  # they come sorted by species
    return Splits.of(rows[:50], rows[50:100], rows[100:])


TASK = Task(program=Classify, data=iris, metric=exact_match("answer"), name="iris")


@pytest.mark.bettertogether(TASK, gate=["p", "pwp"])
def test_iris(better_together, bt_baseline):
    assert better_together() >= bt_baseline

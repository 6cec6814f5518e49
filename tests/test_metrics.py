"""Metrics and their names."""

import pytest

from pytest_bettertogether import Example, Prediction, exact_match
from pytest_bettertogether.metrics import metric_name


@pytest.mark.parametrize(
    ("label", "said", "score"),
    [
        ("The Eiffel Tower", "eiffel tower.", 1.0),
        ("setosa", "Setosa", 1.0),
        ("setosa", "setosa or virginica", 0.0),
        (["NYC", "New York"], "new york", 1.0),
        ("é", "e\u0301", 1.0),
        ("an", "", 1.0),
        (4, "4", 1.0),
    ],
)
def test_exact_match_compares_normal_forms(label, said, score):
    assert exact_match("answer")(Example.of({"answer": label}), Prediction(answer=said)) == score


def test_a_metric_is_named_by_what_it_does():
    def mine(example, prediction):
        return 1.0

    first = metric_name(mine)

    def mine(example, prediction):
        return 0.5

    assert metric_name(exact_match("answer")) == "exact_match(field='answer')"
    assert first != metric_name(mine)

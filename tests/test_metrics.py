"""Metrics and their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bettertogether import Example, Prediction, exact_match, f1, integer_match, number_match
from pytest_bettertogether.pipeline.metrics import metric_name


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


@pytest.mark.parametrize(
    ("label", "said", "score"),
    [
        ("the Eiffel Tower", "Eiffel Tower in Paris", 2 * 2 / (2 + 4)),
        ("Paris", "London", 0.0),
        ("yes", "yes it is", 0.0),
        ("yes", "Yes.", 1.0),
        ("a rose is a rose", "rose", 2 * 1 / (3 + 1)),
        (["NYC", "New York"], "new york city", 0.8),
    ],
)
def test_f1_counts_common_words(label, said, score):
    assert f1("answer")(Example.of({"answer": label}), Prediction(answer=said)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("label", "said", "papers", "saner"),
    [
        ("18", "18", 1, 1),
        ("18", "She has 18 eggs.", 1, 1),
        ("18", "$18.00", 1, 1),
        ("1,200", "$1200", 1, 1),
        ("3", "-3", 1, 0),  # the paper's reading drops signs ...
        ("10", "10.5", 1, 0),  # ... and decimals
        ("10.5", "10.50 dollars", 1, 1),
        ("-3", "the result is -3", 1, 1),
        ("2", "5-3 = 2", 1, 1),
        ("3", "5-3", 0, 1),
        ("18", "I do not know", 0, 0),
        ("18", "18\nor 20", 1, 0),
        ("7", "the 7th", 1, 1),
        ("40", "40% of them", 1, 1),
        ("40", "\u0664\u0660", 1, 1),  # Arabic digits are digits
    ],
)
def test_numbers_are_read_as_in_the_paper_or_as_written(label, said, papers, saner):
    example, prediction = Example.of({"answer": label}), Prediction(answer=said)
    assert integer_match("answer")(example, prediction) == papers
    assert number_match("answer")(example, prediction) == saner


@given(st.text(), st.text())
def test_no_text_breaks_a_metric(label, said):
    example, prediction = Example.of({"answer": label}), Prediction(answer=said)
    for metric in (exact_match, f1, integer_match, number_match):
        assert 0.0 <= metric("answer")(example, prediction) <= 1.0


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_a_number_matches_itself_however_it_is_written(number):
    for written in (str(number), f"{number:,}", f"about {number} apples", f"x = {number}."):
        assert number_match("answer")(Example.of({"answer": str(number)}), Prediction(answer=written)) == 1.0


def test_a_metric_is_named_by_what_it_does():
    def mine(example, prediction):
        return 1.0

    first = metric_name(mine)

    def mine(example, prediction):
        return 0.5

    assert metric_name(exact_match("answer")) == "exact_match(field='answer')"
    assert first != metric_name(mine)

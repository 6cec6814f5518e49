"""Metrics and their names."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bettertogether import Example, Prediction, exact_match, f1, integer_match, number_match
from pytest_bettertogether.pipeline.errors import MetricError
from pytest_bettertogether.pipeline.metrics import judged, metric_name


@pytest.mark.parametrize(
    ("label", "said", "score"),
    [
        ("The Eiffel Tower", "eiffel tower.", 1.0),
        ("setosa", "Setosa", 1.0),
        ("setosa", "setosa or virginica", 0.0),
        (["NYC", "New York"], "new york", 1.0),
        ("é", "e\u0301", 1.0),
        ("an", "", 0.0),
        ("A", "", 0.0),
        ("A", "the", 0.0),
        ("A", ".", 0.0),
        ("A", "(a).", 1.0),
        ("The", "the", 1.0),
        ("3.5", "35", 0.0),
        ("-3", "3", 0.0),
        ("1.0", "10", 0.0),
        ("$1,200", "1200.", 1.0),
        ("C++", "C", 0.0),
        ("C#", "c#.", 1.0),
        ("Andr\u00e9a", "Andr\u00e9", 0.0),
        ("L\u00e9a", "L\u00e9", 0.0),
        ("Ada", None, 0.0),
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
        ("", "", 0.0),
        ("A", "", 0.0),
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
        ("0.5", ".5", 0, 1),
        ("5", ".5", 0, 0),
        ("50", "$.50", 0, 0),
        ("-0.5", "it is -.5", 0, 1),
        ("9" * 5000, "9" * 5000, 1, 1),
        ("9" * 5000, "8" * 5000, 0, 0),
        ("007", "7", 1, 1),
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


@pytest.mark.parametrize("metric", [exact_match, f1, integer_match, number_match])
@pytest.mark.parametrize("label", [None, [], {"text": "x"}, [None]])
def test_a_label_that_is_none_is_an_error_and_no_text(metric, label):
    with pytest.raises(MetricError, match=r"on example '7'.*" if label != [] else r"empty list"):
        judged(metric("answer"), {"answer": label}, Prediction(answer="none"), "7")


@pytest.mark.parametrize("score", ["1", "0.5", b"1", " 1 ", "\uff11", None, float("nan"), 2, -0.1, [1]])
def test_what_is_no_number_within_0_and_1_is_no_score(score):
    with pytest.raises(MetricError, match=r"example '7'"):
        judged(lambda example, prediction: score, {}, Prediction(), "7")


def test_numbers_of_any_kind_are_scores():
    for score in (1, True, 0.5, Fraction(1, 2)):
        assert judged(lambda example, prediction, score=score: score, {}, Prediction(), "7") == float(score)


def test_an_object_that_is_called_is_known_by_the_source_of_its_class_and_by_its_values():
    @dataclass(frozen=True)
    class Near:
        tolerance: float

        def __call__(self, example, prediction):
            return 1.0

    class Other:
        def __call__(self, example, prediction):
            return 1.0

    first, second = metric_name(Near(0.1)), metric_name(Near(0.2))
    assert first.partition(":")[0].endswith("Near(tolerance=0.1)")
    assert first != second
    assert first.partition(":")[2] == second.partition(":")[2] != ""
    name, _, source = metric_name(Other()).partition(":")
    assert (name.rpartition(".")[2], len(source)) == ("Other", 8)

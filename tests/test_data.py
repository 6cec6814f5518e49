"""Examples, splits and their identity."""

import pytest

from pytest_bettertogether import ChainOfThought, Example, Predict, Program, Splits
from pytest_bettertogether.pipeline.data import fingerprint, labelled_demo, program_inputs
from pytest_bettertogether.pipeline.errors import DataError
from pytest_bettertogether.running.seeds import derive

ROWS = [{"question": f"q{i}", "answer": str(i)} for i in range(6)]


def test_examples_are_known_by_id_or_content():
    assert Example.of({"id": 7, "question": "q"}).id == "7"
    assert Example.of(ROWS[0]).id == Example.of(dict(reversed(ROWS[0].items()))).id != Example.of(ROWS[1]).id


def test_overlapping_splits_are_refused_by_name():
    with pytest.raises(ValueError, match=r"in test and again in train"):
        Splits.of(ROWS[:2], ROWS[2:4], [*ROWS[4:], ROWS[0]])


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match="the dev split is empty"):
        Splits.of(ROWS[:2], [], ROWS[2:])


def test_a_fingerprint_notices_rows_order_and_ids():
    split = [Example.of(row) for row in ROWS]
    changed = [Example.of({**ROWS[0], "answer": "x"}), *split[1:]]
    renamed = [Example.of({**ROWS[0], "id": "x"}), *split[1:]]
    prints = {fingerprint(each) for each in (split, split[::-1], split[:-1], changed, renamed)}
    assert len(prints) == 5
    assert fingerprint(split) == fingerprint([Example.of(row) for row in ROWS])


def test_a_limit_takes_the_first_of_each_split():
    limited = Splits.of(ROWS[:2], ROWS[2:4], ROWS[4:]).first(1)
    assert [example["question"] for _, split in limited for example in split] == ["q0", "q2", "q4"]


class Asks(Program):
    def forward(self, question, hint="none"):
        raise AssertionError


def test_a_program_gets_the_fields_its_forward_names():
    assert program_inputs(Asks(), Example.of(ROWS[0])) == {"question": "q0"}
    assert program_inputs(Asks(), Example.of({**ROWS[0], "hint": "h"})) == {"question": "q0", "hint": "h"}


def test_a_missing_input_is_named():
    with pytest.raises(ValueError, match=r"Asks.forward takes question, but example 'x' has only answer"):
        program_inputs(Asks(), Example.of({"id": "x", "answer": "1"}))


def test_rows_that_splits_share_are_refused_whatever_their_ids():
    named = [{"id": n, **row} for n, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"example 'x' of test has the same fields as example '0' of train"):
        Splits.of(named[:2], named[2:4], [*named[4:], {**named[0], "id": "x"}])
    assert len(Splits.of([*named[:2], {**named[0], "id": "x"}], named[2:4], named[4:]).train) == 3  # of one split: fine


def test_a_row_that_is_there_twice_is_told_from_one_that_splits_share():
    with pytest.raises(DataError, match=r"is in train twice: give each row an 'id' of its own"):
        Splits.of([ROWS[0], ROWS[0]], ROWS[2:4], ROWS[4:])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"x", "holds a bytes"),
        ({1, 2}, "holds a set"),
        ({"a": [object()]}, "holds a object"),
        ({1: "a"}, "has the key 1"),
        ("half \ud83d", "holds half of a character"),
    ],
)
def test_a_value_that_no_file_can_hold_is_named_by_row_and_field(value, problem):
    with pytest.raises(DataError, match=rf"row 'r1': field 'question' {problem}"):
        Example.of({"id": "r1", "question": value})


def test_a_lone_surrogate_in_an_id_is_named():
    with pytest.raises(DataError, match=r"field 'id' holds half of a character"):
        Example.of({"id": "\ud800", "question": "q"})
    assert derive("\ud800") != derive("\ud801")


class Chains(Program):
    def __init__(self):
        self.answer = ChainOfThought("question, hint -> answer")
        self.check = Predict("question, answer -> verdict")

    def forward(self, **row):
        raise AssertionError


def test_a_forward_of_any_fields_is_not_handed_the_answer():
    row = {"question": "q", "hint": "h", "answer": "gold", "verdict": "right", "source": "s"}
    assert program_inputs(Chains(), Example.of(row)) == {"question": "q", "hint": "h"}


def test_a_labelled_demo_shows_the_first_alternative_and_nothing_that_is_not_known():
    signature = ChainOfThought("passages, question -> answer").signature
    row = {"passages": ["one", "two"], "question": "q", "answer": ["3", "number 3"], "reasoning": None}
    demo = labelled_demo(signature, Example.of(row))
    assert (demo.inputs["passages"], demo.outputs) == (("one", "two"), {"answer": "3"})
    assert labelled_demo(signature, Example.of({**row, "answer": None})) is None

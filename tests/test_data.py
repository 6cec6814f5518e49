"""Examples, splits and their identity."""

import pytest

from pytest_bettertogether import Example, Program, Splits
from pytest_bettertogether.pipeline.data import fingerprint, program_inputs

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

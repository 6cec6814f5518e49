"""What a step says of itself, and what is not believed of it."""

import json
from dataclasses import fields, replace

import pytest

from pytest_bettertogether.pipeline.steps import KINDS, PROMPTS, WEIGHTS, StepKind, catalogue, listed, parts_after
from pytest_bettertogether.pipeline.strategy import Strategy

CHOOSE = replace(
    PROMPTS, letter="i", name="instructions", noun="instruction step", plural="instruction steps", changes=("kept",)
)


def test_a_kind_goes_to_json_and_back():
    for kind in (*KINDS.values(), CHOOSE):
        assert StepKind.from_json(json.loads(json.dumps(kind.to_json()))) == kind


@pytest.mark.parametrize("field", [field.name for field in fields(StepKind)])
def test_a_kind_that_leaves_something_out_cannot_be_made(field):
    said = PROMPTS.to_json()
    del said[field]
    if field in ("clears", "needs"):
        assert getattr(StepKind(**said), field) == ()
    else:
        with pytest.raises(TypeError, match=f"'{field}'"):
            StepKind(**said)


@pytest.mark.parametrize("letter", ["é", "P", "", "pw", "1", " ", "p\n", "ß", None, 5, ["p"]])
def test_a_letter_is_one_lower_case_letter(letter):
    with pytest.raises(ValueError, match=r"letter=.*one lower-case letter from a to z"):
        replace(PROMPTS, letter=letter)


WRONG = {
    "name": ["zero", "ab", "Two", "a-b", "a b", "x" * 31, "é" * 4, "", None],
    "noun": ["", "  ", "two\nlines", "x" * 101, "\x1b[31m", "\u202eabc", None],
    "plural": ["", "x\0"],
    "does": ["", 3],
    "changes": [(), ("everything",), "demos", None, 3],
    "clears": [("everything",), "weights", ("demos",)],
    "needs": ["training", ("money",)],
    "colours": [("red", "blue"), ("#fff", "#000"), ("#0072b2",), "#0072b2", ("url(x)", "#0072b2"), (1, 2)],
    "mark": ["circle", "diamond", "", None, "star"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_what_cannot_be_used_or_shown_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field}=.*expected"):
        replace(PROMPTS, **{field: value})


@pytest.mark.parametrize("taken", [{"name": "other"}, {"letter": "o"}])
def test_a_letter_or_name_that_is_taken_is_refused(taken):
    with pytest.raises(ValueError, match=r"p \(prompts\) is there already"):
        catalogue((PROMPTS, WEIGHTS, replace(PROMPTS, **taken)))


def test_a_name_that_is_a_strategy_too_is_refused():
    with pytest.raises(ValueError, match="reads as a strategy of the steps p, w, i"):
        catalogue((PROMPTS, WEIGHTS, replace(CHOOSE, name="wip")))


def test_strategies_are_read_with_the_kinds_there_are():
    kinds = catalogue((PROMPTS, WEIGHTS, CHOOSE))
    assert Strategy.parse("instructions -> weights", kinds) == Strategy.parse("iw", kinds) == Strategy(("i", "w"))
    with pytest.raises(ValueError, match=r"unknown step 'i'.*p \(prompts\), w \(weights\) such"):
        Strategy.parse("iw")
    with pytest.raises(ValueError, match=r"i \(instructions\)"):
        Strategy.parse("iq", kinds)
    assert listed(kinds) == "p (prompts), w (weights), i (instructions)"


def test_the_word_zero_names_no_four_steps():
    kinds = catalogue(replace(CHOOSE, letter=letter, name=f"step_{letter}") for letter in "zero")
    assert Strategy.parse("zero", kinds) == Strategy()
    with pytest.raises(ValueError, match="the one without steps"):
        Strategy.parse("z -> e -> r -> o", kinds)


def test_an_id_is_read_without_knowing_its_steps():
    assert Strategy.of("zero") == Strategy()
    assert Strategy.of("qpq").kinds == {"q", "p"}


@pytest.mark.parametrize(
    ("path", "parts"),
    [("", set()), ("p", {"demos"}), ("pw", {"weights"}), ("pwp", {"demos", "weights"}), ("iw", {"kept", "weights"})],
)
def test_what_differs_from_what_the_user_wrote(path, parts):
    assert parts_after(path, catalogue((PROMPTS, WEIGHTS, CHOOSE))) == parts

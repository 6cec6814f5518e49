"""No suite's rows, templates, names or numbers can be drawn by a generator of the embedded model's training data."""

import random
import re
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "suites"))
pytest.importorskip("torch", reason="the curriculum needs the hf extra")

import test_arithmetic as arithmetic
import test_lookup as lookup

from pytest_bettertogether.tiny import arithmetic as generator
from pytest_bettertogether.tiny.curriculum import STAGES
from pytest_bettertogether.tiny.probe import iris_rows
from pytest_bettertogether.tiny.synthetic import draw_sample
from pytest_bettertogether.tiny.tokenizer import FUNCTION_WORDS, OPENERS, SUFFIXES
from pytest_bettertogether.tiny.words import CLUSTERS, FILLERS, HELD_OUT, SMALL, VERBS, WORDS, ends_alike, made_up

SHAPES = [(stage.name, shape) for stage in STAGES for shape in stage.shapes]
WRITTEN = {*WORDS, *VERBS, *FILLERS, *SMALL, *SUFFIXES, *FUNCTION_WORDS, *OPENERS}
"""Every word that a generator does not make up."""


@cache
def texts(name, shape):
    rng = random.Random(name)
    return [draw_sample(shape, rng).text for _ in range(60)]


@pytest.mark.parametrize(("name", "shape"), SHAPES, ids=[name for name, _ in SHAPES])
def test_no_training_sequence_holds_a_word_that_is_left_to_the_suites(name, shape):
    for text in texts(name, shape):
        assert not any(word in text.lower() for word in HELD_OUT)


def test_made_up_words_never_begin_and_end_alike():
    rng = random.Random(0)
    assert not any(ends_alike(made_up(rng)) for _ in range(20_000))


def test_the_suites_names_of_people_all_begin_and_end_alike_and_are_no_written_words():
    people = {name for names in arithmetic.PEOPLE.values() for name in names} | set(lookup.NAMES)
    written = {word.lower() for word in WRITTEN}
    for name in people:
        assert ends_alike(name)
        assert name.lower() not in written
    assert not any(ends_alike(cluster + cluster) and cluster in people for cluster in CLUSTERS)


def test_the_suites_other_words_are_held_out():
    assert {*arithmetic.SIGNS, *arithmetic.THINGS, *lookup.RELATIONS} <= set(HELD_OUT)
    assert not any(word in text.lower() for word in HELD_OUT for text in WRITTEN)


def every_row(splits):
    return [row for split in (splits.train, splits.dev, splits.test) for row in split]


def test_every_row_of_a_suite_holds_a_word_that_no_training_sequence_can():
    for row in every_row(arithmetic.problems()):
        assert any(word in row["question"] for word in HELD_OUT)
    for row in every_row(lookup.questions()):
        assert any(word in row["question"] for word in HELD_OUT)
    for row in iris_rows():
        assert any(word in field for field in row.inputs for word in HELD_OUT)


def test_a_suites_problem_begins_with_a_number_that_no_training_problem_begins_with():
    assert not set(arithmetic.STARTS) & set(generator.STARTS)
    for row in every_row(arithmetic.problems()):
        assert int(re.search(r"had (\d+) ", row["question"])[1]) in arithmetic.STARTS


def test_splits_of_the_made_up_suites_are_disjoint_by_who_they_are_about():
    problems = arithmetic.problems()
    people = [{row["question"].split()[0] for row in split} for split in (problems.train, problems.dev, problems.test)]
    questions = lookup.questions()
    names = [
        {name for row in split for name in lookup.NAMES if name in row["question"]}
        for split in (questions.train, questions.dev, questions.test)
    ]
    for sets in (people, names):
        assert len(set.union(*sets)) == sum(map(len, sets))
        assert all(sets)


def test_the_look_ups_answer_is_found_by_the_right_queries():
    facts = lookup.facts()
    for row in every_row(lookup.questions()):
        (name,) = [name for name in lookup.NAMES if name in row["question"]]
        inner, outer = next(
            (inner, outer)
            for asked in lookup.ASKED
            for inner in lookup.RELATIONS
            for outer in lookup.RELATIONS
            if asked.format(name=name, inner=inner, outer=outer) == row["question"]
        )
        middle = facts[inner, name]
        assert f"The {inner} of {name} is {middle}." in lookup.search([f"{inner} {name}"], k=2)[0]
        assert f"The {outer} of {middle} is {row['answer']}." in lookup.search([f"{outer} {middle}"], k=2)[0]

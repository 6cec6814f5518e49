"""Best-first search among candidates: the winner of full scoring, with fewer runs."""

import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pytest_bettertogether.optimize.race import Race

GRADES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
TABLES = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n) | st.lists(GRADES, min_size=n, max_size=n),
        min_size=1,
        max_size=8,
    )
)


def raced(table, block):
    """The winner, the finished race, and who was asked what, in order, with all bounds before that."""
    race, asked = Race(len(table), len(table[0])), []

    def ask(candidate, examples):
        asked.append((candidate, list(examples), [race.bound(i) for i in range(len(table))]))
        return [table[candidate][i] for i in examples]

    return race.run(ask, block), race, asked


def full(table):
    """The first best candidate, and the means of all, with nothing left out."""
    means = [math.fsum(scores) / len(scores) for scores in table]
    return means.index(max(means)), means


@given(TABLES, st.integers(1, 13))
def test_the_winner_and_its_score_are_those_of_full_scoring(table, block):
    winner, race, _ = raced(table, block)
    best, means = full(table)
    assert (winner, race.bound(winner)) == (best, means[best])
    assert len(race.scores[winner]) == len(table[0])
    for i, mean in enumerate(means):
        assert race.bound(i) >= mean
        assert race.scores[i] == {n: table[i][n] for n in race.scores[i]}


@given(TABLES, st.integers(1, 13))
def test_nobody_is_asked_after_it_is_decided_or_twice(table, block):
    _, race, asked = raced(table, block)
    best, means = full(table)
    seen = set()
    for candidate, examples, bounds in asked:
        assert examples
        assert (-bounds[candidate], candidate) == min((-bound, i) for i, bound in enumerate(bounds))
        assert (-bounds[candidate], candidate) <= (-means[best], best)  # it could still win
        assert seen.isdisjoint((candidate, n) for n in examples)
        seen |= {(candidate, n) for n in examples}
    assert len(seen) == sum(map(len, race.scores))


@given(TABLES)
def test_blocks_of_one_ask_no_loser_more_than_its_proof_needs(table):
    """In whatever order: a loser needs as many questions as make it lose more than the winner does."""
    winner, race, _ = raced(table, 1)
    best, means = full(table)
    for i, scores in enumerate(race.scores):
        if i != winner and scores:
            *before, _last = scores.values()
            bound = math.fsum((*before, len(table[0]) - len(before))) / len(table[0])
            assert (-bound, i) <= (-means[best], best)


def test_a_perfect_first_candidate_ends_it():
    winner, race, asked = raced([[1.0] * 20, [1.0] * 20, [0.0] * 20], 8)
    assert (winner, [len(each) for each in race.scores]) == (0, [20, 0, 0])
    assert [candidate for candidate, _, _ in asked] == [0, 0, 0]


def test_what_others_got_wrong_is_asked_first():
    table = [[float(n not in {3, 9}) for n in range(12)], [0.0] * 3 + [1.0] * 9]
    _, _, asked = raced(table, 4)
    assert asked[0][:2] == (0, [0, 1, 2, 3])
    assert asked[1][0] == 1
    assert asked[1][1][0] == 3


def test_it_saves_most_runs_of_a_search_as_the_paper_has_it():
    draw = Random(0)
    skills = [0.55, 0.62, 0.7, 0.6, 0.66, 0.78, 0.58, 0.73, 0.64]
    hard = [draw.random() for _ in range(250)]
    table = [[float(draw.gauss(h, 0.15) < skill) for h in hard] for skill in skills]
    winner, race, _ = raced(table, 32)
    assert winner == full(table)[0]
    assert sum(map(len, race.scores)) < 0.6 * len(table) * 250

"""The strategy language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bettertogether.pipeline.strategy import PAPER, Strategy


@pytest.mark.parametrize("text", ["pwp", "p -> w -> p", "prompts -> weights -> prompts", " p->w -> prompts "])
def test_ways_to_write_a_strategy(text):
    strategy = Strategy.parse(text)
    assert (strategy.id, strategy.title) == ("pwp", "p → w → p")
    assert list(strategy.prefixes()) == [("p",), ("p", "w"), ("p", "w", "p")]


def test_the_empty_strategy_is_zero():
    assert Strategy.parse("zero") == Strategy()
    assert (Strategy().id, Strategy().title, list(Strategy().prefixes())) == ("zero", "zero-shot", [])


@given(st.lists(st.sampled_from("pw"), max_size=6))
def test_ids_and_long_forms_are_read_back(steps):
    strategy = Strategy(tuple(steps))
    assert Strategy.parse(strategy.id) == strategy
    assert not steps or Strategy.parse(" -> ".join(steps)) == strategy


@pytest.mark.parametrize("text", ["", "px", "p -> q", "p ->", "zero -> p", "Prompts"])
def test_a_malformed_strategy_is_refused_with_the_steps_there_are(text):
    with pytest.raises(ValueError, match=r"p \(prompts\), w \(weights\)"):
        Strategy.parse(text)


def test_the_papers_eight_are_a_prefix_tree_of_four_p_and_three_w():
    tree = {path for strategy in PAPER for path in strategy.prefixes()}
    assert [sum(path[-1] == step for path in tree) for step in "pw"] == [4, 3]

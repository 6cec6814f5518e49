"""Recipes and their overrides."""

import pytest

from pytest_bettertogether.recipe import Recipe


def test_the_defaults_are_the_papers():
    flat = Recipe().flat()
    assert flat["lora.rank"] == 32
    assert flat["lora.targets"] == "q_proj,k_proj"
    assert (flat["search.candidates"], flat["search.traces"], flat["search.valid"]) == (6, 100, 250)
    assert (flat["evaluate.temperature"], flat["evaluate.top_p"]) == (0.1, 0.97)


def test_values_are_overridden_by_path():
    recipe = Recipe().override({"lora.rank": 8, "threshold": 0.5, "evaluate.temperature": 0})
    assert (recipe.lora.rank, recipe.threshold, recipe.evaluate.temperature) == (8, 0.5, 0)
    assert recipe.search == Recipe().search


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"rank": 8}, "lora.rank"), ({"lora": 8}, "no value 'lora'"), ({"lora.rank": "8"}, "expected int")],
)
def test_a_wrong_override_is_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        Recipe().override(values)

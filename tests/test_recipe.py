"""Recipes and their overrides."""

import pytest

from pytest_bettertogether.recipe import Recipe


def test_the_defaults_are_the_papers():
    flat = Recipe().flat()
    assert flat["weights.rank"] == 32
    assert flat["weights.targets"] == "q_proj,k_proj"
    assert (flat["prompts.candidates"], flat["prompts.traces"], flat["prompts.valid"]) == (6, 100, 250)
    assert (flat["evaluate.temperature"], flat["evaluate.top_p"]) == (0.1, 0.97)


def test_values_are_overridden_by_path():
    recipe = Recipe().override({"weights.rank": 8, "threshold": 0.5, "evaluate.temperature": 0})
    assert (recipe.weights.rank, recipe.threshold, recipe.evaluate.temperature) == (8, 0.5, 0)
    assert recipe.prompts == Recipe().prompts


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"rank": 8}, "weights.rank"), ({"weights": 8}, "no value 'weights'"), ({"weights.rank": "8"}, "expected int")],
)
def test_a_wrong_override_is_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        Recipe().override(values)

"""Recipes and their overrides."""

from dataclasses import replace

import pytest

from pytest_bettertogether.engines import registry as models
from pytest_bettertogether.engines.model import Model
from pytest_bettertogether.engines.registry import choose
from pytest_bettertogether.pipeline.recipe import PromptSearch, Recipe


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
    [
        ({"lora.rank": 0}, "rank=0 is out of range"),
        ({"lora.epochs": -1}, "epochs=-1 is out of range"),
        ({"threshold": 7.0}, "threshold=7.0 is out of range"),
        ({"evaluate.temperature": -1.0}, "temperature=-1.0 is out of range"),
        ({"evaluate.max_tokens": 0}, "max_tokens=0 is out of range"),
        ({"bootstrap.top_p": 0.0}, "top_p=0.0 is out of range"),
        ({"search.candidates": 0, "search.fixed_arms": False}, "candidates=0 is out of range"),
        ({"search.block": -1}, "block=-1 is out of range"),
        ({"rank": 8}, "lora.rank"),
        ({"lora": 8}, "no value 'lora'"),
        ({"lora.rank": "8"}, "expected int"),
    ],
)
def test_a_wrong_override_is_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        Recipe().override(values)


def test_engines_for_which_one_large_batch_is_cheaper_are_asked_for_all_of_v_at_once(monkeypatch):
    monkeypatch.setattr(models, "missing_for", lambda backend: "")
    paper, mine = Model("paper", "org/paper"), Recipe(search=PromptSearch(block=8))
    blocks = {
        "hf": choose(paper, "hf"),
        "vllm": choose(paper, "vllm"),
        "its own": choose(replace(paper, recipe=mine), "vllm"),
        "set": choose(replace(paper, overridden=frozenset({"search.block"})), "vllm"),
    }
    assert {name: each.recipe.search.block for name, each in blocks.items()} == {
        "hf": 64,
        "vllm": 0,
        "its own": 8,
        "set": 64,
    }

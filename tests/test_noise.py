"""Sampling whose randomness is a function of row key and position alone."""

import math

import pytest

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from pytest_bettertogether.engines.hf.sampling import gumbel, sample_tokens  # noqa: E402
from pytest_bettertogether.pipeline.recipe import Sampling  # noqa: E402


def keys(*values):
    return torch.tensor(values)


def test_a_rows_noise_is_its_own():
    together = gumbel(keys(1, 2, 3), keys(0, 0, 5), 100)
    for row, (key, position) in enumerate(((1, 0), (2, 0), (3, 5))):
        assert torch.equal(gumbel(keys(key), keys(position), 100)[0], together[row])
    assert not torch.equal(gumbel(keys(1), keys(0), 100), gumbel(keys(1), keys(1), 100))


def test_these_very_numbers_are_frozen():
    noise = gumbel(keys(42), keys(7), 4)[0].tolist()
    assert noise == pytest.approx([-1.5753399, -0.8638659, 1.0906208, 0.9439422], abs=1e-6)


def test_tokens_are_drawn_with_the_models_probabilities():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    n = 20_000
    logits, zeros = probabilities.log().expand(n, 4), torch.zeros(n, dtype=torch.int64)
    drawn = sample_tokens(logits, torch.arange(n), zeros, Sampling(1.0, 1.0))
    counts = drawn.bincount(minlength=4)
    chi2 = ((counts - n * probabilities) ** 2 / (n * probabilities)).sum().item()
    assert (
        chi2 < 16.3
    )  # 0.1 % point of chi-squared with 3 degrees of freedom; the draw is fixed, so this never flickers


def test_temperature_sharpens():
    logits = torch.tensor([1.0, 0.0]).expand(5000, 2)
    drawn = sample_tokens(logits, torch.arange(5000), torch.zeros(5000, dtype=torch.int64), Sampling(0.5, 1.0))
    assert drawn.float().mean().item() == pytest.approx(1 / (1 + math.exp(2)), abs=0.02)


def test_temperature_0_is_greedy():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert sample_tokens(logits, keys(1, 2), keys(0, 0), Sampling(0.0, 0.5)).tolist() == [1, 0]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log().expand(2000, 4)
    zeros = torch.zeros(2000, dtype=torch.int64)
    assert set(sample_tokens(logits, torch.arange(2000), zeros, Sampling(1.0, 0.7)).tolist()) == {1, 3}
    assert set(sample_tokens(logits, torch.arange(2000), zeros, Sampling(1.0, 0.9)).tolist()) == {0, 1, 3}
    assert set(sample_tokens(logits, torch.arange(2000), zeros, Sampling(1.0, 0.01)).tolist()) == {1}

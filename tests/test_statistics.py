"""The gate's numbers, held against brute force and scipy."""

from itertools import product
from math import comb, isclose, isnan
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pytest_bettertogether.gate.statistics import compare, mean_interval, sign_flip, wilson
from pytest_bettertogether.gate.unconditional import UNLIKELY, p_value, power, smallest_detectable_drop


@given(st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=9))
def test_sign_flip_is_the_share_of_sign_patterns_that_are_as_bad(differences):
    sums = [sum(s * abs(d) for s, d in zip(signs, differences)) for signs in product((1, -1), repeat=len(differences))]
    assert isclose(sign_flip(differences), sum(each <= sum(differences) + 1e-9 for each in sums) / len(sums))


@given(broken=st.integers(0, 30), fixed=st.integers(0, 30))
def test_on_01_outcomes_it_is_the_exact_sign_test(broken, fixed):
    differences = [-1.0] * broken + [1.0] * fixed + [0.0] * 20
    expected = binomtest(broken, broken + fixed, alternative="greater").pvalue if broken + fixed else 1.0
    assert isclose(sign_flip(differences), expected, rel_tol=1e-9)


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=12, max_size=12), min_size=1, max_size=3))
def test_a_result_is_never_worse_than_itself(seeds):
    comparison = compare(seeds, seeds)
    assert comparison.difference == 0
    assert comparison.p_value >= 0.5
    assert comparison.broken == comparison.fixed == ()


def test_a_clear_drop_is_significant_and_names_its_examples():
    before = [[1.0] * 40 + [0.0] * 10] * 3
    now = [[1.0] * 20 + [0.0] * 29 + [1.0]] * 3
    comparison = compare(now, before)
    assert comparison.p_value < 1e-4
    assert comparison.broken == tuple(range(20, 40))
    assert comparison.fixed == (49,)
    assert isclose(comparison.difference, -19 / 50)


def test_seeds_that_scatter_make_a_drop_less_sure():
    n = 50
    steady = [[1.0] * 45 + [0.0] * 5] * 3
    alike = [[1.0] * 35 + [0.0] * 15] * 3
    scattered = [[1.0] * right + [0.0] * (n - right) for right in (20, 36, 49)]
    assert compare(alike, steady).p_value < 0.01 < 0.1 < compare(scattered, steady).p_value


def test_one_seed_of_01_outcomes_is_judged_by_the_exact_unconditional_test():
    comparison = compare([[0.0] * 5 + [1.0] * 45], [[1.0] * 50])
    assert comparison.p_value == p_value(5, 0, 50) < sign_flip([-1.0] * 5)
    assert comparison.spread is None


def test_graded_outcomes_of_one_seed_are_judged_by_signs():
    assert compare([[0.25] * 10], [[0.5] * 10]).p_value == pytest.approx(2**-10)


@given(st.integers(1, 7), st.data())
def test_the_unconditional_p_is_the_largest_probability_of_a_z_as_large(n, data):
    broken = data.draw(st.integers(1, n))
    fixed = data.draw(st.integers(0, min(n - broken, broken - 1)))

    def z(b, c):
        return (b - c) / (b + c) ** 0.5 if b + c else 0.0

    as_bad = [(b, c) for b in range(n + 1) for c in range(n + 1 - b) if z(b, c) >= z(broken, fixed) - 1e-9]
    plausible = binomtest(broken + fixed, n).proportion_ci(1 - UNLIKELY, method="exact")
    largest = max(
        sum(comb(n, b) * comb(n - b, c) * (rate / 2) ** (b + c) * (1 - rate) ** (n - b - c) for b, c in as_bad)
        for rate in np.linspace(plausible.low, plausible.high, 501)
    )
    assert p_value(broken, fixed, n) == pytest.approx(largest, abs=2e-4)


@pytest.mark.parametrize(("n", "alpha"), [(50, 0.05), (50, 0.05 / 24), (200, 0.05), (333, 0.01)])
def test_false_alarms_are_at_most_what_was_allowed_whatever_changes(n, alpha):
    for changing in (0.003, 0.01, 0.05, 0.123, 0.2, 0.5, 0.9, 1.0):
        assert power(n, alpha, 0.0, changing) <= alpha * (1 + 1e-6)


@pytest.mark.parametrize(
    ("n", "alpha", "two", "five", "ten"),
    [
        (50, 0.05, 0.080, 0.174, 0.455),
        (50, 0.05 / 24, 0.003, 0.010, 0.063),
        (100, 0.05, 0.112, 0.294, 0.743),
        (100, 0.05 / 24, 0.005, 0.029, 0.231),
        (200, 0.05, 0.149, 0.467, 0.946),
        (200, 0.05 / 24, 0.011, 0.092, 0.637),
        (500, 0.05, 0.253, 0.804, 1.0),
        (500, 0.05 / 24, 0.029, 0.353, 0.989),
    ],
)
def test_its_power_is_at_least_what_was_worked_out_independently_for_all_rates(n, alpha, two, five, ten):
    for drop, published in ((0.02, two), (0.05, five), (0.10, ten)):
        # A little more where rates that cannot be are what held the plain test back.
        assert published - 0.001 <= power(n, alpha, drop, 0.2) <= published + 0.035


def test_the_smallest_detectable_drop_is_found_with_the_probability_asked_for():
    for n in (50, 200):
        drop = smallest_detectable_drop(n, 0.05)
        assert power(n, 0.05, drop, max(0.2, drop)) >= 0.8 > power(n, 0.05, drop - 0.001, max(0.2, drop - 0.001))
    assert isnan(smallest_detectable_drop(3, 0.001))


def test_a_run_that_repeats_its_baseline_knows_what_it_could_have_missed():
    same = [[1.0] * 40 + [0.0] * 10] * 3
    assert 0.1 < compare(same, same).detectable(0.05) < 0.2
    assert compare(same[:1], same[:1]).detectable(0.05) == smallest_detectable_drop(50, 0.05)


@given(n=st.integers(1, 2000), data=st.data())
def test_wilson_agrees_with_scipy_and_is_never_empty(n, data):
    right = data.draw(st.integers(0, n))
    low, high = wilson(right / n, n)
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert isclose(low, theirs.low, abs_tol=1e-9)
    assert isclose(high, theirs.high, abs_tol=1e-9)
    assert low < high


OUTCOMES = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1), min_size=n, max_size=n), min_size=1, max_size=4
    )
)


@given(OUTCOMES)
def test_no_interval_is_empty_and_each_holds_what_was_seen(outcomes):
    low, high = mean_interval(outcomes)
    assert 0.0 <= low < high <= 1.0
    assert low - 1e-9 <= fmean(fmean(seed) for seed in outcomes) <= high + 1e-9
    below, above = compare(outcomes, outcomes).interval
    assert -1.0 <= below < 0.0 < above <= 1.0


def test_one_seed_of_01_outcomes_has_wilsons_interval():
    assert mean_interval([[1.0] * 9 + [0.0]]) == wilson(0.9, 10)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = mean_interval(rng.beta(2, 1, size=(1, 40)).tolist())
        inside += low <= 2 / 3 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_a_margin_asks_for_more_than_that_drop():
    before, now = [[1.0] * 100], [[0.0] * 12 + [1.0] * 88]
    assert compare(now, before).p_value < 0.001
    assert 0.001 < compare(now, before, margin=0.05).p_value < 0.05 < compare(now, before, margin=0.08).p_value
    assert compare(now, before, margin=0.12).p_value == 1.0
    graded = [[0.5] * 12 + [1.0] * 88]
    assert compare(graded, before).p_value < 0.001 < compare(graded, before, margin=0.05).p_value


@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_with_a_margin_false_alarms_are_at_most_what_was_allowed(margin):
    for changing in (margin, 0.06, 0.123, 0.2, 0.5, 0.9, 1.0):
        assert power(100, 0.05, margin, max(changing, margin), margin) <= 0.05 * (1 + 1e-6)


def test_clusters_count_as_one_each():
    # 30 examples broke, but all in one document of ten: that may happen to any document.
    before, now = [[1.0] * 300], [[0.0] * 30 + [1.0] * 270]
    documents = [i // 30 for i in range(300)]
    assert compare(now, before).p_value < 2e-6
    assert compare(now, before, documents).p_value == 0.5
    assert compare(now, before, range(300)).p_value == pytest.approx(2**-30)
    assert mean_interval(now, documents)[0] < mean_interval(now, range(300))[0]

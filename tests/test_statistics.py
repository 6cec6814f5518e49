"""The gate's numbers, held against brute force and scipy."""

from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pytest_bettertogether.gate.statistics import compare, sign_flip, wilson


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


def test_one_seed_is_judged_over_examples_alone():
    assert compare([[0.0] * 10], [[1.0] * 10]).p_value == pytest.approx(2**-10)


@given(n=st.integers(1, 2000), data=st.data())
def test_wilson_agrees_with_scipy_and_is_never_empty(n, data):
    right = data.draw(st.integers(0, n))
    low, high = wilson(right / n, n)
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert isclose(low, theirs.low, abs_tol=1e-9)
    assert isclose(high, theirs.high, abs_tol=1e-9)
    assert low < high

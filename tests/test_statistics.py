"""The gate's numbers, held against brute force and scipy."""

import tracemalloc
from math import comb, isclose, isnan
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from pytest_bettertogether.gate import bounded_mean, unconditional
from pytest_bettertogether.gate.intervals import mean_interval, wilson
from pytest_bettertogether.gate.seed_scatter import Scatter, scatter_of
from pytest_bettertogether.gate.statistics import compare
from pytest_bettertogether.gate.unconditional import (
    LARGE,
    UNLIKELY,
    changes_with,
    p_value,
    power,
    smallest_detectable_drop,
)


@given(n=st.integers(1, 300), data=st.data())
def test_on_01_scores_the_bounded_mean_is_clopper_and_pearsons(n, data):
    right, expected = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.1, 0.3, 0.5, 0.95]))
    differences = [1 - expected] * right + [-expected] * (n - right)
    known = beta.sf(expected, right + 1, n - right) if right < n else 1.0
    assert isclose(bounded_mean.p_value(differences, 1 - expected), known, rel_tol=1e-4, abs_tol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_bounded_mean_is_the_share_of_random_weights_that_do_not_lose(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(-0.05, 0.3, 60).clip(-1, 1)
    weights = rng.exponential(size=(200_000, 61))
    share = ((weights[:, :60] @ differences + weights[:, 60]) >= 0).mean()
    assert bounded_mean.p_value(differences) == pytest.approx(share, abs=0.005)


SKEWED = {
    "nine of ten lose a little": ([-0.05, 0.45], [0.9, 0.1]),
    "nineteen of twenty lose a little": ([-0.05, 0.95], [0.95, 0.05]),
    "half unchanged": ([0.0, -0.05, 0.45], [0.5, 0.45, 0.05]),
    "longer answers": ([-0.2, 0.8, 0.0], [0.7, 0.175, 0.125]),
}
"""Differences of graded scores whose true mean is zero, or all but: values and how probable they are."""


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("n", [50, 200])
def test_skewed_differences_alarm_no_more_often_than_they_may(name, n):
    rng, (values, shares) = np.random.default_rng(n), SKEWED[name]
    found = [bounded_mean.p_value(rng.choice(values, n, p=shares)) for _ in range(400)]
    assert sum(p <= 0.05 for p in found) <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5
    assert sum(p <= 0.05 / 24 for p in found) <= 4


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
    assert comparison.p_value == p_value(5, 0, 50)
    assert comparison.over_seeds is None


def test_a_loss_of_a_little_everywhere_is_no_proof_that_the_next_example_does_not_gain_all():
    # One of fifty that gains everything makes up for it, and may have been missed by chance.
    assert compare([[0.95] * 50], [[1.0] * 50]).p_value > 0.05
    assert compare([[0.25] * 50], [[0.5] * 50]).p_value < 1e-4


STEADY, WILD = Scatter(0.02**2, 2), Scatter(0.3**2, 2)


def seeds_of(*rights, n=100):
    return [[1.0] * right + [0.0] * (n - right) for right in rights]


def test_neighbours_tell_how_seeds_scatter():
    now, before = seeds_of(74, 75, 76), seeds_of(84, 85, 86)
    alone = compare(now, before).p_value
    assert compare(now, before, neighbours=[WILD] * 10).p_value > 0.05
    assert compare(now, before, neighbours=[STEADY] * 10).p_value < alone / 10


def test_one_seed_now_is_judged_by_how_the_baselines_scatter():
    # Whoever runs one seed against three must not be told that the seed is the pipeline.
    scattered = seeds_of(70, 85, 98)
    assert compare(seeds_of(70), scattered).p_value > 0.1
    assert compare(seeds_of(70), scattered, neighbours=[WILD] * 5).p_value > 0.1
    steady = seeds_of(84, 85, 86)
    assert compare(seeds_of(60), steady, neighbours=[STEADY] * 5).p_value < 0.01


def test_one_seed_on_either_side_is_a_verdict_on_the_pipeline_only_where_neighbours_have_several():
    now, before = seeds_of(70), seeds_of(85)
    assert compare(now, before).over_seeds is None
    assert compare(now, before, neighbours=[WILD] * 5).p_value > 0.05 > compare(now, before).p_value


def test_seeds_that_agree_on_every_example_are_one_program():
    now, before = seeds_of(80, 80, 80), seeds_of(90, 90, 90)
    assert compare(now, before, neighbours=[WILD] * 5).p_value == p_value(10, 0, 100)


def test_three_from_one_of_two_modes_do_not_pass_for_a_cell_that_does_not_scatter():
    # All cells have modes ten points apart; this one happened to draw three of one, then three of the other.
    modes = [scatter_of(seeds_of(80, 70, 80)), scatter_of(seeds_of(70, 70, 80)), scatter_of(seeds_of(80, 80, 81))] * 4
    now, before = seeds_of(700, 700, 701, n=1000), seeds_of(800, 801, 800, n=1000)
    assert compare(now, before).p_value < 0.05 / 24
    assert compare(now, before, neighbours=modes).p_value > 0.05 / 24


def test_a_collapse_from_the_ceiling_is_found_although_it_scatters_more_than_the_ceiling_does():
    assert compare(seeds_of(72, 80, 88), seeds_of(98, 99, 100)).p_value < 0.05 / 6


@given(st.permutations(range(6)))
def test_the_order_of_neighbours_does_not_matter(order):
    neighbours = [Scatter(0.01 * (1 + place) ** 2, 2) for place in range(6)]
    now, before = seeds_of(70, 75, 80), seeds_of(80, 85, 90)
    same = compare(now, before, neighbours=neighbours).p_value
    assert compare(now, before, neighbours=[neighbours[place] for place in order]).p_value == pytest.approx(same)


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_interval_holds_what_the_test_does_not_refuse(first, second):
    now, before = seeds_of(first, 25, second, n=50), seeds_of(20, 30, 40, n=50)
    comparison = compare(now, before)
    low, high = comparison.interval
    assert -1 <= low <= comparison.difference + 0.02
    assert comparison.difference - 0.02 <= high <= 1
    assert low < high
    if comparison.p_value < 0.024:
        assert high < 0


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


@settings(max_examples=30)
@given(n=st.integers(1, 2 * unconditional.TABLE), data=st.data())
def test_what_is_left_out_for_large_splits_changes_no_p_value(n, data):
    changed = data.draw(st.integers(0, n))
    broken = data.draw(st.integers(changed // 2, changed))
    margin = data.draw(st.sampled_from([0.0, 0.02, 0.05]))
    found = set()
    for table in (0, 2 * unconditional.TABLE):  # none of the rates and numbers are left out of a table
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unconditional, "TABLE", table)
            patch.setattr(unconditional, "_table", unconditional._table.__wrapped__)
            found.add(p_value(broken, changed - broken, n, margin))
    assert len(found) == 1


@pytest.mark.parametrize("broken", [1, 6, 800])
def test_the_memory_for_a_large_split_is_bounded(broken):
    tracemalloc.start()
    try:
        assert 0 < p_value(broken, broken // 3, 100_000) < 0.5
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # all numbers of changed examples at all rates would be 320 MB


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
        drop, less = (smallest_detectable_drop(n, 0.05) - step for step in (0.0, 0.001))
        found, missed = (power(n, 0.05, size, changes_with(size, 0.2)) for size in (drop, less))
        assert found >= 0.8 > missed
    assert isnan(smallest_detectable_drop(3, 0.001))


@pytest.mark.parametrize(
    ("n", "gates", "simulated"), [(50, 1, 0.18), (50, 12, 0.25), (200, 1, 0.084), (200, 24, 0.123)]
)
def test_a_detectable_drop_is_what_items_of_mixed_difficulty_show(n, gates, simulated):
    # Found by simulating items whose difficulty is beta distributed, independently of this package.
    assert smallest_detectable_drop(n, 0.05 / gates) == pytest.approx(simulated, abs=0.02)


def test_a_large_split_is_known_as_well_as_a_small_one():
    exact = smallest_detectable_drop(LARGE, 0.01)
    assert smallest_detectable_drop(LARGE + 1, 0.01) == pytest.approx(exact, abs=0.003)


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
    assert compare(graded, before).p_value < 0.01 < compare(graded, before, margin=0.05).p_value


@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_with_a_margin_false_alarms_are_at_most_what_was_allowed(margin):
    for changing in (margin, 0.06, 0.123, 0.2, 0.5, 0.9, 1.0):
        assert power(100, 0.05, margin, max(changing, margin), margin) <= 0.05 * (1 + 1e-6)


def test_clusters_count_as_one_each():
    # 30 examples broke, but all in one document of ten: that may happen to any document.
    before, now = [[1.0] * 300], [[0.0] * 30 + [1.0] * 270]
    documents = [i // 30 for i in range(300)]
    assert compare(now, before).p_value < 2e-6
    assert compare(now, before, documents).p_value == pytest.approx(0.5, abs=1e-4)
    assert compare(now, before, range(300)).p_value < 1e-6
    assert mean_interval(now, documents)[0] < mean_interval(now, range(300))[0]

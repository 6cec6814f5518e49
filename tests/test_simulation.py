"""The short form of `python tests/simulation.py`: the gate keeps its word where that is soon seen."""

import numpy as np
import pytest
import session_simulation
from simulation import (
    CLUSTERED,
    INDEPENDENT,
    LOWER,
    MCNEMAR,
    OURS,
    SEEDS,
    SETTINGS,
    Grid,
    check_against_exact,
    check_against_mcnemar,
    check_against_published,
    check_false_alarms,
    checks,
    false_alarm_table,
    power_table,
    simulate,
)


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.promised], ids=lambda setting: setting.name)
def test_at_most_one_session_in_twenty_has_a_false_alarm(setting):
    check = check_false_alarms(list(simulate(Grid(150, [setting], sizes=(50, 200), drops=(0.0,)))))
    assert check.passed, check.what


def test_three_seeds_of_many_items_do_not_alarm_many_gates():
    # Seeds decide here, not items, and the level of a gate is far out in the tail of what three seeds can tell.
    check = check_false_alarms(list(simulate(Grid(1000, [SEEDS[3]], sizes=(1319,), drops=(0.0,), gates=(24,)))))
    assert check.passed, check.what


def test_power_is_what_can_be_had():
    cells = list(simulate(Grid(100, [INDEPENDENT], sizes=(50, 100, 200))))
    for check in (check_against_exact(cells), check_against_mcnemar(cells), check_against_published()):
        assert check.passed, check.what


def test_gates_that_do_not_keep_their_word_are_found_out():
    clustered, scattering = simulate(Grid(100, [CLUSTERED, SEEDS[3]], sizes=(200,), drops=(0.0,)))
    for cell in (clustered, scattering):
        assert cell.per_session(LOWER, 12) > 0.9
        assert cell.per_session(MCNEMAR, 12) > 0.3 > cell.allowed(12) > cell.per_session(OURS, 12)


def test_it_prints_what_was_found_and_the_same_each_time():
    grid = Grid(20, sizes=(50,), drops=(0.0, 0.1))
    cells = list(simulate(grid))
    assert cells == list(simulate(grid))
    assert len(false_alarm_table(cells).splitlines()) == 2 + len(SETTINGS) + 1  # heads, one each, one exact
    assert len(power_table(cells, 1, 24).splitlines()) == 2 + len(SETTINGS)
    assert all(str(check).startswith(("PASS ", "FAIL ")) for check in checks(cells))


@pytest.mark.parametrize("setting", session_simulation.SETTINGS, ids=lambda setting: setting.name)
def test_a_session_draws_its_cells_and_judges_each_by_the_others(setting):
    rng = np.random.default_rng(0)
    assert len(session_simulation.session(rng, setting, 20, 3)) == 3
    now, before = session_simulation.draw(rng, setting, 20, 0.1)
    assert (len(now), len(before)) == (setting.now, setting.before)
    assert {len(seed) for seed in (*now, *before)} == {20}


def test_seeds_in_two_modes_do_not_make_sessions_red():
    modes = next(setting for setting in session_simulation.SETTINGS if "modes" in setting.name)
    assert session_simulation.alarms(modes, 200, 6, 60) <= session_simulation.allowed(60)
    assert session_simulation.found(modes, 200, 1, 20) > 0.1

"""What the plugin keeps between runs, and what it says of that."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from parrot import CONFTEST, SUITE, run

from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES


def cells(suite):
    """The cells of the JSON report, without what depends on who paid and how long it took."""
    found = json.loads((suite.path / "report.json").read_text())["cells"]
    for cell in found:
        del cell["cost"]["paid_now"]
        for seed in cell["seeds"]:
            del seed["seconds"]
            for step in seed["steps"]:
                del step["seconds"]
    return found


def scored(suite, *args):
    """Run without gating; pytester's result."""
    return run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-report=json:report.json", *args)


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "-n1"])
def test_damage_is_mended_and_told_in_one_line(suite, workers):
    scored(suite, *workers).assert_outcomes(passed=8)
    before = cells(suite)
    (suite.path / "trainings").unlink()
    with closing(sqlite3.connect(suite.path / ".bettertogether" / "journal.sqlite")) as connection:
        connection.execute("UPDATE entry SET value = value || ' ' WHERE rowid = 2")
        connection.commit()
    first, second, *_ = sorted((suite.path / ".bettertogether" / "adapters").iterdir())
    shutil.rmtree(first)
    (second / ADAPTER_FILES[0]).write_bytes(b"")
    result = scored(suite, *workers)
    result.assert_outcomes(passed=8)
    told = [line for line in result.outlines if line.startswith("journal:")]
    assert told == ["journal: 1 damaged completion entry and 2 damaged adapters were computed again"]
    assert (suite.path / "trainings").read_text() == "xx"
    assert cells(suite) == before
    assert "journal:" not in scored(suite, *workers).stdout.str()


def test_a_damaged_data_base_says_what_to_do(suite):
    folder = suite.mkdir(".bettertogether")
    (folder / "journal.sqlite").write_bytes(b"no data base" * 500)
    result = scored(suite, "--bt-strategy=zero")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*JournalError: journal * is damaged: * save what is whole with `bettertogether journal --dir *repair*"]
    )
    assert "Traceback" not in result.stdout.str()


def ends(suite):
    return {cell["strategy"]: (cell["status"], cell["reason"]) for cell in cells(suite)}


SHARED = ("--bt-strategy=zero", "--bt-strategy=p", "--bt-strategy=w")


@pytest.mark.parametrize("option", ["--bt-max-calls=100", "--bt-max-tokens=1200", "--bt-max-minutes=0.0001"])
def test_a_budget_stops_cells_and_is_never_green(suite, option):
    result = scored(suite, *SHARED, option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    stopped = [reason for status, reason in ends(suite).values() if status == "stopped"]
    assert len(stopped) >= 2
    assert stopped[0].startswith(f"{option}: ")
    assert stopped[1].startswith(f"not begun, for {option}: ")
    assert "run the same command again to go on" in stopped[0]
    result.stdout.fnmatch_lines(["*SS *", f"parity[[]parrot-w] stopped: not begun, for {option}: *"])
    assert "Traceback" not in result.stdout.str()
    assert "better_together()" not in result.stdout.str()  # one line, no listing
    assert result.stdout.str().count("STOPPED") == len(stopped)


def test_the_same_command_goes_on_to_the_result_of_an_unlimited_one(suite):
    scored(suite, "--bt-journal=whole").assert_outcomes(passed=8)
    whole, runs = cells(suite), 0
    while scored(suite, "--bt-max-calls=150").ret != 0:
        assert sum(cell["cost"]["paid_now"]["lm_calls"] for cell in costs(suite)) in range(1, 151)
        runs += 1
    assert runs > 3
    assert cells(suite) == whole


def costs(suite):
    return json.loads((suite.path / "report.json").read_text())["cells"]


def test_replayed_calls_cost_nothing_of_it(suite):
    scored(suite).assert_outcomes(passed=8)
    scored(suite, "--bt-max-calls=1", "--bt-max-tokens=1").assert_outcomes(passed=8)


def test_a_budget_too_small_for_any_batch_says_so(suite):
    scored(suite, *SHARED, "--bt-max-calls=3")
    assert "too few for any: allow at least 40" in ends(suite)["zero"][1]


def test_a_stopped_cell_is_told_by_letter_word_and_property(suite):
    result = scored(suite, "--bt-strategy=p", "--bt-max-calls=20", "--junitxml=junit.xml", "-v")
    result.stdout.fnmatch_lines(["*test_parity[[]parrot-p] STOPPED*", "STOPPED test_parity.py*Failed: stopped: *"])
    assert 'name="bettertogether.status" value="stopped"' in (suite.path / "junit.xml").read_text()


@pytest.mark.parametrize("option", ["--bt-max-calls=0", "--bt-max-minutes=0", "--bt-max-tokens=many"])
def test_a_budget_that_is_none_is_refused(suite, option):
    assert scored(suite, option).ret == pytest.ExitCode.USAGE_ERROR


def planned(suite, *args):
    """The rows of a plan, by step; what it says of the total."""
    result = scored(suite, "--bt-plan", *args)
    assert result.ret == 0
    result.assert_outcomes()
    rows = [re.split(r"  +", line.strip()) for line in result.outlines if re.match(r"parity\[|total", line)]
    return {"total" if row[0] == "total" else f"{row[0].partition('-')[2][:-1]} {row[1]}": row[-5:] for row in rows}


def test_a_plan_loads_no_engine_and_runs_nothing(suite):
    suite.makeconftest(CONFTEST.replace("self.adapters = adapters", "raise AssertionError('an engine was loaded')"))
    rows = planned(suite)
    assert rows["zero test"][:2] == ["0", "40"]  # exact
    assert rows["p p"][:2] == ["0", f"≤ {12 + 9 * 28}"]
    assert rows["w w"] == ["0", "≤ 40", *rows["w w"][2:4], "≤ 40"]
    assert [step for step in rows if step[-1] in "pw"] == ["p p", "w w", "pp pp", "ww ww", "pw pw", "wp wp", "pwp pwp"]
    assert rows["pwp pwp"][:2] == ["0", f"≤ {12 + 9 * 28}"]  # p and pw were counted above
    assert rows["total"][:2] == ["0", f"≤ {8 * 40 + 4 * (12 + 9 * 28) + 3 * 40:,}"]
    assert not (suite.path / "trainings").exists()


def test_a_plan_of_what_has_run_is_that_nothing_is_left(suite):
    scored(suite).assert_outcomes(passed=8)
    rows = planned(suite)
    assert {row[1] for row in rows.values()} == {"0"}
    assert {row[4] for row in rows.values()} == {"–"}
    assert rows["p p"][0] == str(12 + 2 * 28)  # of nine candidates two were asked


def test_a_plan_counts_what_is_held_and_bounds_what_is_run_then(suite):
    scored(suite, "--bt-strategy=p", "--bt-strategy=w", "--bt-max-calls=50")
    before = planned(suite, "--bt-strategy=p", "--bt-strategy=w")
    most = int(before["total"][1].removeprefix("≤ "))
    assert 0 < int(before["p p"][0]) < 12 + 9 * 28
    assert int(before["p p"][0]) + int(before["p p"][1].removeprefix("≤ ")) == 12 + 9 * 28
    scored(suite, "--bt-strategy=p", "--bt-strategy=w").assert_outcomes(passed=2)
    assert sum(cell["cost"]["paid_now"]["lm_calls"] for cell in costs(suite)) <= most


def test_a_plan_knows_the_rows_where_the_traces_are_held(suite):
    scored(suite, "--bt-strategy=w").assert_outcomes(passed=1)
    with closing(sqlite3.connect(suite.path / ".bettertogether" / "journal.sqlite")) as connection:
        connection.execute("DELETE FROM entry WHERE value LIKE '{\"digest%'")
        connection.commit()
    assert planned(suite, "--bt-strategy=w")["w w"] == ["40", "0", "–", "–", "20"]


def test_a_plan_is_not_shared_among_workers(suite):
    result = scored(suite, "--bt-plan", "-n1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--bt-plan runs nothing that workers could share: add -n0"])


def test_a_plan_fits_an_ascii_stream(suite, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = suite.runpytest_subprocess("--bt-model=parrot", "--bt-plan", "--bt-strategy=w")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["total *<= 240 *~ * <= 120 in 3"])


def test_a_plan_ends_where_a_step_is_refused(suite):
    few = ("--bt-set=lora.min_traces=30", "--bt-strategy=wp")
    scored(suite, *few).assert_outcomes(skipped=1)
    assert planned(suite, *few) == {"wp w": ["40", "0", "–", "–", "–"], "total": ["40", "0", "–", "–", "–"]}


def test_a_plan_of_the_best_prefix_counts_dev(suite):
    best = ("--bt-select=best", "--bt-strategy=pw")
    assert planned(suite, *best)["pw test"][:2] == ["0", f"≤ {3 * 40 + 40}"]
    scored(suite, *best).assert_outcomes(passed=1)
    assert planned(suite, *best)["pw test"][:2] == [str(3 * 40 + 40), "0"]


def test_a_cell_that_was_stopped_is_not_recorded(suite):
    body = "    assert better_together() >= bt_baseline\n"
    suite.makepyfile(test_parity=SUITE.replace(body, f"{body}    better_together(strategy='p')\n"))
    result = run(suite, "--bt-seeds=0", "--bt-strategy=zero", "--bt-max-calls=41", "--bt-update-baselines")
    result.assert_outcomes(failed=1)
    assert not (suite.path / "baselines").exists()
    run(suite, "--bt-seeds=0", "--bt-strategy=zero", "--bt-update-baselines").assert_outcomes(passed=1)
    assert (suite.path / "baselines").exists()

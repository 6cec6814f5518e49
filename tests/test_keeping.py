"""What the plugin keeps between runs, and what it says of that."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from parrot import run

from pytest_bettertogether.backends import ADAPTER_FILES


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
        connection.execute("UPDATE entry SET value = value || ' ' WHERE rowid = 1")
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
    result.stdout.fnmatch_lines(["*JournalError: journal * is damaged: * move its journal.sqlite[*] files away*"])
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

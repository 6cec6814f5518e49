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

"""The console command: house-keeping of the journal, and exports."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from parrot import run

from pytest_bettertogether.command.cli import main
from pytest_bettertogether.journal import store
from pytest_bettertogether.journal.store import Journal

LONG_AGO = 40 * 86_400


@pytest.fixture
def kept(suite):
    """A suite that has run, inside its folder."""
    run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=w", "--bt-strategy=p").assert_outcomes(passed=2)
    return suite.path / ".bettertogether"


def change(kept, sql):
    with closing(sqlite3.connect(kept / "journal.sqlite")) as connection:
        connection.execute(sql)
        connection.commit()


def age(kept, which="true"):
    change(kept, f"UPDATE entry SET used = used - {LONG_AGO} WHERE {which}")  # noqa: S608 - our own words


def said(capsys, *arguments):
    capsys.readouterr()
    code = main(["journal", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_ls_says_what_there_is(kept, capsys):
    code, lines = said(capsys, "ls")
    assert code == 0
    assert lines[0].startswith(".bettertogether: ")
    assert "completions in" in lines[1]
    assert lines[2].startswith("1 adapters, ")
    assert lines[3] == "0 trainings under way"
    assert any("40 completions" in line for line in lines[4:])
    assert any(", 3 steps" in line for line in lines[4:])
    everything = said(capsys, "ls", "--all")[1]
    assert len(everything) >= len(lines)


def test_show_prints_an_entry_by_the_beginning_of_its_key(kept, capsys):
    line = next(line for line in said(capsys, "ls", "--all")[1] if "3 steps" in line)
    code, lines = said(capsys, "show", line.split()[0][:10])
    assert code == 0
    assert '"losses": [' in "\n".join(lines)
    assert main(["journal", "show", "nothing"]) == 2
    assert "no entries have a key that begins with 'nothing'" in capsys.readouterr().err


def test_verify_finds_damage(kept, capsys):
    assert said(capsys, "verify") == (0, ["everything is whole"])
    change(kept, "UPDATE entry SET value = 'x' WHERE rowid = 2")
    (adapter,) = (kept / "adapters").iterdir()
    (adapter / "adapter_config.json").write_text("x")
    (kept / "adapters" / "writing-x").mkdir()
    code, lines = said(capsys, "verify")
    assert code == 1
    assert len(lines) == 3
    assert lines[0].startswith("entry ")
    assert lines[1] == f"adapter {adapter.name} is damaged or missing: it will be trained again"
    assert "writing-x is half written" in lines[2]


def test_prune_removes_what_is_old_and_nothing_else(kept, suite, capsys):
    assert said(capsys, "prune", "--older-than=30d")[1][0].startswith("removed 0 entries and 0 adapters")
    age(kept, "rowid = 2")
    assert said(capsys, "prune", "--older-than=30d")[1][0].startswith("removed 1 entry and 0 adapters")
    age(kept)
    (adapter,) = (kept / "adapters").iterdir()
    (kept / "training" / "abandoned.safetensors").write_text("x")
    for each in (adapter, *(kept / "training").iterdir()):
        os.utime(each, (time.time() - LONG_AGO,) * 2)
    assert "and 1 adapter," in said(capsys, "prune", "--older-than=30d")[1][0]
    assert list((kept / "adapters").iterdir()) == list((kept / "training").iterdir()) == []
    run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=w").assert_outcomes(passed=1)


def room(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_prune_says_what_it_freed(tmp_path, capsys):
    journal = Journal(tmp_path)
    for n in range(200):
        journal.put(str(n), "x" * 10_000)
    journal.close()
    age(tmp_path, "CAST(key AS INTEGER) < 100")
    before = room(tmp_path)
    (line,) = said(capsys, "--dir", str(tmp_path), "prune", "--older-than=30d")[1]
    after = room(tmp_path)
    assert line == f"removed 100 entries and 0 adapters, freed {before - after:,} B"
    assert before - after > 1_000_000
    (line,) = said(capsys, "--dir", str(tmp_path), "prune", "--older-than=30d")[1]
    assert line == "removed 0 entries and 0 adapters, freed 0 B"


def test_prune_says_why_it_frees_nothing_where_another_process_is_reading(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    journal = Journal(tmp_path)
    journal.put("key", "x" * 100_000)
    age(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM entry").fetchall()
        (line,) = said(capsys, "--dir", str(tmp_path), "prune", "--older-than=30d")[1]
    journal.close()
    assert line.startswith("removed 1 entry and 0 adapters, freed ")
    assert line.endswith(" B; its data base keeps its size, as it is in use or the disk is full")


def test_show_reads_no_value_but_the_one_that_it_shows(tmp_path, capsys, monkeypatch):
    journal = Journal(tmp_path)
    for n in range(50):
        journal.put(f"{n:02}-key", n)
    journal.close()
    read = []
    loads = store.json.loads
    monkeypatch.setattr(store.json, "loads", lambda text: read.append(text) or loads(text))
    assert said(capsys, "--dir", str(tmp_path), "show", "07")[1][-1] == "7"
    assert read == [b"7"]
    assert main(["journal", "--dir", str(tmp_path), "show", ""]) == 2
    assert "several entries have a key that begins with ''" in capsys.readouterr().err
    assert len(read) == 3


def test_prune_leaves_a_training_alone_that_a_process_is_at(kept, capsys):
    journal = Journal(kept)
    (kept / "training" / "abandoned.safetensors").write_text("x")
    (kept / "training" / "busy.safetensors").write_text("x")
    with journal.owning("busy", print):
        said(capsys, "prune", "--older-than=0d")
    assert {each.name for each in (kept / "training").iterdir()} == {"busy.safetensors", "busy.lock"}
    journal.close()


def test_what_is_replayed_is_used(kept, suite, capsys):
    age(kept)
    run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=w").assert_outcomes(passed=1)
    said(capsys, "prune", "--older-than=30d")
    (suite.path / "trainings").unlink()
    result = run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=w")
    result.stdout.fnmatch_lines(["*made now: 0 calls"])
    assert not (suite.path / "trainings").exists()


def test_a_journal_of_schema_1_is_brought_up_to_date(tmp_path):
    began = int(time.time())
    journal = Journal(tmp_path)
    journal.put("key", ["value"])
    journal.close()
    change(tmp_path, "ALTER TABLE entry DROP COLUMN used")
    change(tmp_path, "PRAGMA user_version = 1")
    for _ in range(2):
        journal = Journal(tmp_path)
        assert journal.get("key") == ["value"]
        assert [each.used >= began for each in journal.entries()] == [True]
        assert journal.query("PRAGMA user_version") == [(2,)]
        journal.close()


def test_a_folder_that_holds_no_journal_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["journal", "ls"]) == 2
    assert (
        capsys.readouterr().err
        == "bettertogether: there is no journal in .bettertogether: name its folder with --dir\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["journal", "ls", "--all"], ["report", "r.json"]])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(kept, suite, command):
    run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=w", "--bt-report=json:r.json")
    reading, writing = os.pipe()
    os.close(reading)  # before anything is written, as `head` may be gone
    with os.fdopen(writing, "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_bettertogether", *command], stdout=output, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"bettertogether {version('pytest-bettertogether')}\n"


@pytest.mark.parametrize(
    "arguments", [["journal"], ["journal", "prune"], ["journal", "prune", "--older-than=soon"], []]
)
def test_a_wrong_call_is_refused(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_export_replays_a_cell_and_writes_its_programs(kept, suite, capsys):
    cell = "test_parity.py::test_parity[parrot-w]"
    options = ["--bt-model=parrot", "--bt-seeds=0", "-p", "no:cacheprovider"]
    assert main(["export", cell, "--to=out", *options]) == 0
    assert "made now: 0 calls" in capsys.readouterr().out
    files = {str(each.relative_to(suite.path)) for each in Path("out").resolve().rglob("*.json")}
    home = "out/parity/parrot-w/seed0"
    assert files == {f"{home}/program.json", f"{home}/adapter/adapter_config.json"}

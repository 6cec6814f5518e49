"""One damaged row costs one row: journals with flipped bits, bytes and pages, before and after their repair."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing

import pytest

from pytest_bettertogether.command.cli import main
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.data import digest
from pytest_bettertogether.pipeline.errors import JournalError

PAGE = 4096
CASES = 60
"""Of each kind of damage."""

VALUES = {digest(number): [[f"answer {number} " * (1 + number % 7 * 40), number, 3, False]] for number in range(150)}
"""By key: rows of some bytes, and rows that go on over several pages."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A journal that is closed."""
    folder = tmp_path_factory.mktemp("whole")
    fill(folder).close()
    return folder


def fill(folder):
    journal = Journal(folder)
    for key, value in VALUES.items():
        journal.put(key, value)
    return journal


def bit(content, chance):
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def several_bytes(content, chance):
    for _ in range(20):
        content[chance.randrange(len(content))] = chance.randrange(256)


def head(content, chance):
    """The file's header, the schema and whatever else the first page holds."""
    content[chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
    content[chance.randrange(100)] = chance.randrange(256)


def page(content, chance):
    start = chance.randrange(len(content) // PAGE) * PAGE
    content[start : start + PAGE] = chance.choice([bytes(PAGE), chance.randbytes(PAGE)])


def end(content, chance):
    del content[chance.randrange(len(content)) :]


def ask(folder):
    """What a journal answers for each key; None is no answer. Raises JournalError where it cannot be opened."""
    journal = Journal(folder)
    try:
        return {key: answer(journal, key) for key in VALUES}
    finally:
        journal.close()


def answer(journal, key):
    try:
        return journal.get(key)
    except JournalError:
        return None


def assert_right(found):
    assert {key: value for key, value in found.items() if value not in (None, VALUES[key])} == {}


def command(capsys, folder, *action):
    """What the console command says, without an error but its own."""
    capsys.readouterr()
    code = main(["journal", "--dir", str(folder), *action])
    said = capsys.readouterr()
    assert code in ((0, 1) if not said.err else (2,))
    assert len(said.err.splitlines()) <= 1
    return said.out


@pytest.mark.parametrize("damage", [bit, several_bytes, head, page, end])
def test_whatever_is_damaged_no_value_is_wrong_and_repair_saves_the_rest(whole, tmp_path, capsys, damage):
    chance, ends = random.Random(damage.__name__), Counter()
    folder = tmp_path / "journal"
    for _ in range(CASES):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        file = folder / "journal.sqlite"
        content = bytearray(file.read_bytes())
        damage(content, chance)
        file.write_bytes(content)
        before = {}
        try:
            before = ask(folder)
        except JournalError:
            ends["refused"] += 1
        assert_right(before)
        for action in (["ls"], ["show", next(iter(VALUES))], ["verify"], ["prune", "--older-than=30d"]):
            command(capsys, folder, *action)
        said = command(capsys, folder, "repair")
        after = ask(folder)
        assert_right(after)
        lost = {key for key, value in after.items() if value is None}
        assert {key for key, value in before.items() if value is not None} & lost == set()
        if damage in (bit, page, head):
            assert len(lost) <= 40  # the rows of one page
            assert [key for key in lost if f"entry {key} is lost" not in said] == []
        ends["lost" if lost else "saved"] += 1
        assert command(capsys, folder, "verify") == "everything is whole\n"
    assert ends["lost"] + ends["saved"] == CASES


COLUMNS = {
    "checksum": "checksum = CAST(x'ff' || substr(checksum, 2) AS TEXT)",
    "time that is no text": "used = CAST(x'ff00ff' AS TEXT)",
    "time that is no number": "used = 'x'",
    "time far ahead": "used = 9223372036854775807",
    "time long before": "used = -9223372036854775808",
    "time that is a blob": "used = x'00'",
    "value that is a number": "value = 7",
    "value that is a blob": "value = x'ff'",
    "key": "key = CAST(x'ff1b' || substr(key, 3) AS TEXT)",
    "key that is none": "key = NULL",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_damaged_column_costs_its_row_at_most(whole, tmp_path, capsys, column):
    folder = tmp_path / "journal"
    shutil.copytree(whole, folder)
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        connection.execute(f"UPDATE entry SET {COLUMNS[column]} WHERE rowid = 7")  # noqa: S608 - our own words
        connection.commit()
    key = list(VALUES)[6]
    listed = command(capsys, folder, "ls", "--all")
    assert len(listed.splitlines()) == 4 + len(VALUES)
    assert "\x1b" not in listed
    expected = {**VALUES, key: VALUES[key] if column.startswith("time") else None}
    assert command(capsys, folder, "verify").count("is damaged") == (expected[key] is None)
    assert command(capsys, folder, "show", list(VALUES)[7])
    assert command(capsys, folder, "prune", "--older-than=30d").startswith("removed 0 entries")
    found = ask(folder)
    assert found == expected


def test_a_row_whose_own_key_is_damaged_is_answered_by_its_index_and_repaired_from_it(whole, tmp_path, capsys):
    folder = tmp_path / "journal"
    shutil.copytree(whole, folder)
    file, key = folder / "journal.sqlite", list(VALUES)[40]
    content = file.read_bytes()
    places = [at for at in range(len(content)) if content.startswith(key.encode(), at)]
    assert len(places) >= 2  # in the table, before its value, and in the index
    value = [at for at in places if b"answer 40 " in content[at : at + 200]]
    file.write_bytes(content[: value[0]] + b"\xff" + content[value[0] + 1 :])
    assert ask(folder) == VALUES
    assert "1 is damaged" not in command(capsys, folder, "repair")
    assert ask(folder) == VALUES
    assert command(capsys, folder, "verify") == "everything is whole\n"


def test_repair_saves_what_only_the_write_ahead_log_holds_and_keeps_times_and_the_old_file(tmp_path, capsys):
    journal = fill(tmp_path / "live")
    long_ago = 1_600_000_000
    journal.query("UPDATE entry SET used = ?", long_ago)
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(tmp_path / "live" / name, killed / name)
    journal.close()
    log = killed / "journal.sqlite-wal"
    content = bytearray(log.read_bytes())
    assert len(content) > 100_000
    content[32 + 5 * (24 + PAGE) + 20] ^= 1  # SQLite would leave out this frame and all behind it
    log.write_bytes(content)
    said = command(capsys, killed, "repair")
    assert f"{len(VALUES)} entries are whole, 0 are lost" in said
    assert (killed / "journal.sqlite.damaged1-wal").read_bytes() == bytes(content)
    repaired = Journal(killed)
    assert {entry.used for entry in repaired.entries()} == {long_ago}
    repaired.close()
    assert ask(killed) == VALUES
    command(capsys, killed, "repair")
    assert (killed / "journal.sqlite.damaged2").is_file()
    assert ask(killed) == VALUES


def test_repair_takes_the_value_that_was_written_last(tmp_path, capsys):
    journal = fill(tmp_path)
    for key in VALUES:
        journal.put(key, "afresh")
    journal.close()
    command(capsys, tmp_path, "repair")
    assert ask(tmp_path) == dict.fromkeys(VALUES, "afresh")


def test_repair_leaves_a_journal_alone_that_another_process_uses(whole, tmp_path, capsys):
    folder = tmp_path / "journal"
    shutil.copytree(whole, folder)
    code = "import sys, pathlib; from pytest_bettertogether.journal.store import Journal\n"
    code += "journal = Journal(pathlib.Path(sys.argv[1])); journal.put('k', 1); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert main(["journal", "--dir", str(folder), "repair"]) == 2
        assert "is in use by another process: repair it when that has ended" in capsys.readouterr().err
        other.stdin.close()
    assert "151 entries are whole" in command(capsys, folder, "repair")

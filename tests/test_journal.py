"""The journal: nothing is paid for twice, and nothing damaged is believed."""

import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from scripted import Scripted

from pytest_bettertogether.backends import ADAPTER_FILES, Prompt, Training, TrainingRow, adapter_digest
from pytest_bettertogether.errors import JournalError
from pytest_bettertogether.journal import Journal, Journaled
from pytest_bettertogether.program import Adapter
from pytest_bettertogether.prompt import Message
from pytest_bettertogether.recipe import LoraTuning, Sampling
from pytest_bettertogether.results import Usage

PROMPTS = [Prompt((Message("user", f"question {n} \ud800"),), noise=n) for n in range(3)]
WARM, GREEDY = Sampling(temperature=0.5), Sampling(temperature=0.0)
ROWS = [TrainingRow(prompt.messages, "answer") for prompt in PROMPTS]


class Engine(Scripted):
    """Writes real adapter folders, so that their digests can be checked."""

    def __init__(self, journal, identity="one"):
        super().__init__(lambda messages, adapter: f"to {messages[-1].content} by {adapter}")
        self.folder, self.identity = journal.adapters, identity

    def describe(self):
        return {"model": self.identity}

    def finetune(self, rows, recipe, seed, start=None):
        super().finetune(rows, recipe, seed, start)
        aside = self.folder / f"new{len(self.trained)}"
        aside.mkdir()
        for name in ADAPTER_FILES:
            (aside / name).write_text(f"{name} {len(rows)} {recipe} {seed} {start}")
        digest = adapter_digest(aside)
        if (self.folder / digest).exists():
            for name in ADAPTER_FILES:
                (aside / name).replace(self.folder / digest / name)
        else:
            aside.rename(self.folder / digest)
        return Training(Adapter(str(self.folder / digest), digest), (2.0, 1.0), 7)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


def test_a_batch_is_computed_once_and_replayed_to_later_sessions(journal, tmp_path):
    first = Journaled(Engine(journal), journal)
    completions = first.generate(PROMPTS, WARM)
    assert first.paid == Usage(3, 3, 3)
    again = Journal(tmp_path / "journal")
    second = Journaled(Engine(again), again)
    assert second.generate(PROMPTS, WARM) == completions
    assert second.engine.calls == []
    assert second.paid == Usage()
    again.close()


@pytest.mark.parametrize(
    ("changed", "replayed"),
    [
        ({}, True),
        ({"sampling": replace(WARM, top_p=0.5)}, False),
        ({"sampling": replace(WARM, max_tokens=5)}, False),
        ({"adapter": Adapter("elsewhere", "d1")}, False),
        ({"prompts": PROMPTS[:2]}, False),
        ({"prompts": PROMPTS[::-1]}, False),
        ({"prompts": [replace(PROMPTS[0], noise=9), *PROMPTS[1:]]}, False),
        ({"prompts": [Prompt((Message("system", "question 0 \ud800"),)), *PROMPTS[1:]]}, False),
        ({"identity": "two"}, False),
    ],
)
def test_whatever_could_change_a_completion_is_in_its_key(journal, changed, replayed):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM)
    later = Journaled(Engine(journal, changed.pop("identity", "one")), journal)
    later.generate(**{"prompts": PROMPTS, "sampling": WARM, **changed})
    assert (later.engine.calls == []) == replayed


def test_greedy_completions_are_shared_by_all_seeds(journal):
    engine = Journaled(Engine(journal), journal)
    engine.generate(PROMPTS, GREEDY)
    engine.generate([replace(prompt, noise=prompt.noise + 1) for prompt in PROMPTS], GREEDY)
    assert len(engine.engine.calls) == 3


def test_an_adapter_is_trained_once(journal):
    first = Journaled(Engine(journal), journal)
    training = first.finetune(ROWS, LoraTuning(), 1)
    later = Journaled(Engine(journal), journal)
    assert later.finetune(ROWS, LoraTuning(), 1) == training
    assert later.finetune(ROWS, LoraTuning(attempts=9, min_traces=1), 1) == training  # neither changes the training
    assert (later.engine.trained, later.train_steps, first.train_steps) == ([], 0, 7)


@pytest.mark.parametrize(
    "changed",
    [{"rows": ROWS[:2]}, {"recipe": LoraTuning(rank=2)}, {"seed": 2}, {"start": Adapter("elsewhere", "d1")}],
)
def test_whatever_could_change_an_adapter_is_in_its_key(journal, changed):
    engine = Journaled(Engine(journal), journal)
    engine.finetune(ROWS, LoraTuning(), 1)
    engine.finetune(**{"rows": ROWS, "recipe": LoraTuning(), "seed": 1, **changed})
    assert len(engine.engine.trained) == 2


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_adapter_is_trained_again(journal, damage):
    engine = Journaled(Engine(journal), journal)
    training = engine.finetune(ROWS, LoraTuning(), 1)
    weights = journal.adapters / training.adapter.digest / ADAPTER_FILES[0]
    if damage == "change":
        weights.write_text("x")
    else:
        weights.unlink()
    assert engine.finetune(ROWS, LoraTuning(), 1) == training
    assert len(engine.engine.trained) == 2


def test_a_damaged_completion_is_computed_again(journal):
    engine = Journaled(Engine(journal), journal)
    completions = engine.generate(PROMPTS, WARM)
    with sqlite3.connect(journal.folder / "journal.sqlite") as connection:
        connection.execute("UPDATE entry SET value = replace(value, 'question 1', 'question 7')")
    connection.close()
    assert engine.generate(PROMPTS, WARM) == completions
    assert len(engine.engine.calls) == 6


def test_fresh_ignores_what_is_there_and_replaces_it(journal, tmp_path):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM)
    fresh = Journal(tmp_path / "journal", fresh=True)
    engine = Journaled(Engine(fresh), fresh)
    engine.generate(PROMPTS, WARM)
    assert len(engine.engine.calls) == 3
    fresh.close()


def test_it_keeps_itself_out_of_version_control(journal):
    assert (journal.folder / ".gitignore").read_text() == "*\n"


def test_a_newer_journal_is_refused_politely(journal, tmp_path):
    journal._connection.execute("PRAGMA user_version = 2")
    with pytest.raises(JournalError, match="schema 2, this version reads 1: name another folder with --bt-journal"):
        Journal(tmp_path / "journal")


def test_something_else_in_its_place_is_one_clear_error(tmp_path):
    (tmp_path / "journal.sqlite").write_text("not a data base, but long enough to be taken for one" * 50)
    with pytest.raises(
        JournalError, match="cannot be used: file is not a database: delete it, or name another with --bt-journal"
    ):
        Journal(tmp_path)


OPENING = """
import sys
import time
from pathlib import Path
from pytest_bettertogether.journal import Journal

folder, began, who = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
for n in range(30):
    while time.time() < began + n * 0.06:  # both open each new journal in the same instant
        pass
    journal = Journal(folder / str(n))
    journal.put(who, n)
    journal.close()
"""


def test_several_processes_may_open_a_new_one_at_once(tmp_path):
    began = str(time.time() + 1.5)
    both = [subprocess.Popen([sys.executable, "-c", OPENING, tmp_path, began, who]) for who in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for n in range(30):
        journal = Journal(tmp_path / str(n))
        assert journal.get("one") == journal.get("two") == n
        journal.close()

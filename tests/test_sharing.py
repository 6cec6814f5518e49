"""Several processes on one journal: an adapter is trained by one and awaited by the others."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAIN = """
import sys, time
from pathlib import Path
from test_journal import ADAPTER, ROWS, Engine
from pytest_bettertogether.journal.budget import Budget
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.pipeline.errors import BudgetError
from pytest_bettertogether.pipeline.recipe import LoraTuning

folder, who, until, seed = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

class Slow(Engine):
    def finetune(self, *args):
        (folder / f"{who}-trains").touch()
        while not until.exists():
            time.sleep(0.02)
        return super().finetune(*args)

def say(text):
    (folder / f"{who}-waits").write_text(text)

journal = Journal(folder / "journal")
budget = Budget(minutes=float(sys.argv[5])) if len(sys.argv) > 5 else None
try:
    training = Journaled(Slow(journal), journal, say, budget).finetune(ROWS, LoraTuning(), seed)
except BudgetError as error:
    sys.exit(f"stopped: {error}")
finally:
    journal.close()
print(training.adapter.digest)
"""


def train(folder, who, until, seed=1, *minutes):
    """A process that trains until there is a file of the name `until`; with `minutes`, of so small a budget."""
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, folder, who, folder / until, str(seed), *map(str, minutes)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def appears(file, process):
    while not file.exists():
        assert process.poll() is None, file
        time.sleep(0.02)


@pytest.fixture
def owner(tmp_path):
    process = train(tmp_path, "owner", "never")
    appears(tmp_path / "owner-trains", process)
    yield process
    process.kill()
    process.communicate()


def test_an_adapter_is_trained_by_one_process_and_awaited_by_the_other(tmp_path):
    first = train(tmp_path, "first", "second-waits")
    appears(tmp_path / "first-trains", first)
    second = train(tmp_path, "second", "second-waits")
    digests = [process.communicate()[0] for process in (first, second)]
    assert digests[0] == digests[1] != ""
    assert (tmp_path / "second-waits").read_text().startswith("another process trains this adapter, waiting for it,")
    assert not (tmp_path / "second-trains").exists()
    assert not (tmp_path / "first-waits").exists()


def test_it_is_taken_over_when_its_owner_is_killed(tmp_path, owner):
    second = train(tmp_path, "second", "second-trains")
    appears(tmp_path / "second-waits", second)
    assert not (tmp_path / "second-trains").exists()
    owner.kill()
    assert second.communicate()[0] != ""
    assert (tmp_path / "second-trains").exists()


def test_another_adapter_is_not_waited_for(tmp_path, owner):
    assert train(tmp_path, "second", "second-trains", seed=2).communicate()[0] != ""
    assert not (tmp_path / "second-waits").exists()


def test_a_process_that_waits_stops_when_its_minutes_are_over(tmp_path, owner):
    second = train(tmp_path, "second", "never", 1, 0.03)
    _, said = second.communicate(timeout=120)  # were the budget ignored, it would wait for ever
    assert second.returncode == 1
    assert "stopped: --bt-max-minutes=0.03: " in said
    assert owner.poll() is None
    assert not (tmp_path / "second-trains").exists()

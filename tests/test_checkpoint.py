"""A training that is killed goes on where it was, to the very same weights; on the real embedded model."""

import shutil
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from test_huggingface import GREEDY, LORA, PROMPTS, ROWS, TINY, texts  # noqa: E402
from test_journal import flip, small_disk  # noqa: E402, F401

from pytest_bettertogether.engines.hf import checkpoint, lora  # noqa: E402
from pytest_bettertogether.engines.registry import load  # noqa: E402
from pytest_bettertogether.journal.replay import Journaled  # noqa: E402
from pytest_bettertogether.journal.store import Journal  # noqa: E402
from pytest_bettertogether.pipeline.errors import JournalError  # noqa: E402

pytestmark = pytest.mark.usefixtures("base_guarded")

STEPS = 6  # of LORA on ROWS: two epochs of three


class Killed(BaseException):
    """Stands for what no handler catches."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return load(TINY, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def start(engine):
    return engine.finetune(ROWS[:8], LORA, seed=9).adapter


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def steps(monkeypatch):
    """Counts batches; kills the training before the one that `steps.kill` names."""
    counter = type("Steps", (), {"done": 0, "kill": None})()
    genuine = lora._loss

    def counting(*args):
        if counter.done == counter.kill:
            raise Killed
        counter.done += 1
        return genuine(*args)

    monkeypatch.setattr(lora, "_loss", counting)
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    return counter


def killed_after(steps, count, train):
    steps.done, steps.kill = 0, count
    with pytest.raises(Killed):
        train()
    steps.done, steps.kill = 0, None


@pytest.mark.parametrize("kill", range(1, STEPS))
def test_a_killed_training_goes_on_to_the_same_weights(engine, journal, steps, kill):
    whole = engine.finetune(ROWS, LORA, seed=1)
    journaled = Journaled(engine, journal)
    killed_after(steps, kill, lambda: journaled.finetune(ROWS, LORA, 1))
    assert len(list(journal.training.glob("*.safetensors"))) == 1
    resumed = journaled.finetune(ROWS, LORA, 1)
    assert (resumed.adapter.digest, resumed.losses, resumed.steps) == (whole.adapter.digest, whole.losses, STEPS)
    assert (steps.done, resumed.resumed, journaled.train_steps) == (STEPS - kill, kill, STEPS - kill)
    assert list(journal.training.glob("*.safetensors")) == []
    assert not journal.damaged


@pytest.mark.parametrize("recipe", [replace(LORA, dropout=0.3), replace(LORA, batch=5, epochs=3)], ids=["dropout", "5"])
def test_dropout_and_a_start_are_resumed_too_as_often_as_it_takes(engine, start, journal, steps, recipe):
    whole = engine.finetune(ROWS, recipe, seed=1, start=start)
    journaled = Journaled(load(TINY, engine.adapters.folder), journal)  # as another process would
    for _ in range(3):
        killed_after(steps, 1, lambda: journaled.finetune(ROWS, recipe, 1, start))
    resumed = journaled.finetune(ROWS, recipe, 1, start)
    assert (resumed.adapter.digest, resumed.losses, resumed.resumed) == (whole.adapter.digest, whole.losses, 3)


def test_another_training_does_not_go_on_from_it(engine, journal, steps):
    journaled = Journaled(engine, journal)
    killed_after(steps, 2, lambda: journaled.finetune(ROWS, LORA, 1))
    assert journaled.finetune(ROWS, LORA, 2).resumed == 0
    assert journaled.finetune(ROWS, LORA, 1).resumed == 2


def test_fresh_does_not_go_on_from_it(engine, journal, steps):
    killed_after(steps, 2, lambda: Journaled(engine, journal).finetune(ROWS, LORA, 1))
    fresh = Journal(journal.folder, fresh=True)
    assert Journaled(engine, fresh).finetune(ROWS, LORA, 1).resumed == 0
    fresh.close()


@pytest.mark.parametrize("where", ["weights", "header", "cut"])
def test_a_damaged_checkpoint_is_not_gone_on_from(engine, journal, steps, where):
    whole = engine.finetune(ROWS, LORA, seed=1)
    journaled = Journaled(engine, journal)
    killed_after(steps, 3, lambda: journaled.finetune(ROWS, LORA, 1))
    (file,) = journal.training.glob("*.safetensors")
    if where == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        flip(file, -1000 if where == "weights" else 100)
    again = journaled.finetune(ROWS, LORA, 1)
    assert (again.adapter.digest, steps.done, journal.damaged) == (whole.adapter.digest, STEPS, {"checkpoint": 1})


def written(monkeypatch):
    """The steps after which checkpoints are written, as they come."""
    found, genuine = [], checkpoint.Checkpoint.save

    def noting(self, tensors, position):
        found.append(position.step)
        genuine(self, tensors, position)

    monkeypatch.setattr(checkpoint.Checkpoint, "save", noting)
    return found


def test_writing_checkpoints_changes_nothing_and_they_are_few(engine, journal, steps, monkeypatch):
    often = Journaled(engine, journal).finetune(ROWS, LORA, 1)
    monkeypatch.setattr(checkpoint, "EVERY", 1e9)
    monkeypatch.setattr(checkpoint, "AFFORDED", 0.0)  # the first is always afforded
    found = written(monkeypatch)
    assert engine.finetune(ROWS, LORA, 1, checkpoint=journal.training / "some") == often
    assert found == [1]


def test_a_kill_costs_at_most_a_tenth_of_the_steps(engine, journal, steps, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 1e9)
    monkeypatch.setattr(checkpoint, "AFFORDED", 1.0)  # however slow the disk is
    recipe, found = replace(LORA, epochs=10), written(monkeypatch)
    whole = engine.finetune(ROWS, recipe, 1, checkpoint=journal.training / "some")
    assert (whole.steps, found) == (30, [*range(3, 30, 3)])
    journaled = Journaled(engine, journal)
    killed_after(steps, 17, lambda: journaled.finetune(ROWS, recipe, 1))
    assert found[-1] == 15
    killed_after(steps, 14, lambda: journaled.finetune(ROWS, recipe, 1))  # in its 30th step
    resumed = journaled.finetune(ROWS, recipe, 1)
    assert (resumed.resumed, found[-1], found.count(18)) == (27, 27, 2)
    assert (resumed.adapter.digest, resumed.losses) == (whole.adapter.digest, whole.losses)


def test_a_disk_that_is_full_when_the_adapter_is_written(engine, small_disk):  # noqa: F811
    engine = load(TINY, small_disk / "adapters")
    journal = Journal(small_disk)
    journaled = Journaled(engine, journal)
    completions = journaled.generate(PROMPTS, GREEDY)
    (small_disk / "ballast").write_bytes(b"x" * 150_000)
    with pytest.raises(JournalError, match=r"the disk is full .*: free some space and run the same command again"):
        journaled.finetune(ROWS, LORA, 1)
    assert list(journal.adapters.iterdir()) == []  # nothing half written
    (small_disk / "ballast").unlink()
    again = Journaled(engine, journal)
    assert again.generate(PROMPTS, GREEDY) == completions
    assert again.paid.lm_calls == 0
    shutil.rmtree(journal.adapters)
    journal.close()
    assert texts(engine, PROMPTS[:1], GREEDY) == [completions[0].text]

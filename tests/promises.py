"""What every step promises (DESIGN, steps), as functions that a test of any step calls; each fails by an assertion."""

import hashlib
from dataclasses import replace

from scripted import Scripted

from pytest_bettertogether.engines.protocol import Training
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.optimize.bound import Bound
from pytest_bettertogether.optimize.conduct import bound, conduct
from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.running.evaluate import evaluate


class Killed(BaseException):
    """The process was killed."""


class Mortal(Scripted):
    """A scripted engine that writes real adapters, and is killed when it is asked for one batch or training more."""

    def __init__(self, answer, adapters, lives=10**9):
        super().__init__(answer)
        self.adapters, self.lives = adapters, lives

    def _live(self):
        if self.lives == 0:
            raise Killed
        self.lives -= 1

    def generate(self, prompts, sampling, adapter=None):
        self._live()
        return super().generate(prompts, sampling, adapter)

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        self._live()
        self.trained.append((list(rows), start.digest if start else ""))
        name = hashlib.sha256(repr([rows, recipe, seed, start and start.digest]).encode()).hexdigest()[:8]
        folder = self.adapters / name
        folder.mkdir(exist_ok=True)
        for file in ADAPTER_FILES:
            (folder / file).write_text(name)
        digest = adapter_digest(folder)
        if not (self.adapters / digest).exists():
            folder.rename(self.adapters / digest)
        return Training(Adapter(str(self.adapters / digest), digest), (1.0, 0.5), 2)


def told(outcome):
    """All of an outcome but what depends on the clock."""
    return outcome.state.digest, outcome.refused, replace(outcome.record, seconds=0.0)


def on(experiment, answer, adapters, lives=10**9, journal=None):
    """The experiment on an engine that answers so, behind a journal if one is given; the engine."""
    engine = Mortal(answer, adapters, lives)
    return replace(experiment, backend=Journaled(engine, journal) if journal else engine), engine


def is_deterministic(step, experiment, answer, tmp_path):
    """Done twice, it comes to the same, and leaves the program it was given as that was."""
    found = []
    for _ in range(2):
        mine, _ = on(experiment, answer, tmp_path)
        before = mine.start.digest
        found.append(told(conduct(step, mine, mine.start, (step.kind.letter,))))
        assert mine.start.digest == before
    assert found[0] == found[1]


def can_be_resumed(step, experiment, answer, tmp_path):
    """Killed before each of its batches, and gone on with: it comes to the same, and nothing finished is paid again."""
    path = (step.kind.letter,)
    with_journal = Journal(tmp_path / "whole")
    mine, engine = on(experiment, answer, with_journal.adapters, journal=with_journal)
    whole = told(conduct(step, mine, mine.start, path))
    asked = len(engine.calls), len(engine.trained)
    with_journal.close()
    killed = 0
    journal = Journal(tmp_path / "killed")
    paid = [0, 0]
    while True:
        mine, engine = on(experiment, answer, journal.adapters, 1, journal)
        try:
            resumed = told(conduct(step, mine, mine.start, path))
        except Killed:
            killed += 1
        else:
            resumed_state, *_ = resumed
            break
        finally:
            paid = [paid[0] + len(engine.calls), paid[1] + len(engine.trained)]
        assert killed < 1000, "it never gets further than one batch"
    journal.close()
    assert killed > 0
    assert resumed == whole
    assert resumed_state == whole[0]
    assert tuple(paid) == asked


def helps_or_leaves_things(step, experiment, answer, tmp_path):
    """Where no run passes, it is refused or sets nothing anew; elsewhere the program gets no worse."""
    mine, _ = on(experiment, lambda messages, adapter: "colour: none", tmp_path)
    outcome = conduct(step, mine, mine.start, (step.kind.letter,))
    anew = outcome.state.differs(mine.start) & outcome.state.differs(ProgramState())
    assert outcome.refused or not anew
    mine, _ = on(experiment, answer, tmp_path)
    outcome = conduct(step, mine, mine.start, (step.kind.letter,))
    after, before = (evaluate(mine, state, mine.splits.dev, 0).mean for state in (outcome.state, mine.start))
    assert after >= before


def keeps_its_bound(step, experiment, answer, tmp_path):
    """It asks no more than it says, where each run calls each predictor once."""
    mine, engine = on(experiment, answer, tmp_path)
    most = bound(step, mine, mine.start.differs(ProgramState()))
    conduct(step, mine, mine.start, (step.kind.letter,))
    rows = sum(len(rows) for rows, _ in engine.trained)
    spent = Bound(len(engine.calls), 0, 0, len(engine.trained), rows)
    assert spent.calls <= most.calls
    assert spent.trainings <= most.trainings
    assert spent.rows <= most.rows


PROMISES = (is_deterministic, can_be_resumed, helps_or_leaves_things, keeps_its_bound)

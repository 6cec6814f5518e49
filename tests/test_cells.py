"""What cells are made of, without pytest around it: engines in use, the tasks' data, shared steps."""

from pathlib import Path

import pytest

from pytest_bettertogether import Predict, Program, Splits, Task, exact_match
from pytest_bettertogether.cells.cells import Cells, HowToRun
from pytest_bettertogether.cells.task_data import TaskData
from pytest_bettertogether.engines.model import Model
from pytest_bettertogether.engines.protocol import Completion
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.errors import DataError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.pipeline.suite import Suite

EVENTS = []


class Engine:
    """Says "even" unless it is shown demos, and notes when it is loaded and closed, and how much it is asked."""

    def __init__(self, model, adapters, offline):
        self.name = model.name
        EVENTS.append(f"{self.name} loaded")

    def generate(self, prompts, sampling, adapter=None):
        EVENTS.append(len(prompts))
        return [Completion(f"parity: {self.say(prompt.messages)}", 3, 2) for prompt in prompts]

    def say(self, messages):
        number = int(messages[-1].content.removeprefix("number: "))
        return ("even", "odd")[number % 2] if len(messages) > 2 else "even"

    def describe(self):
        return {"backend": "noting", "model": self.name}

    def close(self):
        EVENTS.append(f"{self.name} closed")


ONE, OTHER = (Model(name, "nowhere", backend="test_cells:Engine") for name in ("one", "other"))
ZERO, P, PP = (Strategy.parse(text) for text in ("zero", "p", "pp"))


class Parity(Program):
    def __init__(self):
        self.say = Predict("number -> parity")

    def forward(self, number):
        return self.say(number=number)


def suite(name="parity", **changes):
    def data():
        EVENTS.append(f"{name} read")
        rows = [{"id": n, "number": n, "parity": ("even", "odd")[n % 2], "tens": n // 10} for n in range(1, 121)]
        return Splits.of(rows[:40], rows[40:80], rows[80:])

    task = Task(**{"program": Parity, "data": data, "metric": exact_match("parity"), **changes})
    return Suite(name, task, Path(f"{name}.json"), (ZERO,), (ZERO,), ())


@pytest.fixture
def journal(tmp_path):
    EVENTS.clear()
    return Journal(tmp_path / "journal")


def test_one_engine_is_held_at_a_time_and_what_the_ones_before_paid_is_kept(journal):
    cells, parity = Cells(journal), suite()
    for model in (ONE, OTHER):
        cells.run(parity, model, ZERO, [0])
    assert EVENTS == ["parity read", "one loaded", 40, "one closed", "other loaded", 40]
    assert cells.engines.paid().usage.lm_calls == 80
    cells.close()
    assert EVENTS[-1] == "other closed"
    assert cells.engines.paid().usage.lm_calls == 80
    cells.engines.let_go()
    assert cells.engines.paid().usage.lm_calls == 80


def test_a_cell_is_run_once_a_session_and_its_steps_are_those_of_others(journal):
    cells, parity = Cells(journal), suite()
    first = cells.run(parity, ONE, P, [0])
    asked = len(EVENTS)
    assert cells.run(parity, ONE, P, [0]) is first
    assert len(EVENTS) == asked
    both = cells.run(parity, ONE, PP, [0])
    assert both.seeds[0].steps[0] is first.seeds[0].steps[0]
    tested = cells.tested(parity, both, both.seeds[0], {})
    assert tested.demos["say"]
    assert both.score == 1.0
    zero = cells.run(parity, ONE, ZERO, [0])
    assert not cells.tested(parity, zero, zero.seeds[0], {}).demos
    cells.close()


def test_a_plan_loads_no_engine_and_knows_one_by_what_it_said(journal):
    cells, parity = Cells(journal), suite()
    before = "\n".join(cells.plan([(parity, ONE, ZERO)], [0]).lines())
    assert EVENTS == ["parity read"]
    cells.run(parity, ONE, ZERO, [0])
    cells.engines.let_go()
    EVENTS.clear()
    after = "\n".join(cells.plan([(parity, ONE, ZERO)], [0]).lines())
    assert EVENTS == []
    assert before.split()[-1] == after.split()[-1]
    assert before != after
    cells.close()


def test_data_are_read_once_and_told_apart_by_their_baseline_files(journal):
    data, parity, other = TaskData(journal, limit=8), suite(cluster="tens"), suite("other")
    assert [len(split) for _, split in data.splits(parity)] == [8, 8, 8]
    assert data.splits(parity) is data.splits(parity)
    assert data.docs(parity) is data.docs(parity)
    assert data.docs(parity)[0]["parity"] == "odd"
    assert data.clusters(parity) == ("8",) * 8
    assert data.clusters(other) == ()
    assert EVENTS == ["parity read", "other read"]
    whole = TaskData(journal)
    assert whole.identity(parity, FORMS["chat"])["test"] != data.identity(parity, FORMS["chat"])["test"]
    assert set(whole.provenance(parity, FORMS["chat"])) == {"identity", "prompts", "train", "dev"}


def test_what_is_missing_is_known_before_an_engine_is_loaded(journal):
    def missing():
        raise DataError("no such file")

    cells = Cells(journal, how=HowToRun(dev=True))
    with pytest.raises(DataError, match="no such file"):
        cells.run(suite(data=missing), ONE, ZERO, [0])
    assert EVENTS == []
    cells.close()

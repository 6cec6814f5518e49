"""A suite and its scripted engine, for inner runs of pytest: the plugin as a user meets it, without a model."""

QUICK = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:hypothesispytest")
"""For inner runs: no order but the file's, and nothing loaded that takes long and is not needed."""

CONFTEST = '''
import pathlib
import shutil
import tempfile

from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, adapter_digest
from pytest_bettertogether.engines.protocol import Completion, Training
from pytest_bettertogether.pipeline.adapter import Adapter


class Engine:
    """Knows parity by heart once tuned or shown demos; before that it says "even"."""

    def __init__(self, model, adapters, offline):
        self.adapters = adapters

    def generate(self, prompts, sampling, adapter=None):
        return [Completion("parity: " + self.say(p.messages, adapter), 9, 3) for p in prompts]

    def say(self, messages, adapter):
        number = int(messages[-1].content.removeprefix("number: "))
        skilled = adapter or len(messages) > 2
        return ("even", "odd")[number % 2] if skilled and number % SLIP else "even"

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        with open("trainings", "a") as log:
            log.write("x")
        aside = pathlib.Path(tempfile.mkdtemp(dir=self.adapters))
        for name in ADAPTER_FILES:
            (aside / name).write_text(f"{len(rows)} {seed} {start and start.digest}")
        digest = adapter_digest(aside)
        home = self.adapters / digest
        shutil.rmtree(home, ignore_errors=True)
        aside.rename(home)
        return Training(Adapter(str(home), digest), (1.0,), 3)

    def describe(self):
        return {"backend": "scripted", "version": pathlib.Path(__file__).read_text()}


SLIP = 1000


def pytest_bettertogether_models(register):
    register("parrot", "nowhere", backend="conftest:Engine")
    register("other", "nowhere", backend="conftest:Engine")
'''

SUITE = """
import pytest
from pytest_bettertogether import Predict, Program, Splits, Task, exact_match


class Parity(Program):
    def __init__(self):
        self.say = Predict("number -> parity")

    def forward(self, number):
        return self.say(number=number)


def data():
    rows = [{"id": n, "number": n, "parity": ("even", "odd")[n % 2]} for n in range(1, 121)]
    return Splits.of(rows[:40], rows[40:80], rows[80:])


TASK = Task(program=Parity, data=data, metric=exact_match("parity"))


@pytest.mark.bettertogether(TASK)
def test_parity(better_together, bt_baseline):
    assert better_together() >= bt_baseline
"""

ALL = ["zero", "p", "w", "pp", "ww", "pw", "wp", "pwp"]


def run(suite, *args):
    """An inner run of pytest on the scripted model."""
    return suite.runpytest("--bt-model=parrot", *QUICK, *args)

"""What is public: exported, listed, described, and typed as a user writes it down."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pytest_bettertogether as public

ROOT = Path(public.__file__).parent.parent

SUITE = '''
"""A suite as README has it, with types."""

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_bettertogether import (
    Baseline,
    BetterTogether,
    CellResult,
    ChainOfThought,
    Example,
    Model,
    Predict,
    Prediction,
    Program,
    Splits,
    Strategy,
    Task,
    base_model,
    exact_match,
)


class Answer(Program):
    def __init__(self) -> None:
        self.query = Predict("question -> search_query")
        self.answer = ChainOfThought("context, question -> answer", describe={"answer": "a few words"})

    def forward(self, question: str) -> Prediction:
        found = str(self.query(question=question).search_query)
        return self.answer(context=found, question=question)


def data() -> Splits:
    rows = [{"id": n, "question": f"What is {n}?", "answer": str(n)} for n in range(30)]
    return Splits.of(rows[:10], rows[10:20], rows[20:])


def overlap(example: Mapping[str, Any], prediction: Prediction) -> float:
    wanted, said = set(str(example["answer"]).split()), set(str(prediction.answer).split())
    return len(wanted & said) / max(1, len(wanted | said))


def length(example: Example, prediction: Prediction) -> float:
    return float(len(prediction.answer) <= len(example.id))


TASK = Task(program=Answer, data=data, metric=overlap, extra={"exact": exact_match("answer"), "length": length})


@pytest.mark.bettertogether(TASK, gate=["pwp"])
def test_answer(better_together: BetterTogether, bt_baseline: Baseline) -> None:
    assert better_together() >= bt_baseline


def helper(result: CellResult) -> float:
    return result.score


@pytest.mark.bettertogether(TASK, strategies=["pwp"])
def test_more(
    better_together: BetterTogether,
    bt_model: Model,
    bt_strategy: Strategy,
    bt_task: Task,
    bt_seeds: tuple[int, ...],
) -> None:
    result = better_together()
    assert result > better_together(strategy="p")
    assert result >= 0.8
    assert helper(result) > 0.8
    measured = result.harness(["arc_easy"], num_fewshot=0)
    assert measured >= base_model(within=1)
    assert measured["arc_easy"].score > 0.5
    assert (bt_model.name, bt_strategy.id, bt_task.metric, len(bt_seeds)) == ("tiny", "pwp", overlap, 3)
'''

CONFTEST = '''
"""Models as README has them, with types."""

import pytest

from pytest_bettertogether import RegisterModel


@pytest.hookimpl(optionalhook=True)
def pytest_bettertogether_models(register: RegisterModel) -> None:
    register("qwen", "Qwen/Qwen2.5-7B-Instruct", revision="a09a35458c702b33eeacc393d103063234e8bc28")
    register("small", "https://api.example.com/v1#small-1", revision="2026-08-06", engine={"concurrency": 8})
'''

WRONG = """
from pytest_bettertogether import BetterTogether, Predict, Program, RegisterModel, Task, exact_match


def test_it(better_together: BetterTogether) -> None:
    better_together(strategies="p")
    better_together().scores
    better_together() + 1


def pytest_bettertogether_models(register: RegisterModel) -> None:
    register("qwen")


def metric(example: int) -> float:
    return 1.0


TASK = Task(program=Program, data=lambda: 5, metric=metric)
"""


def mypy(folder, *files):
    """Run mypy --strict as a user would, where this package is installed: it speaks of the user's files alone."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", *files]
    environment = {"MYPYPATH": str(ROOT), "PATH": "", "HOME": str(folder)}
    # One cache for the tests of this module: what takes long is this package, not the user's files.
    cache = f"--cache-dir={folder.parent / 'mypy-of-users'}"
    return subprocess.run([*command, cache], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_documented_suite_passes_mypy_strict_and_mistakes_in_one_do_not(tmp_path):
    (tmp_path / "test_answer.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    done = mypy(tmp_path, "test_answer.py", "conftest.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (tmp_path / "test_wrong.py").write_text(WRONG, encoding="utf-8")
    done = mypy(tmp_path, "test_wrong.py")
    for line in (6, 7, 8, 12, 19):  # so that nothing above passes for being Any
        assert f"test_wrong.py:{line}: error:" in done.stdout


def test_names_are_listed_once_and_found_where_they_are_said_to_be():
    assert public.__all__ == sorted(set(public.__all__), key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert dir(public) == sorted(public.__all__)
    assert set(public.__all__) == set(public._HOMES)
    for name in public.__all__:
        home = import_module(f"{public.__name__}.{public._HOMES[name]}")
        assert getattr(public, name) is getattr(home, name)


def test_type_checkers_see_the_names_that_are_found_at_run_time():
    source = Path(public.__file__).read_text(encoding="utf-8")
    for name, home in public._HOMES.items():
        (line,) = [line for line in source.splitlines() if line.startswith(f"    from .{home} import ")]
        assert name in line.partition(" import ")[2].split(", ")


@pytest.mark.parametrize("name", public.__all__)
def test_every_public_name_is_described(name):
    value = getattr(public, name)
    if name == "Metric":  # a type alias, which can carry no text of its own
        return
    text = inspect.getdoc(value)
    assert text
    assert not text.startswith(f"{name}("), "a dataclass's own text says no more than its fields do"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Evaluate'"):
        public.Evaluate  # noqa: B018 - looking it up is the test

"""The main job, for real: the suites on the embedded model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from test_plugin import SCHEMA, without_cost

from pytest_bettertogether.pipeline.data import fingerprint

torch = pytest.importorskip("torch", reason="the suites need the hf extra")

ROOT = Path(__file__).parent.parent


def run(folder, name, *args):
    """Run Iris, or the suites in `args`, with a journal and a report of their own; how that ended and the report."""
    report = folder / f"{name}.json"
    suites = [] if any(each.startswith("suites/") for each in args) else ["suites/test_iris.py"]
    command = ["-m", "pytest", *suites, f"--bt-journal={folder / name}", f"--bt-report=json:{report}", *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done, json.loads(report.read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("suites"), "whole")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    suites = ("suites/test_arithmetic.py", "suites/test_lookup.py")
    args = (*suites, "--bt-strategy=p", "--bt-strategy=pwp", "--bt-seeds=0")
    return run(tmp_path_factory.mktemp("suites"), "others", *args)


@pytest.mark.parametrize("which", ["whole", "others"])
def test_the_suites_hold_their_baselines(request, which):
    done, report = request.getfixturevalue(which)
    assert done.returncode == 0, done.stdout
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert {cell["status"] for cell in report["cells"]} <= {"passed", "too_small", "not_gated", "skipped"}


def test_optimisation_helps_and_costs_what_a_prefix_tree_costs(whole):
    _, report = whole
    cells = {cell["strategy"]: cell for cell in report["cells"] if cell["task"] == "iris"}
    assert cells["p"]["score"] > cells["zero"]["score"] + 0.2
    assert max(cells[each]["score"] for each in ("pw", "wp", "pwp")) >= cells["p"]["score"]
    for seed in (0, 1, 2):
        steps = {
            step["step"]
            for cell in cells.values()
            for each in cell["seeds"]
            if each["seed"] == seed
            for step in each["steps"]
        }
        assert steps == {"p", "w", "pp", "ww", "pw", "wp", "pwp"}
    paid = sum(cell["cost"]["paid_now"]["lm_calls"] for cell in cells.values())
    alone = sum(cell["cost"]["computed"]["lm_calls"] for cell in cells.values())
    assert paid < 0.7 * alone


def test_the_same_seed_twice_gives_the_same_cells_byte_for_byte(tmp_path):
    args = ["--bt-limit=16", "--bt-seeds=5", "--bt-strategy=pwp", "--bt-strategy=w"]
    (first, one), (second, two) = (run(tmp_path, name, *args) for name in ("one", "two"))
    assert first.returncode == second.returncode == 0
    assert without_cost(one["cells"]) == without_cost(two["cells"])
    spread, other = run(tmp_path, "spread", "-n2", *args)
    assert spread.returncode == 0
    assert without_cost(other["cells"]) == without_cost(one["cells"])


def test_iris_is_real_and_its_splits_are_the_papers(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "suites")
    from test_iris import TASK

    splits = TASK.data()
    assert [len(split) for _, split in splits] == [50, 50, 50]
    rows = [example for _, split in splits for example in split]
    assert {example["answer"] for example in rows} == {"setosa", "versicolor", "virginica"}
    # Fisher's first flower, whatever split it is in.
    first = next(example for example in rows if example.id == "0")
    assert dict(first) == {
        "sepal_length": "5.1",
        "sepal_width": "3.5",
        "petal_length": "1.4",
        "petal_width": "0.2",
        "answer": "setosa",
    }
    assert fingerprint(splits.test) == fingerprint(TASK.data().test)

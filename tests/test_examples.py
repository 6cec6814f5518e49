"""The examples of docs/extending.md: the page shows the very files, and each does what the page says of it."""

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from parrot import CONFTEST, QUICK, SUITE
from structure import ROOT

FOLDER = ROOT.parent / "docs" / "examples"
PAGE = FOLDER.parent / "extending.md"
EXAMPLES = sorted((*FOLDER.glob("*.py"), *FOLDER.glob("*.patch")))
REPORT = "--bt-report=json:report.json"


@pytest.fixture
def project(suite):
    """A project with the suite of parrot.py and all examples; its conftest.py is that of the example."""
    for path in EXAMPLES:
        shutil.copy(path, suite.path / path.name)
    shutil.copy(FOLDER / "registered_models.py", suite.path / "conftest.py")
    return suite


def cells(project):
    return {cell["strategy"]: cell for cell in json.loads((project.path / "report.json").read_text())["cells"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_page_shows_the_file_and_its_length(path):
    text = path.read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    assert f"\n```{'diff' if path.suffix == '.patch' else 'python'}\n{text}```\n" in page
    (lines,) = re.findall(rf"\[`examples/{path.name}`\]\(examples/{path.name}\), (\d+) lines", page)
    assert int(lines) == len(text.splitlines())


def test_an_engine_of_ones_own_generates_trains_and_is_replayed(project):
    asked = ("--bt-model=nearest", *QUICK, "--bt-gate=off", "--bt-seeds=0", REPORT)
    strategies = [f"--bt-strategy={strategy}" for strategy in ("zero", "p", "pw")]
    project.runpytest(*asked, *strategies).assert_outcomes(passed=3)
    found = cells(project)
    assert found["zero"]["score"] == 0
    assert found["p"]["score"] > 0.5
    assert found["pw"]["score"] > 0.5
    assert found["pw"]["seeds"][0]["steps"][1]["adapter"]
    assert found["p"]["provenance"]["engine"]["backend"] == "nearest"
    again = project.runpytest(*asked, *strategies)
    again.stdout.fnmatch_lines(["shared or replayed: *; made now: 0 calls"])


def test_a_model_of_ones_own_runs_on_the_engine_of_the_house(project):
    asked = ("--bt-model=tuned", *QUICK, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=p", "--bt-limit=10", REPORT)
    result = project.runpytest_subprocess(*asked)
    result.assert_outcomes(passed=1)
    cell = cells(project)["p"]
    assert cell["model"] == "tuned"
    assert cell["provenance"]["recipe"]["search.candidates"] == 2
    assert cell["provenance"]["engine"]["backend"] == "hf"


def test_a_metric_of_ones_own_grades_and_is_known_by_its_values(project):
    text = SUITE.replace("exact_match\n", "exact_match\nfrom near_metric import Near\n", 1)
    text = text.replace('("even", "odd")[n % 2]', "10 + n % 2")
    project.makeconftest(
        CONFTEST.replace('("even", "odd")', '("about 10", "10.5")').replace('else "even"', 'else "ten"')
    )
    asked = ("--bt-model=parrot", *QUICK, "--bt-strategy=p", "--bt-seeds=0", REPORT)
    project.makepyfile(test_parity=text.replace('exact_match("parity")', 'Near("parity", tolerance=0.1)'))
    project.runpytest(*asked, "--bt-update-baselines").assert_outcomes(passed=1)
    even, odd = 1.0, 1 - (0.5 / 11) / 0.1
    assert cells(project)["p"]["score"] == pytest.approx((even + odd) / 2)
    project.runpytest(*asked).assert_outcomes(passed=1)
    project.makepyfile(test_parity=text.replace('exact_match("parity")', 'Near("parity", tolerance=0.2)'))
    again = project.runpytest(*asked)
    again.assert_outcomes(errors=1)
    again.stdout.fnmatch_lines(["*is stale*the metric (Near(field='parity', tolerance=0.1):* -> *tolerance=0.2)*"])


def near(said, wanted, tolerance=0.1):
    """The metric's value, by the example itself."""
    names = {}
    exec((FOLDER / "near_metric.py").read_text(), names)  # noqa: S102 - the example, as a user's module
    return names["Near"]("answer", tolerance)({"answer": wanted}, {"answer": said})


@pytest.mark.parametrize(
    ("said", "wanted", "score"),
    [
        ("about 100", 100, 1.0),
        ("95", 100, 0.5),
        ("80", "100", 0.0),
        ("none", 100, 0.0),
        ("", 0, 0.0),
        ("1, no: -2.0", -2, 1.0),
    ],
)
def test_the_metric_is_the_share_that_it_says(said, wanted, score):
    assert near(said, wanted) == pytest.approx(score)


def test_a_source_of_ones_own_gives_splits_and_says_what_is_missing(project):
    text = re.sub(r"def data\(\):\n.*?\n\n\n", "", SUITE, flags=re.S)
    own = "from database_source import database\n"
    data = 'database("qa.db", train="qa[:40]", dev="qa[40:80]", test="qa[80:]")'
    project.makepyfile(test_parity=own + text.replace("data=data", f"data={data}"))
    asked = ("--bt-model=nearest", *QUICK, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=p", REPORT)
    project.runpytest(*asked).stdout.fnmatch_lines(["*there is no data base *qa.db: make it with*"])
    with sqlite3.connect(project.path / "qa.db") as connection:
        connection.execute("create table qa (id integer, number integer, parity text)")
        rows = [(number, number, ("even", "odd")[number % 2]) for number in range(1, 121)]
        connection.executemany("insert into qa values (?, ?, ?)", rows)
    connection.close()
    project.runpytest(*asked).assert_outcomes(passed=1)
    cell = cells(project)["p"]
    assert cell["n"] == 40
    assert cell["score"] > 0.5


def test_a_report_of_ones_own_is_written_with_its_columns(project):
    asked = ("--bt-model=nearest", *QUICK, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=p", REPORT)
    result = project.runpytest(*asked, "--bt-report=csv:out/cells.csv")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["csv report: *cells.csv"])
    with open(project.path / "out" / "cells.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    cell = cells(project)["p"]
    assert (row["cell"], row["strategy"], row["status"]) == ("parity[nearest-p]", "p", "not gated")
    assert float(row["score"]) == cell["score"]
    assert [float(row["low"]), float(row["high"])] == cell["interval"]


WRONG_REPORTS = {
    'register("csv", csv_report); register("csv", csv_report)': "*reports: report 'csv' is there already: *",
    'register("json", csv_report)': "*reports: report 'json' is there already: take another kind",
    'register("c:v", csv_report)': "*reports: report 'c:v': expected a letter, then letters*",
    'register("csv", "cells")': "*reports: report 'csv': expected a function that makes a text*, not 'cells'",
}


@pytest.mark.parametrize("body", WRONG_REPORTS)
def test_a_report_that_cannot_be_registered_is_one_line_before_anything_is_collected(project, body):
    text = (FOLDER / "registered_models.py").read_text()
    project.makeconftest(text.replace('register("csv", csv_report)', body))
    result = project.runpytest("--bt-model=nearest", *QUICK, "--bt-gate=off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([WRONG_REPORTS[body]])
    assert "Traceback" not in result.stderr.str()


def test_a_kind_of_report_that_nobody_registered_is_told_those_that_there_are(project):
    result = project.runpytest("--bt-model=nearest", *QUICK, "--bt-report=xls:cells.xls")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--bt-report: 'xls:cells.xls': expected json:PATH or md:PATH or html:PATH or csv:PATH"]
    )


@pytest.mark.parametrize("body", ["return 1 / 0", "return 5"])
def test_a_report_that_breaks_takes_no_other_with_it(project, body):
    source = (FOLDER / "csv_report.py").read_text().replace("    text = StringIO()\n", f"    {body}\n", 1)
    (project.path / "csv_report.py").write_text(source)
    asked = ("--bt-model=nearest", *QUICK, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=zero")
    result = project.runpytest(*asked, "--bt-report=csv:cells.csv", REPORT)
    result.stdout.fnmatch_lines(["csv report NOT written to *cells.csv: *Error: *"])
    assert cells(project)["zero"]["status"] == "not_gated"
    assert not (project.path / "cells.csv").exists()


def test_what_others_wrote_is_no_formula_of_a_spreadsheet():
    names = {}
    exec((FOLDER / "csv_report.py").read_text(), names)  # noqa: S102 - the example, as a user's module
    assert [names["shown"](value) for value in ("=1+1", "@x", "plain", 0.5, None)] == [
        "'=1+1",
        "'@x",
        "plain",
        0.5,
        None,
    ]


@pytest.fixture
def patched(tmp_path):
    """A copy of the package with the example's two changes."""
    home = tmp_path / "patched"
    shutil.copytree(ROOT, home / ROOT.name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["git", "apply", str(FOLDER / "min_p.patch")],  # noqa: S607 - the git that this is a clone of
        cwd=home,
        check=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)},
    )
    return home


def test_a_sampling_parameter_of_ones_own_is_two_files_and_reaches_the_tokens(patched, tmp_path):
    pytest.importorskip("torch")
    changed = [
        path
        for path in ROOT.rglob("*.py")
        if path.read_bytes() != (patched / path.relative_to(ROOT.parent)).read_bytes()
    ]
    assert sorted(path.name for path in changed) == ["recipe.py", "sampling.py"]
    program = """
import torch
from pytest_bettertogether.engines.hf.sampling import sample_tokens
from pytest_bettertogether.pipeline.recipe import Recipe

logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(500, 4)
keys, zeros = torch.arange(500), torch.zeros(500, dtype=torch.int64)
for min_p in ("0", "0.25", "0.5", "1"):
    values = {"evaluate.min_p": min_p, "evaluate.temperature": "1", "evaluate.top_p": "1"}
    drawn = sample_tokens(logits, keys, zeros, Recipe().override_text(values).evaluate)
    print(sorted(set(drawn.tolist())))
try:
    Recipe().override_text({"evaluate.min_p": "2"})
except ValueError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(patched)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    said = ["[0, 1, 2, 3]", "[0, 1, 2]", "[0, 1]", "[0]", "Sampling.min_p=2.0 is out of range"]
    assert done.stdout.splitlines() == said


def test_each_example_is_run_here_or_beside():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for path in EXAMPLES:
        assert re.search(rf"\b{path.stem}\b", tests) or path.stem in (FOLDER / "registered_models.py").read_text()

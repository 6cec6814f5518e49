"""The examples of docs/extending.md: the page shows the very files, and each does what the page says of it."""

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from parrot import CONFTEST, QUICK, SUITE
from structure import ROOT

FOLDER = ROOT.parent / "docs" / "examples"
PAGE = FOLDER.parent / "extending.md"
EXAMPLES = sorted(FOLDER.glob("*.py"))
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
    assert f"\n```python\n{text}```\n" in page
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


def test_each_example_is_run_here_or_beside():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for path in EXAMPLES:
        assert re.search(rf"\b{path.stem}\b", tests) or path.stem in (FOLDER / "registered_models.py").read_text()

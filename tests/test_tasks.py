"""Tasks that search, need something of a model, or count more than one thing: from the marker to the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import papers_data
import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from papers_data import GSM8K, HOTPOTQA
from parrot import ALL, CONFTEST, QUICK, SUITE, run
from test_plugin import SCHEMA

from pytest_bettertogether import Where
from pytest_bettertogether.pipeline.data import fingerprint

ROOT = Path(__file__).parent.parent

NEEDY = SUITE.replace('metric=exact_match("parity")', 'metric=exact_match("parity"), needs="instruct"')
UNABLE = CONFTEST.replace('register("parrot", "nowhere",', 'register("parrot", "nowhere", abilities=frozenset(),')


def test_a_model_that_cannot_do_a_task_skips_it_and_says_so(suite):
    suite.makepyfile(test_parity=NEEDY)
    suite.makeconftest(UNABLE)
    result = run(suite, "--bt-model=other", "--bt-strategy=zero", "--bt-gate=off", "--bt-report=json:out.json")
    result.assert_outcomes(passed=1, skipped=1)
    why = "parity needs a model with the ability 'instruct', which parrot lacks (--bt-force runs it all the same)"
    result.stdout.fnmatch_lines(["parrot * parity", "zero-shot * ·*"])
    assert " ".join(result.stdout.str().split()).count(f"parity on parrot skipped: {why}") == 1
    report = json.loads((suite.path / "out.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    cells = {cell["model"]: cell for cell in report["cells"]}
    assert (cells["parrot"]["status"], cells["parrot"]["reason"]) == ("skipped", why)
    assert cells["other"]["status"] == "not_gated"
    run(suite, "--bt-strategy=zero", "--bt-gate=off", "--bt-force").assert_outcomes(passed=1)


def test_what_is_skipped_for_want_of_an_ability_is_neither_planned_nor_given_a_share(suite):
    suite.makepyfile(test_parity=NEEDY)
    suite.makeconftest(UNABLE)
    planned = run(suite, "--bt-plan", "--bt-model=other", "--bt-strategy=zero")
    planned.stdout.fnmatch_lines(["parity[[]other-zero]*"])
    planned.stdout.no_fnmatch_line("*parity[[]parrot-zero]*")
    both = ("--bt-model=other", "--bt-seeds=0", "--bt-report=json:out.json")
    run(suite, *both, "--bt-update-baselines").assert_outcomes(passed=8, skipped=8)
    run(suite, *both).assert_outcomes(passed=8, skipped=8)
    cells = json.loads((suite.path / "out.json").read_text())["cells"]
    assert {cell["gate"]["alpha"] for cell in cells if cell["gate"]} == {0.05 / len(ALL)}


EXTRA = SUITE.replace(
    'metric=exact_match("parity")',
    'metric=exact_match("parity"), extra={"length": lambda e, p: len(p.parity) / 10, "half": lambda e, p: 0.5}',
)


def test_further_metrics_are_reported_and_change_no_score(suite):
    suite.makepyfile(test_parity=EXTRA)
    run(suite, "--bt-strategy=p", "--bt-gate=off", "--bt-seeds=0", "--bt-report=json:out.json").assert_outcomes(
        passed=1
    )
    report = json.loads((suite.path / "out.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    (cell,) = report["cells"]
    assert cell["score"] == 1.0
    assert {example["extra"]["length"] for seed in cell["seeds"] for example in seed["examples"]} == {0.3, 0.4}
    assert all(example["extra"]["half"] == 0.5 for example in cell["seeds"][0]["examples"])
    suite.makepyfile(test_parity=EXTRA.replace("lambda e, p: 0.5", "lambda e, p: 5"))
    result = run(suite, "--bt-strategy=zero", "--bt-gate=off")
    result.stdout.fnmatch_lines(["*the metric returned 5 on example '81'*"])
    suite.makepyfile(test_parity=EXTRA.replace("lambda e, p: 0.5", "0.5"))
    run(suite).stdout.fnmatch_lines(["E*TypeError: Task(extra[[]'half']=...) takes a function*"])


FILED = SUITE.replace("data=data", 'data=files("parity/*.csv", row=lambda row: {**row, "number": int(row["number"])})')
FILED = FILED.replace("import Predict", "import files, Predict")


def filed(suite, name):
    folder = suite.mkdir(name).joinpath("parity")
    folder.mkdir()
    for split, (first, last) in {"train": (1, 41), "dev": (41, 81), "test": (81, 121)}.items():
        rows = "".join(f"{n},{n},{('even', 'odd')[n % 2]}\n" for n in range(first, last))
        (folder / f"{split}.csv").write_text(f"id,number,parity\n{rows}")
    return folder.parent


def test_the_data_folder_is_named_by_an_option_the_ini_file_or_the_environment(suite, monkeypatch):
    suite.makepyfile(test_parity=FILED)
    asked = ("--bt-strategy=p", "--bt-gate=off", "--bt-seeds=0")
    result = run(suite, *asked)
    result.stdout.fnmatch_lines(
        ["*DataError: no file parity/[*].csv in *: name the folder of your data with --bt-data-*"]
    )
    filed(suite, "mine")
    run(suite, *asked, "--bt-data-dir=mine").assert_outcomes(passed=1)
    monkeypatch.setenv("BT_DATA_DIR", "mine")
    run(suite, *asked).assert_outcomes(passed=1)
    monkeypatch.setenv("BT_DATA_DIR", "nowhere")
    result = run(suite, *asked)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*BT_DATA_DIR: *nowhere is no folder: name the one that holds your copies of data sets"]
    )
    suite.makeini("[pytest]\nbt_data_dir = mine\n")
    run(suite, *asked).assert_outcomes(passed=1)  # the ini file wins over the environment
    result = run(suite, *asked, "--bt-data-dir=none")
    result.stderr.fnmatch_lines(["*--bt-data-dir: *none is no folder: *"])


SEARCHING = SUITE.replace(
    "self.say = Predict(",
    "self.look = Retrieve(look, k=1)\n        self.say = Predict(",
).replace("return self.say(number=number)", "self.look(str(number))\n        return self.say(number=number)")
SEARCHING = SEARCHING.replace("import Predict", "import Predict, Retrieve").replace(
    "class Parity", "def look(queries, k):\n    return [[f'{each} | x'] for each in queries]\n\n\nclass Parity"
)


def test_what_was_searched_is_in_the_provenance_and_a_change_of_it_is_named(suite):
    suite.makepyfile(test_parity=SEARCHING)
    asked = ("--bt-strategy=p", "--bt-seeds=0", "--bt-report=json:out.json")
    run(suite, *asked, "--bt-update-baselines").assert_outcomes(passed=1)
    (cell,) = json.loads((suite.path / "out.json").read_text())["cells"]
    assert cell["provenance"]["retrieval"]["look"].startswith("k=1 function look:")
    suite.makepyfile(test_parity=SEARCHING.replace("| x", "| y"))
    suite.makeconftest(CONFTEST.replace("SLIP = 1000", "SLIP = 3"))
    result = run(suite, *asked)
    result.stdout.fnmatch_lines(["*retrieval.look k=1 function look:* -> k=1 function look:*"])


# On data in the form of the paper's.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return papers_data.write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """One for all, so that the index of the corpus is built once."""
    return tmp_path_factory.mktemp("papers") / "journal"


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("gsm8k", [1000, 500, GSM8K["test"]]), ("hotpotqa", list(HOTPOTQA.values()))],
)
def test_the_papers_splits_are_read_and_do_not_change(data, name, sizes):
    task = __import__(f"test_{name}").TASK
    splits = task.splits(Where(data, offline=True))
    assert [len(split) for _, split in splits] == sizes
    assert fingerprint(splits.test) == fingerprint(task.splits(Where(data)).test)
    if name == "gsm8k":
        assert all(float(example["answer"]) is not None for _, split in splits for example in split)


READER = '''
from pytest_bettertogether.engines.protocol import Completion, Training
from pytest_bettertogether.pipeline.adapter import Adapter


class Engine:
    """Asks for what it was asked, and answers with the title of the first passage or with 42."""

    def __init__(self, model, adapters, offline):
        self.trained = 0

    def generate(self, prompts, sampling, adapter=None):
        return [Completion(self.say(p.messages[0].content, p.messages[-1].content), 9, 3) for p in prompts]

    def say(self, wanted, asked):
        if "search_query" in wanted:
            return "so.\\nsearch_query: " + asked.rpartition("question: ")[2]
        return "so.\\nanswer: " + (asked.partition("[1] ")[2].partition(" | ")[0] or "42")

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        raise AssertionError("nothing passes")

    def describe(self):
        return {"backend": "reader"}


def pytest_bettertogether_models(register):
    register("reader", "nowhere", backend="reader:Engine")
'''


def suites(folder, data, journal, *args):
    """Run both suites on these data, with a journal and a report of their own; the exit code and the cells."""
    report = folder / "out.json"
    names = ("suites/test_gsm8k.py", "suites/test_hotpotqa.py")
    options = [f"--bt-data-dir={data}", f"--bt-journal={journal}", f"--bt-report=json:{report}"]
    command = [sys.executable, "-m", "pytest", *names, *QUICK, "--bt-offline", "--bt-seeds=0", *options, *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    cells = json.loads(report.read_text())["cells"] if report.exists() else []
    return done, {(cell["task"], cell["strategy"]): cell for cell in cells}


def test_on_the_embedded_model_they_are_skipped_and_can_be_forced(tmp_path, data, journal):
    pytest.importorskip("torch")
    done, cells = suites(tmp_path, data, journal, "--bt-strategy=zero")
    assert done.returncode == 0, done.stdout
    assert {cell["status"] for cell in cells.values()} == {"skipped"}
    assert "gsm8k needs a model with the ability 'instruct', which tiny lacks" in " ".join(done.stdout.split())
    done, cells = suites(
        tmp_path, data, journal, "--bt-strategy=pw", "--bt-limit=4", "--bt-force", "--bt-set=search.candidates=1"
    )
    assert done.returncode == 0, done.stdout
    jsonschema.validate(json.loads((tmp_path / "out.json").read_text()), json.loads(SCHEMA.read_text(encoding="utf-8")))
    for cell in cells.values():  # what it scores means nothing
        assert cell["status"] in ("not_gated", "refused")
        (step, *_) = cell["seeds"][0]["steps"]
        assert step["runs"] == 1 * 3 + 3 * 4  # T of one example, three attempts; V of three, four candidates
        assert step["lm_calls"] >= step["runs"]
    found = cells["hotpotqa", "pw"]["provenance"]
    assert not found or found["retrieval"]["retrieve"].startswith("k=3 bm25 k1=1.5 b=0.75")
    assert list((journal / "indexes").glob("*/about.json"))


def test_the_whole_path_on_real_questions_and_the_whole_corpus(tmp_path, data, journal):
    (tmp_path / "reader.py").write_text(READER)
    asked = ("-p", "reader", "--bt-model=reader", "--bt-limit=8", "--bt-retrieval=hotpotqa/corpus.jsonl.gz")
    done, cells = suites(tmp_path, data, journal, *asked, "--bt-strategy=p", "--bt-strategy=zero")
    assert done.returncode == 0, done.stdout
    hop, maths = cells["hotpotqa", "zero"], cells["gsm8k", "zero"]
    assert (hop["n"], maths["n"]) == (8, 8)
    (seed,) = hop["seeds"]
    extras = [example["extra"] for example in seed["examples"]]
    assert all(set(each) == {"f1", "gold titles"} for each in extras)
    assert any(each["gold titles"] for each in extras)
    assert all(" | " in example["said"]["context"] for example in seed["examples"])
    assert "bm25" in hop["provenance"]["retrieval"]["retrieve"]
    assert {"number"} == set(maths["seeds"][0]["examples"][0]["extra"])
    assert seed["steps"] == []
    assert hop["cost"]["computed"]["lm_calls"] == 8 * 3


def test_a_plan_for_the_papers_experiment_needs_no_model(tmp_path, data, journal):
    done, _ = suites(tmp_path, data, journal, "--bt-model=mistral", "--bt-plan")
    assert done.returncode == 0, done.stdout
    assert "hotpotqa[mistral-pwp]" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith(("hotpotqa[", "gsm8k["))]
    # 4 prompt steps, 3 weight steps and 8 evaluations of each task: what a prefix tree costs.
    steps = [line.split()[1] for line in rows]
    assert [steps.count(each) for each in ("p", "w", "pp", "pw", "wp", "ww", "pwp", "test")] == [2] * 7 + [16]

"""A library of an extra that is not installed is one sentence that names it and the command, and no traceback."""

import subprocess
import sys

import pytest
from parrot import CONFTEST, QUICK, SUITE

HIDE = '''
import sys


class Hidden:
    """Finds what the finder behind it finds, but for the hidden module."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {hidden!r}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
assert {hidden!r} not in sys.modules
'''

HUB = SUITE.replace("exact_match\n", "exact_match, hub_dataset\n", 1).replace(
    "data=data", 'data=hub_dataset("nobody/nothing", revision="0" * 40)'
)
SEARCH = SUITE.replace("exact_match\n", "exact_match, BM25, PassageFile, Retrieve\n", 1).replace(
    'self.say = Predict("number -> parity")',
    'self.say = Predict("number -> parity")\n        self.search = Retrieve(BM25(PassageFile("passages.jsonl")))',
)
HARNESS = """
import pytest
from pytest_bettertogether import harness_task

TASK = harness_task("mine.yaml")


@pytest.mark.bettertogether(TASK, strategies=["zero"])
def test_mine(better_together):
    better_together()
"""


def run_without(pytester, hidden, *args, suite=SUITE):
    """An inner run, as a process of its own, in which a module is not installed."""
    (pytester.path / "hide.py").write_text(HIDE.format(hidden=hidden))
    pytester.makeconftest("" if "--bt-model=tiny" in args else CONFTEST)
    pytester.makepyfile(test_parity=suite)
    code = "import hide, sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        *QUICK,
        "-p",
        "no:html",
        "--bt-gate=off",
        "--bt-seeds=0",
        "--bt-strategy=zero",
        *args,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=pytester.path)


def told_once(done, code, hidden, extra):
    """The sentence, which is all that is told."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert "pytest_bettertogether/" not in said, said
    starts = ("BackendError: ", "DataError: ", "ERROR: ")
    (sentence,) = [line for line in said.splitlines() if line.startswith(starts)]
    assert hidden in sentence
    assert f"pip install 'pytest-bettertogether[{extra}]'" in sentence


@pytest.mark.parametrize("hidden", ["torch", "transformers", "peft", "safetensors", "jinja2", "huggingface_hub"])
def test_an_engines_library(pytester, hidden):
    pytest.importorskip("torch", reason="what is hidden must be there")
    told_once(run_without(pytester, hidden, "--bt-model=tiny"), 1, hidden, "hf")


@pytest.mark.parametrize(
    ("hidden", "extra", "args"),
    [
        ("vllm", "vllm", ["--bt-model=tiny", "--bt-backend=vllm"]),
        ("httpx2", "server", ["--bt-model=tiny", "--bt-server=http://127.0.0.1:9/v1"]),
        ("vl_convert", "html", ["--bt-model=parrot", "--bt-report=html:x.html"]),
        ("jinja2", "html", ["--bt-model=parrot", "--bt-report=html:x.html"]),
    ],
)
def test_what_an_option_needs_is_known_before_anything_runs(pytester, hidden, extra, args):
    told_once(run_without(pytester, hidden, *args), 4, hidden, extra)


@pytest.mark.parametrize(
    ("hidden", "extra", "text"),
    [
        ("datasets", "data", HUB),
        ("huggingface_hub", "data", HUB),
        ("bm25s", "data", SEARCH),
        ("Stemmer", "data", SEARCH),
        ("lm_eval", "lm-eval", HARNESS),
        ("yaml", "lm-eval", HARNESS),
    ],
)
def test_what_a_task_needs(pytester, hidden, extra, text):
    (pytester.path / "mine.yaml").write_text("task: mine")
    (pytester.path / "passages.jsonl").write_text('{"title": "one", "text": "two"}')
    told_once(run_without(pytester, hidden, "--bt-model=parrot", "--bt-offline", suite=text), 1, hidden, extra)

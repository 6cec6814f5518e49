"""JSON files that others may have written: any mutation of a real one is the right result, or one sentence."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from made import RUN, made, recorded
from mutations import FUZZED, mutations, one_sentence

from pytest_bettertogether import Predict, Program, frozen
from pytest_bettertogether.command.cli import main
from pytest_bettertogether.gate.baselines import Source
from pytest_bettertogether.gate.statistics import compare
from pytest_bettertogether.pipeline import json_file
from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest
from pytest_bettertogether.pipeline.errors import BaselineError, ProgramError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.frozen import freeze
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.document import document

ENGINE = {"model": "tiny", "weights": "aa", "revision": "main"}
SUITES = Path(__file__).parent.parent / "suites"


class Answer(Program):
    def __init__(self):
        self.query = Predict("question -> search_query", "Find what to look for.")
        self.answer = Predict("context, question -> reasoning, answer", describe={"answer": "a few words"})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A frozen folder with demos, an instruction, what a step keeps, and an adapter."""
    folder = tmp_path_factory.mktemp("frozen")
    for name in ADAPTER_FILES:
        (folder / name).write_text("weights")
    state = ProgramState(
        {
            "query": (Demo({"question": "Who?"}, {"search_query": "who"}),),
            "answer": (
                Demo({"question": "Who?"}, {"answer": "he"}),
                Demo({"question": "Who?", "context": ["one", "two"]}, {"reasoning": "so", "answer": "he"}, True),
            ),
        },
        Adapter(str(folder), adapter_digest(folder)),
        {"query": "Look for this."},
        {"p": {"tried": [1, 2.5, "x"]}},
    )
    about = {"task": "qa", "strategy": "pwp", "seed": 1, "score": 0.5, "n": 40, "model": ENGINE, "identity": {"a": "b"}}
    freeze(folder / "kept", Answer(), state, FORMS["chat"], about, "card")
    return folder / "kept", state


def run_frozen(folder):
    """All that a session asks of a frozen folder, down to the prompts."""
    program = frozen(Answer, folder)
    assert len(program.digest) == 16
    assert all(len(step) == 1 for step in program.steps)
    state = program.state(ENGINE, program.form or FORMS["chat"])
    form = program.form or FORMS["chat"]
    inputs = {"question": "Who?", "context": ["x"]}
    asked = {}
    for name, site in Answer().predictors().items():
        asked[name] = form.turns(state.signature(name, site.signature), state.demos.get(name, ()), inputs)
    json.dumps(state.texts())
    return state, asked


def check_frozen(folder, data):
    (folder / "program.json").write_bytes(data)
    try:
        run_frozen(folder)
    except ProgramError as error:
        one_sentence(str(error), f"frozen program {folder}: ", "--bt-")


def test_the_frozen_program_itself_is_read_back(kept):
    folder, state = kept
    read, asked = run_frozen(folder)
    assert read.texts() == state.texts()
    assert ("user", "context: [1] one [2] two\nquestion: Who?") not in asked["query"]
    assert asked["query"][0][1].startswith("Look for this.")
    assert len(asked["answer"]) == 1 + 2 * 2 + 1


def test_any_program_json_is_a_program_or_one_sentence(kept, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(kept[0], folder)
    good = json.loads((folder / "program.json").read_text())

    @FUZZED
    @given(mutations(good))
    def tried(data):
        check_frozen(folder, data)

    tried()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predictors": 5}, "predictors: expected an object with values by name, found 5"),
        ({"predictors": []}, "predictors: expected an object"),
        ({"strategy": 7}, "strategy: expected a text, found 7"),
        ({"strategy": "p\x1bw"}, "its strategy is 'p\\x1bw': expected letters of steps"),
        ({"format": 10**400}, "it has format 1000"),
        ({"format": True}, "it has format True"),
        ({"format": [2]}, "it has format [2]"),
        ({"adapter": 1}, "adapter: expected a text, found 1"),
        ({"model": ["x"]}, "model: expected an object"),
        ({"model": {"weights": 5}}, "model: weights: expected a text"),
        ({"kept": {"\x1b": 1}}, "kept['\\x1b']: expected the letter of a step"),
        ({"form": {}}, "form: expected a text"),
        ({"form": "\x1b[2J"}, "in the prompt form '\\x1b[2J', and this version has chat 1"),
    ],
    ids=str,
)
def test_a_wrong_value_is_told_with_its_place(kept, tmp_path, change, words):
    folder = tmp_path / "kept"
    shutil.copytree(kept[0], folder)
    path = folder / "program.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ProgramError) as caught:
        run_frozen(folder)
    one_sentence(str(caught.value), str(folder), words, "export it again with --bt-export=DIR")


@pytest.mark.parametrize(
    ("demo", "words"),
    [
        ({"inputs": {"question": {"a": 1}}, "outputs": {}}, "question"),
        ({"inputs": {"colour": "x"}, "outputs": {}}, "demo 0 of predictor 'query' has the field 'colour'"),
        ({"inputs": {}, "outputs": {}, "bootstrapped": "yes"}, "bootstrapped: expected true or false, found 'yes'"),
        ({"inputs": {}}, "outputs"),
        ("x", "predictors: query: demos: 0: expected an object"),
    ],
)
def test_a_demo_that_no_prompt_could_show_is_told_before_anything_runs(kept, tmp_path, demo, words):
    folder = tmp_path / "kept"
    shutil.copytree(kept[0], folder)
    path = folder / "program.json"
    data = json.loads(path.read_text())
    data["predictors"]["query"]["demos"] = [demo]
    path.write_text(json.dumps(data))
    with pytest.raises(ProgramError) as caught:
        frozen(Answer, folder).state(ENGINE)
    one_sentence(str(caught.value), str(folder), words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "more than 64 lists or objects stand inside each other"),
        (b"[" * 65 + b"]" * 65, "more than 64 lists or objects stand inside each other"),
        (b"\xff", "it is no text in UTF-8 (byte 0)"),
        (b'{"a": 1', "it is no JSON (line 1, column 8: "),
        (b"9" * 5000, "a number in it has thousands of digits"),
        (b'"' + b"x" * 2000 + b'"', "it has more than 0 MiB"),
    ],
)
def test_files_are_read_within_bounds(tmp_path, monkeypatch, data, words):
    monkeypatch.setattr(json_file, "MAX_BYTES", 200_000 if data[:1] != b'"' else 1000)
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(json_file.JsonFileError) as caught:
        json_file.read_json(tmp_path / "x.json")
    one_sentence(str(caught.value), words)


def test_what_is_just_within_the_bounds_is_read():
    assert json_file.parse_json("[" * 64 + "]" * 64)
    assert json_file.parse_json(b'{"a": [1e999]}') == {"a": [float("inf")]}


def test_any_baseline_file_is_baselines_or_one_sentence(tmp_path):
    path = tmp_path / "iris.json"
    good = json.loads((SUITES / "baselines" / "iris.json").read_text())
    cells = dict(list(good["cells"].items())[:2])
    harness = {"x": {"score": 1.0, "identity": {"docs": "1"}, "provenance": {}, "seeds": ["1", "0"]}}
    cells["refused-w"] = {"identity": {}, "provenance": {}, "refused": "too little", "harness": harness}
    cells["graded-w"] = {**next(iter(cells.values())), "n": 2, "seeds": {"0": [0.5, 0.25]}, "harness": harness}

    @FUZZED
    @given(mutations({**good, "cells": cells}))
    def tried(data):
        path.write_bytes(data)
        try:
            found = Source().read(path, "iris")
        except BaselineError as error:
            one_sentence(str(error), str(path), "--bt-update-baselines")
            return
        for cell in found.values():
            assert cell.refused or 0.0 <= cell.score <= 1.0
            assert all(isinstance(facts, dict) for facts in (cell.identity, cell.provenance))
            for outcomes in cell.seeds.values():
                assert compare([outcomes], [outcomes]).difference == 0.0

    tried()


@pytest.mark.parametrize("command", ["report", "html", "compare"])
def test_any_report_file_is_shown_or_refused_in_one_sentence(tmp_path, capsys, command):
    path, whole, page = tmp_path / "x.json", tmp_path / "whole.json", tmp_path / "x.html"
    records = [
        recorded(made(n=3, text="plain", seeds=(0, 1))),
        recorded(made(strategy="p", n=3, text="plain", seeds=(0,)), "worse", reason="lost"),
    ]
    good = json.loads(json.dumps(document(build(records, {**RUN, "arguments": ["suites/"]}))))
    whole.write_text(json.dumps(good))
    calls = {
        "report": ["report", str(path), "-v"],
        "html": ["report", str(path), f"--html={page}", f"--md={page}.md", f"--json={page}.json"],
        "compare": ["compare", str(whole), str(path)],
    }

    @FUZZED
    @given(mutations(good))
    def tried(data):
        path.write_bytes(data)
        code = main(calls[command])
        out, err = capsys.readouterr()
        if code == 2:
            assert out == ""
            one_sentence(err.removesuffix("\n"), "bettertogether: ", ".json")
        else:
            assert (code, err) == (0, "") or (command, code) == ("compare", 1)

    tried()

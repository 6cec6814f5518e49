"""What can be made of a JSON report: the same records, samples, a comparison of two runs, GitHub's annotations."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from made import RUN, gate, hostile, made, recorded

from pytest_bettertogether.command.cli import main
from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.cells import in_order
from pytest_bettertogether.report.comparison import pairs
from pytest_bettertogether.report.document import document, read
from pytest_bettertogether.report.github import annotations
from pytest_bettertogether.report.markdown import markdown, step_summary
from pytest_bettertogether.report.samples import samples
from pytest_bettertogether.report.text import ASCII, Style, lines
from pytest_bettertogether.results.traces import PER_SEED

SCHEMA = json.loads((Path(document.__code__.co_filename).parent / "schema-1.json").read_text(encoding="utf-8"))


def test_of_two_tests_of_one_cell_neither_hides_the_others_gate():
    result = made(strategy="pwp")
    beside, gated = recorded(result, "too_small"), recorded(result, "too_small", gate=gate(40, "too_small"))
    for records in ([beside, gated], [gated, beside]):
        (one,) = in_order(records)
        assert (one.status, one.gate) == ("too_small", gated.gate)


def test_a_document_keeps_to_the_schema_and_gives_the_records_back():
    records = hostile()
    report = build(records, RUN)
    made_of = json.loads(json.dumps(document(report)))
    jsonschema.validate(made_of, SCHEMA)
    again = read(made_of, "here")
    assert [cell.record for cell in again.cells] == in_order(records)
    assert again == report


@pytest.mark.parametrize(
    ("data", "said"),
    [([], "not a report"), ({"cells": []}, "schema None"), ({"schema": 1, "cells": [{}]}, "not a whole report")],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path, capsys, data, said):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    assert main(["report", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_samples_are_as_lm_eval_logs_them():
    files = dict(samples(build([recorded(made(text="two words"))])))
    rows = [json.loads(line) for line in files["samples_qa_tiny-pwp.jsonl"].splitlines()]
    assert len(rows) == 80
    assert rows[0]["doc_id"] == 0
    assert rows[0]["doc"] == {"question": "two words", "answer": "answer 0"}
    assert rows[0]["target"] == "answer 0"
    assert rows[0]["metrics"] == ["exact_match", "f1"]
    assert rows[0]["exact_match"] == 1.0
    assert rows[0]["resps"] == [["answer: two words"]] * 2
    assert rows[0]["arguments"][0][0] == [
        {"role": "system", "content": "two words"},
        {"role": "user", "content": "question: two words"},
    ]
    assert rows[0]["doc_hash"] == rows[40]["doc_hash"] != rows[1]["doc_hash"]
    assert dict(samples(build(hostile())))  # names are safe for any file system
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") for name in files)


@pytest.fixture
def runs(tmp_path):
    """Writes runs as JSON; each is one cell per score, n = 200, whose first examples are right."""

    def write(name, **right):
        records = []
        for strategy, count in right.items():
            result = made(strategy=strategy, n=200, seeds=(0,), text="x")
            if count is None:
                records.append(replace(recorded(result, "invalid", reason="it broke"), result=None))
                continue
            (seed,) = result.seeds
            scored = tuple(replace(each, score=float(int(each.id) < count)) for each in seed.examples)
            records.append(recorded(replace(result, seeds=(replace(seed, examples=scored),))))
        path = tmp_path / name
        path.write_text(json.dumps(document(build(records, RUN))))
        return str(path)

    return write


def test_compare_finds_a_regression_and_exits_1(runs, capsys):
    assert main(["compare", runs("a.json", p=150, pwp=150), runs("b.json", p=110, pwp=152)]) == 1
    said = capsys.readouterr().out
    assert "qa on tiny\n" in said
    assert "-20.0" in said
    assert "qa[tiny-p] broken: 40 (110, 111, 112); fixed: 0" in said
    assert said.endswith("REGRESSION: qa[tiny-p] worse\n")


def test_compare_is_content_with_the_same_and_with_better(runs, capsys):
    assert main(["compare", runs("a.json", p=150, pwp=110), runs("b.json", p=149, pwp=150)]) == 0
    said = capsys.readouterr().out
    assert "better" in said
    assert said.endswith("no regression\n")


def test_compare_does_not_pass_because_nothing_ran(runs, capsys):
    a = runs("a.json", p=150, pwp=110)
    assert main(["compare", a, runs("b.json", p=150)]) == 1
    assert "qa[tiny-pwp] lost: it is not in the second run" in capsys.readouterr().out
    assert main(["compare", a, runs("c.json", p=150, pwp=None)]) == 1
    assert "qa[tiny-pwp] lost: now: invalid, it broke" in capsys.readouterr().out
    assert main(["compare", runs("e.json"), a]) == 2
    assert "no cell with a score in common" in capsys.readouterr().err


def test_compare_fits_the_terminal(runs, capsys, monkeypatch):
    a = runs("a.json", p=150, pwp=150, zero=90, pp=150)
    b = runs("b.json", p=110, pwp=152, zero=None)
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["compare", a, b]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns
        (worse,) = (line for line in lines if line.endswith("  worse"))
        assert worse.split()[:4] == ["p", "75.0", "55.0", "-20.0"]


def test_compare_allows_what_it_is_told_to(runs):
    a, b = runs("a.json", p=150), runs("b.json", p=130)
    assert main(["compare", a, b]) == 1
    assert main(["compare", a, b, "--min-effect=9"]) == 0
    with pytest.raises(SystemExit):
        main(["compare", a, b, "--alpha=2"])


def test_compare_does_not_compare_other_test_splits():
    a = recorded(made(text="x"))
    other = {**a.result.provenance, "identity": {**a.result.provenance["identity"], "test": "4567"}}
    b = replace(a, result=replace(a.result, provenance=other))
    (pair,) = pairs(build([a]), build([b]))
    assert (pair.outcome, pair.why) == ("incomparable", "changed: the test split")


def test_a_report_is_rendered_again_without_pytest(runs, tmp_path, capsys):
    a = runs("a.json", p=150, pwp=110)
    assert main(["report", a]) == 0
    assert "75.0 [68.6, 80.5]" in capsys.readouterr().out
    out = [str(tmp_path / name) for name in ("again.json", "again.md", "again.html")]
    assert main(["report", a, f"--json={out[0]}", f"--md={out[1]}", f"--html={out[2]}"]) == 0
    assert Path(out[0]).read_text() == json.dumps(json.loads(Path(a).read_text()), indent=1) + "\n"
    assert (tmp_path / "again.samples" / "samples_qa_tiny-p.jsonl").exists()
    assert Path(out[2]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_nothing_that_others_write_can_move_a_terminal_or_be_markup():
    text = "\n".join(lines(build(hostile()), Style(width=100, verbosity=1)))
    assert not set(text) & {chr(i) for i in (*range(10), *range(11, 32), 0x7F, 0x202E, 0x2066, 0x061C)}
    assert "\\u202e" in text
    assert not set(text) & {"\u2028", "\u2029"}
    for width in range(20, 120):
        said = [*lines(build(hostile()), Style(width=width, verbosity=1))]
        assert not [line for line in said if line.lstrip().startswith("::") or "##[" in line]
    assert "\n".join(lines(build(hostile()), Style(ASCII))).isascii()
    for written in (markdown(build(hostile())), step_summary(build(hostile()))):
        written.encode()
        assert "\u2028" not in written
        assert "<script" not in written.replace("\\<", "")
        assert "\x1b" not in written
        assert "\u202e" not in written
        assert not [line for line in written.splitlines() if line.startswith("::")]


def test_annotations_name_file_and_line_and_cannot_be_forged():
    said = list(annotations(build(hostile()), "sub/"))
    assert len(said) == 2
    assert said[0].startswith("::error title=qa[tiny-ww] invalid::ProgramError")
    assert said[1].startswith("::error file=sub/suites/test_qa.py,line=38,title=qa[tiny-pwp] worse::")
    assert said[1].endswith("50.0 %25 against 70.0 %25 in the baseline (-20.0 points), 2 examples broken, 2 fixed")
    assert not any("\n" in line or "\r" in line for line in said)


def test_github_is_not_flooded():
    many = [recorded(made(strategy="p", model=f"m{i}", n=4, text="x"), "worse", gate=gate(4)) for i in range(14)]
    said = list(annotations(build(many)))
    assert len(said) == 10
    assert said[-1] == "::error::5 more cells, see the step summary"


def test_traces_that_are_kept_are_bounded_whatever_a_model_says():
    from pytest_bettertogether.engines.protocol import Completion
    from pytest_bettertogether.pipeline.data import Example
    from pytest_bettertogether.pipeline.program import Predict, Program
    from pytest_bettertogether.pipeline.recipe import Recipe
    from pytest_bettertogether.pipeline.state import ProgramState
    from pytest_bettertogether.running import evaluate
    from pytest_bettertogether.running.evaluate import Experiment

    class Echo(Program):
        def __init__(self):
            self.echo = Predict("number -> answer")

        def forward(self, number):
            return self.echo(number=number)

    class Talkative:
        def generate(self, prompts, sampling, adapter=None):
            return [Completion(f"answer: {p.messages[-1].content[8:]} " + "x" * 1_000_000, 9, 9) for p in prompts]

    rows = [Example.of({"id": i, "number": str(i)}) for i in range(200)]
    experiment = Experiment(
        "t", "m", 0, Echo(), None, lambda e, p: float(int(e["number"]) < 100), Talkative(), Recipe()
    )
    found = evaluate.evaluate(experiment, ProgramState(), rows, 0, PER_SEED)
    kept = [each for each in found.examples if each.trace]
    assert 0 < sum(call.size for each in kept for call in each.trace) <= PER_SEED
    assert min(int(each.id) for each in kept) == 100  # the wrong ones first
    assert all(len(each.said["answer"]) < 600 for each in found.examples)
    assert "… [1,000,0" in kept[0].trace[0].completion


def test_the_section_of_the_page_is_written_between_its_markers():
    home = Path(__file__).parent.parent
    spec = importlib.util.spec_from_file_location("replicate", home / "suites" / "replicate.py")
    replicate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(replicate)
    records = [recorded(made(task="iris", strategy=each, text="x")) for each in ("zero", "p", "w", "pwp")]
    report = build(records, RUN)
    page = (home / replicate.PAGE).read_text(encoding="utf-8")
    once = replicate.with_section(page, report)
    assert "scored above the best one with prompt steps only on 0 of 1 tasks" in " ".join(once.split())
    assert replicate.with_section(once, report) == once
    assert once.partition(replicate.BEGIN)[0] == page.partition(replicate.BEGIN)[0]
    with pytest.raises(ValueError, match="put them back"):
        replicate.with_section("# no markers", report)

"""Baseline files and the verdict against them."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bettertogether.gate.baselines import Source, read, remove, write
from pytest_bettertogether.gate.collected_suites import Scope
from pytest_bettertogether.gate.failure_texts import details, explain, explain_plain
from pytest_bettertogether.gate.git import check
from pytest_bettertogether.gate.judge import Terms
from pytest_bettertogether.gate.recording import record_baselines
from pytest_bettertogether.gate.verdict import Baseline, find
from pytest_bettertogether.pipeline.errors import BaselineError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.pipeline.suite import Suite
from pytest_bettertogether.results.cell_records import CellRecord
from pytest_bettertogether.results.cell_results import CellResult, ExampleScore, SeedResult, StepRecord, Usage

IDENTITY = {"metric": "m", "program": "p", "prompt_form": "chat 1", "test": "t"}
MADE = {"date": "2026-01-02", "commit": "abc1234"}


def result(*seeds, strategy="pwp", refused=""):
    return CellResult(
        "iris",
        "tiny",
        strategy,
        tuple(
            SeedResult(
                seed,
                () if refused else tuple(ExampleScore(f"e{i}", score) for i, score in enumerate(scores)),
                Usage(3, 20, 10),
                1.5,
                (StepRecord("p", Usage(1, 2, 3), 9, 5, 3, 0.5, chosen="zero", valid_scores={"zero": 0.5}),),
                refused,
            )
            for seed, scores in enumerate(seeds or [()])
        ),
        {"identity": IDENTITY, "engine": {"torch": "2"}},
    )


def record(path, *results):
    write(path, "iris", [(each, True) for each in results], MADE)


def baseline(path, cell="tiny-pwp", alpha=0.05, **terms):
    accept = "pytest x --bt-update-baselines"
    return find(Baseline(cell, path, "gated", Terms(alpha, **terms), accept, "iris.json"), IDENTITY, Source(), "iris")


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1).map(lambda x: round(x, 6)), min_size=n, max_size=n),
            min_size=1,
            max_size=3,
        )
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outcomes_are_read_back_as_written(tmp_path, seeds):
    path = tmp_path / "baselines" / "iris.json"
    record(path, result(*seeds))
    recorded = read(path)["tiny-pwp"]
    assert recorded.seeds == {seed: tuple(scores) for seed, scores in enumerate(seeds)}
    assert recorded.identity == IDENTITY
    assert recorded.provenance == {"engine": {"torch": "2"}, **MADE}


def test_the_file_is_made_to_be_read_and_diffed(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result([1, 0, 1, 1], [1, 1, 0, 1]))
    record(path, result(refused="too few", strategy="w"))
    data = json.loads(path.read_text())
    assert list(data) == ["cells", "schema", "task"]
    assert list(data["cells"]) == ["tiny-pwp", "tiny-w"]  # recording one cell leaves the others
    assert data["cells"]["tiny-pwp"]["seeds"] == {"0": "1011", "1": "1101"}
    assert data["cells"]["tiny-pwp"]["score"] == 0.75
    assert data["cells"]["tiny-w"]["refused"] == "seed 0: too few"
    assert list(tmp_path.iterdir()) == [path]  # nothing is left of writing aside


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", r"it is no JSON \(line 1, column 2: "),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'schema'"),
        ('{"schema": 2, "cells": {}}', "schema 2, this version reads 1"),
        ('{"schema": 1, "cells": {"a": {"identity": {}, "provenance": {}, "n": 2, "seeds": {"0": "1"}}}}', "n = 2"),
        (
            '{"schema": 1, "cells": {"a": {"identity": {}, "provenance": {}, "n": 1, "seeds": {"0": "7"}}}}',
            r"outside 0\.\.\.1",
        ),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path, text, problem):
    path = tmp_path / "iris.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=problem) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "--bt-update-baselines" in str(caught.value)


def test_no_file_means_no_baselines(tmp_path):
    assert read(tmp_path / "iris.json") == {}


def test_a_missing_baseline_names_the_command_that_records_it(tmp_path):
    with pytest.raises(BaselineError, match=r"no baseline for tiny-pwp(.|\n)*record one with: pytest x"):
        baseline(tmp_path / "iris.json")


def test_a_stale_baseline_names_what_changed(tmp_path):
    path = tmp_path / "iris.json"
    old = result([1, 0])
    record(path, replace(old, provenance={"identity": {**IDENTITY, "test": "other"}}))
    with pytest.raises(BaselineError, match=r"stale.*the test split \(other -> t\)"):
        baseline(path)


GOOD, BAD = [1.0] * 45 + [0.0] * 5, [1.0] * 25 + [0.0] * 25


def test_the_gate_holds_unless_significantly_worse(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD, GOOD, GOOD))
    held = baseline(path)
    assert result(GOOD, GOOD, GOOD) >= held
    assert result([1.0] * 50, GOOD, GOOD) >= held
    assert result([0.0] * 2 + GOOD[2:], GOOD, GOOD) >= held
    assert not result(BAD, BAD, BAD) >= held
    assert not result(BAD) >= held
    assert result(BAD, BAD, BAD) >= baseline(path, alpha=1e-9)
    assert result(BAD, BAD, BAD) >= replace(held, mode="not_gated")
    assert result(BAD, BAD, BAD) >= replace(held, mode="recording")


def test_refused_now_holds_only_what_was_refused_before(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD), result(refused="none passed", strategy="w"))
    assert not result(refused="none passed") >= baseline(path)
    assert result(refused="none passed", strategy="w") >= baseline(path, "tiny-w")
    assert result(GOOD, strategy="w") >= baseline(path, "tiny-w")
    assert "was refused" in explain(result(refused="none passed"), baseline(path))[0]


def test_the_failure_text_has_what_is_needed_to_act(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD, GOOD, GOOD))
    now = replace(result(BAD, BAD, BAD), provenance={"identity": IDENTITY, "engine": {"torch": "3"}})
    assert explain(now, baseline(path, alpha=0.025)) == [
        "tiny-pwp fell by 40.0 points: 50.0% < 90.0%",
        "now        50.0% [35.9%, 64.1%], 3 seeds, n = 50",
        "baseline   90.0% [79.5%, 97.4%], 3 seeds, 2026-01-02 at abc1234",
        "difference -40.0 points [-53.2, -23.7], paired by example",
        "p = 2.2e-06 for worse, significant up to 0.025",
        'more below, under "better together"',
    ]
    assert details(now, baseline(path, alpha=0.025)) == [
        "baseline: tiny-pwp in iris.json",
        "test: exact unconditional test, paired by example, one-sided",
        "smallest drop that it finds with 80 % probability: 20.7 points (wanted: 10 points)",
        "examples broken: 20 (e25, e26, e27); fixed: 0",
        "changed since: engine.torch 2 -> 3",
        "accept that with: pytest x --bt-update-baselines",
    ]


def test_a_margin_is_part_of_the_verdict_and_its_words(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result([1.0] * 100))
    now = result([0.0] * 12 + [1.0] * 88)
    assert not now >= baseline(path)
    assert not now >= baseline(path, margin=0.02)
    assert now >= baseline(path, margin=0.08)
    assert "for worse by more than 2 points" in explain(now, baseline(path, margin=0.02))[4]


def test_a_test_that_could_not_have_seen_the_drop_is_too_small_to_tell(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD))
    small = baseline(path)
    assert small.verdict(result(GOOD)) == "too_small"
    assert result(GOOD) >= small
    assert baseline(path, detect=0.3).verdict(result(GOOD)) == "holds"
    strict = baseline(path, too_small_fails=True)
    assert not result(GOOD) >= strict
    assert "would miss a drop of 10 points" in explain(result(GOOD), strict)[0]
    assert small.verdict(result(BAD)) == strict.verdict(result(BAD)) == "worse"


def test_clusters_of_the_task_are_what_the_gate_counts(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result([1.0] * 50))
    broken = result([0.0] * 10 + [1.0] * 40)
    assert not broken >= baseline(path)
    assert replace(broken, clusters=tuple(str(i // 10) for i in range(50))) >= baseline(path)


def test_a_comparison_with_a_number_says_where_it_stands():
    assert explain_plain(result(BAD), ">=", 0.8) == [
        "50.0% [36.6%, 63.4%] on iris[tiny-pwp] >= 0.8",
        "1 seed, n = 50",
        "a comparison of plain scores: it stands outside the session's error budget (--bt-alpha)",
    ]


def test_a_comparison_with_another_result_is_shown_in_pairs():
    text = explain_plain(result(BAD), ">", result(GOOD, strategy="p"))
    assert text[0] == "50.0% on iris[tiny-pwp] > 90.0% on iris[tiny-p]"
    assert text[3] == "difference -40.0 points [-53.2, -23.7], paired by example"
    assert text[5] == "examples broken: 20 (e25, e26, e27); fixed: 0"
    refused = result(refused="none passed")
    assert explain_plain(result(BAD), ">", refused)[0].endswith("iris[tiny-pwp] refused")


def test_a_file_of_another_task_is_refused(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD))
    with pytest.raises(BaselineError, match="baselines of task 'iris', not of 'flowers'"):
        read(path, "flowers")


def test_an_error_says_which_cell_and_field(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD))
    path.write_text(path.read_text().replace('"n": 50', '"n": 49'))
    with pytest.raises(BaselineError, match=r"cells\['tiny-pwp'\].*n = 49"):
        read(path)
    path.write_text(path.read_text().replace('"n": 49', '"n": 50').replace('"identity"', '"identify"'))
    with pytest.raises(BaselineError, match=r"cells\['tiny-pwp'\]: KeyError: 'identity'"):
        read(path)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-0.1", "1.5", '"a"'])
def test_an_outcome_that_is_no_score_is_refused(tmp_path, score):
    path = tmp_path / "iris.json"
    record(path, result([0.5, 0.25]))
    path.write_text(path.read_text().replace("0.25", score))
    with pytest.raises(BaselineError, match=r"cells\['tiny-pwp'\]"):
        read(path)


def cell_record(path, outcome, status="not_gated"):
    return CellRecord("iris", "tiny", outcome.strategy, status, result=outcome, baselines=str(path))


def test_recording_marks_a_drop_that_is_significant(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD), result(GOOD, strategy="p"), result(GOOD, strategy="w"))
    now = [result(BAD), result(GOOD, strategy="p"), result(refused="none", strategy="w"), result(GOOD, strategy="ww")]
    lines = record_baselines([cell_record(path, each) for each in now], tmp_path, 0.05).lines
    assert lines == [
        "iris.json: tiny-pwp 90.0% -> 50.0%, p = 2.2e-06 for worse, SIGNIFICANTLY WORSE",
        "iris.json: tiny-p 90.0% -> 90.0%, p = 1 for worse",
        "iris.json: tiny-w 90.0% -> refused, THE SCORE IS LOST",
        "iris.json: tiny-ww recorded, 90.0%",
        "recorded with one seed, which does not tell how seeds scatter: others may alarm falsely",
    ]
    assert read(path)["tiny-pwp"].score == 0.5


def test_recording_what_is_new_leaves_the_rest(tmp_path):
    path = tmp_path / "iris.json"
    record(path, result(GOOD))
    records = [cell_record(path, result(BAD)), cell_record(path, result(BAD, strategy="p"))]
    assert record_baselines(records, tmp_path, 0.05, only_new=True).lines[0] == "iris.json: tiny-p recorded, 50.0%"
    assert read(path)["tiny-pwp"].score == 0.9


def suite(folder, name="iris", own=("zero", "p", "pwp"), strategies=None, gate=("pwp",)):
    parse = [tuple(map(Strategy.parse, each)) for each in (strategies or own, own, gate)]
    return Suite(name, None, folder / "baselines" / f"{name}.json", *parse)


def test_a_cells_share_is_the_same_when_its_file_alone_is_collected(tmp_path):
    record(tmp_path / "baselines" / "iris.json", result(GOOD), result(GOOD, strategy="p"))
    write(tmp_path / "baselines" / "gsm.json", "gsm", [(result(GOOD), True), (result(BAD, strategy="p"), False)], MADE)
    both = Scope(("tiny",), [suite(tmp_path), suite(tmp_path, "gsm")])
    alone = Scope(("tiny",), [suite(tmp_path, strategies=("p",))])
    assert len(both.gated(read)) == len(alone.gated(read)) == 2
    assert len(Scope(("mistral",), [suite(tmp_path)]).gated(read)) == 1


def test_only_what_the_collected_suites_know_nothing_of_is_obsolete(tmp_path):
    iris, old = tmp_path / "baselines" / "iris.json", tmp_path / "baselines" / "old.json"
    record(iris, result(GOOD), result(GOOD, strategy="ppp"))
    record(old, result(GOOD))
    for name in ("test_iris.py", "test_other.py"):
        (tmp_path / name).touch()
    scope = Scope(("tiny",), [suite(tmp_path, strategies=("p",))], {tmp_path / "test_iris.py"})
    assert scope.obsolete(read) == {iris: ("tiny-ppp",)}  # another file may use old.json
    scope.files.add(tmp_path / "test_other.py")
    assert scope.obsolete(read) == {iris: ("tiny-ppp",), old: ("tiny-pwp",)}
    assert replace(scope, models=("mistral",)).obsolete(read) == {old: ("tiny-pwp",)}
    remove(iris, ["tiny-ppp"])
    remove(old, ["tiny-pwp"])
    assert list(read(iris)) == ["tiny-pwp"]
    assert not old.exists()


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)  # noqa: S607 - any git

    git("init", "-q", "-b", "main")
    (tmp_path / "suites").mkdir()
    return git


def test_baselines_are_read_as_they_were_at_a_commit(tmp_path, repository):
    path = tmp_path / "suites" / "baselines" / "iris.json"
    record(path, result(GOOD))
    repository("add", ".")
    repository("commit", "-qm", "first")
    record(path, result(BAD), result(BAD, strategy="p"))
    assert read(path)["tiny-pwp"].score == 0.5
    then = Source("main").read(path, "iris")
    assert then["tiny-pwp"].score == 0.9
    assert list(then) == ["tiny-pwp"]
    assert Source("main").read(path.with_name("other.json")) == {}
    check(tmp_path, "main")
    with pytest.raises(BaselineError, match="no commit 'mian'"):
        check(tmp_path, "mian")


def test_results_compare_with_numbers_and_with_each_other():
    good, bad = result(GOOD), result(BAD)
    assert good > bad
    assert good >= 0.9
    assert bad < 0.8
    assert not good < bad
    with pytest.raises(TypeError):
        good >= "0.9"  # noqa: B015
    with pytest.raises(ValueError, match="was refused"):
        result(refused="none passed") > 0.5  # noqa: B015


def test_results_go_to_json_and_back():
    for each in (result(GOOD, BAD), result(refused="none passed")):
        assert CellResult.from_json(json.loads(json.dumps(each.to_json()))) == each


SUITES = Path(__file__).parent.parent / "suites"


@pytest.mark.parametrize("task", ["arithmetic", "iris", "lookup"])
def test_baselines_from_before_forms_had_names_fit_the_form_that_they_were_recorded_in(task, tmp_path):
    """The committed files name a version alone, which was that of whichever form the recipe asked in."""
    file = SUITES / "baselines" / f"{task}.json"
    entries = json.loads(file.read_text())["cells"]
    for name, recorded in read(file, task).items():
        if "prompt_format" in entries[name]["identity"]:
            assert entries[name]["identity"]["prompt_format"] == 1
            assert recorded.identity == {
                "metric": entries[name]["identity"]["metric"],
                "test": entries[name]["identity"]["test"],
                "prompt_form": FORMS["chat"].id,
            }
    raw = {"metric": "m", "prompt_format": 1, "test": "t"}
    cell = {"identity": raw, "provenance": {"recipe": {"prompt": "raw"}}, "n": 1, "seeds": {"0": "1"}}
    (tmp_path / "old.json").write_text(json.dumps({"schema": 1, "task": "t", "cells": {"a-p": cell, "a-w": cell}}))
    old = read(tmp_path / "old.json")["a-p"]
    assert old.identity == {"metric": "m", "test": "t", "prompt_form": FORMS["raw"].id}


def test_a_report_from_before_forms_had_names_is_read_as_one_of_today():
    now = replace(result(BAD, BAD, BAD), provenance={"identity": IDENTITY, "recipe": {"prompt": "chat"}})
    before = now.to_json()
    identity = {name: value for name, value in IDENTITY.items() if name != "prompt_form"}
    before["provenance"]["identity"] = {**identity, "prompt_format": 1}
    assert CellResult.from_json(before) == CellResult.from_json(now.to_json()) == now

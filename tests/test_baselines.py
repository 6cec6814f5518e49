"""Baseline files and the verdict against them."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bettertogether.errors import BaselineError
from pytest_bettertogether.gate.baselines import read, write
from pytest_bettertogether.gate.verdict import Baseline, find
from pytest_bettertogether.results import CellResult, ExampleScore, SeedResult, StepRecord, Usage

IDENTITY = {"metric": "m", "program": "p", "prompt_format": 1, "test": "t"}
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


def baseline(path, cell="tiny-pwp", alpha=0.05):
    return find(Baseline(cell, path, "gated", alpha, "pytest x --bt-update-baselines", "iris.json"), IDENTITY)


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
    write(path, "iris", [result(*seeds)], MADE)
    recorded = read(path)["tiny-pwp"]
    assert recorded.seeds == {seed: tuple(scores) for seed, scores in enumerate(seeds)}
    assert recorded.identity == IDENTITY
    assert recorded.provenance == {"engine": {"torch": "2"}, **MADE}


def test_the_file_is_made_to_be_read_and_diffed(tmp_path):
    path = tmp_path / "iris.json"
    write(path, "iris", [result([1, 0, 1, 1], [1, 1, 0, 1])], MADE)
    write(path, "iris", [result(refused="too few", strategy="w")], MADE)
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
        ("{", "JSONDecodeError"),
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
    write(path, "iris", [replace(old, provenance={"identity": {**IDENTITY, "test": "other"}})], MADE)
    with pytest.raises(BaselineError, match=r"stale.*the test split \(other -> t\)"):
        baseline(path)


GOOD, BAD = [1.0] * 45 + [0.0] * 5, [1.0] * 25 + [0.0] * 25


def test_the_gate_holds_unless_significantly_worse(tmp_path):
    path = tmp_path / "iris.json"
    write(path, "iris", [result(GOOD, GOOD, GOOD)], MADE)
    held = baseline(path)
    assert result(GOOD, GOOD, GOOD) >= held
    assert result([1.0] * 50, GOOD, GOOD) >= held
    assert result([0.0] * 2 + GOOD[2:], GOOD, GOOD) >= held
    assert not result(BAD, BAD, BAD) >= held
    assert not result(BAD) >= held
    assert result(BAD, BAD, BAD) >= baseline(path, alpha=1e-9)
    assert result(BAD, BAD, BAD) >= replace(held, mode="not gated")
    assert result(BAD, BAD, BAD) >= replace(held, mode="recording")


def test_refused_now_holds_only_what_was_refused_before(tmp_path):
    path = tmp_path / "iris.json"
    write(path, "iris", [result(GOOD), result(refused="none passed", strategy="w")], MADE)
    assert not result(refused="none passed") >= baseline(path)
    assert result(refused="none passed", strategy="w") >= baseline(path, "tiny-w")
    assert result(GOOD, strategy="w") >= baseline(path, "tiny-w")
    assert "was refused" in baseline(path).explain(result(refused="none passed"))[0]


def test_the_failure_text_has_what_is_needed_to_act(tmp_path):
    path = tmp_path / "iris.json"
    write(path, "iris", [result(GOOD, GOOD, GOOD)], MADE)
    now = result(BAD, BAD, BAD)
    assert baseline(path, alpha=0.025).explain(now) == [
        "tiny-pwp fell by 40.0 points: 50.0% < 90.0%",
        "now      50.0% [36.6%, 63.4%], 3 seed(s), n = 50",
        "baseline 90.0% [78.6%, 95.7%], 3 seed(s), iris.json, recorded 2026-01-02 at abc1234",
        "p = 9.5e-07 (paired, one-sided), significant below 0.025",
        "smallest drop this test finds with 80 % probability: 20.0 points",
        "examples broken: 20 (e25, e26, e27); fixed: 0",
        "accept the new score with: pytest x --bt-update-baselines",
    ]


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

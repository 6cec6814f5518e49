"""How a cell ends: the pure function over all that can be known, and the same as a user meets it."""

import ast
import json
import sys
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import CONFTEST, SUITE, run

from pytest_bettertogether.results.endings import NEVER_COMPARED, Facts, ending
from pytest_bettertogether.results.statuses import STATUSES, Mode, PytestOutcome, Verdict, gravest

PLUGIN = Path(__file__).parent.parent / "pytest_bettertogether" / "plugin"
ALL = [
    Facts(outcome, expected, "said", fault, stop, inability, scored, refused, mode, compared, verdict, beside, strict)
    for outcome, expected, fault, stop, inability, scored, refused, mode, compared, verdict, beside, strict in product(
        get_args(PytestOutcome),
        (False, True),
        ("", "broke"),
        ("", "budget"),
        ("", "cannot"),
        (False, True),
        ("", "too few"),
        (None, *get_args(Mode)),
        (False, True),
        get_args(Verdict),
        (None, *get_args(Verdict)),
        (False, True),
    )
    if not (expected and outcome != "skipped")  # pytest counts an expected failure as skipped
    and not (refused and not scored)  # a refusal is a result
    and not (compared and mode is None)  # nothing to compare with
]


def test_over_all_combinations_status_verdict_and_pytests_count_never_differ():
    assert len(ALL) > 10_000
    for facts in ALL:
        found = ending(facts)
        counted = STATUSES[found.status].counted
        known = [facts.verdict] if facts.mode == "gated" else []
        worst = gravest([*known, *([facts.side_effects] if facts.side_effects else [])])
        ran = not (facts.fault or facts.stop or facts.inability)
        if facts.fault:
            assert (found.status, found.reason) == ("invalid", "broke")
        if facts.stop and not facts.fault:
            assert (found.status, found.reason) == ("stopped", "budget")
        assert (found.status == "worse") == (ran and worst is not None and gravest([worst, "worse"]) == worst), facts
        if found.status == "passed":
            assert worst == "holds" or (worst is None and facts.mode == "gated")
            assert facts.mode != "gated" or facts.compared
        if found.status == "too_small":
            assert worst == "too_small"
        if found.status == "not_gated":
            assert facts.mode != "gated"
        # What pytest counts: red is red, unless the user expected a failure of what the test asserts.
        red = counted == "failed" or (found.status == "too_small" and facts.too_small_fails)
        excused = facts.expected and not (facts.fault or facts.stop)
        assert bool(found.objection) == (red and facts.outcome != "failed" and not excused), facts
        if facts.outcome == "failed" and ran:
            assert red, facts
        assert found.reason or found.status in {"passed", "not_gated", "too_small"}, facts


@pytest.mark.parametrize(
    ("facts", "status", "red"),
    [
        (Facts("passed", scored=True, mode="gated", compared=True), "passed", False),
        (Facts("passed", scored=True, mode="gated"), "failed", True),
        (Facts("passed", mode="gated"), "failed", True),
        (Facts("passed"), "skipped", False),
        (Facts("passed", scored=True), "not_gated", False),
        (Facts("passed", scored=True, mode="recording", verdict="worse"), "not_gated", False),
        (Facts("passed", scored=True, mode="gated", compared=True, verdict="worse"), "worse", True),
        (Facts("skipped", scored=True, mode="gated", compared=True, verdict="worse"), "worse", True),
        (Facts("skipped", expected=True, scored=True, mode="gated", compared=True, verdict="worse"), "worse", False),
        (Facts("skipped", expected=True, fault="broke"), "invalid", True),
        (Facts("skipped", fault="Skipped: no"), "invalid", True),
        (Facts("skipped", scored=True, refused="few", mode="gated"), "refused", False),
        (Facts("passed", scored=True, side_effects="worse"), "worse", True),
        (Facts("passed", scored=True, side_effects="holds"), "passed", False),
    ],
)
def test_an_ending_is_what_a_stranger_would_expect(facts, status, red):
    found = ending(facts)
    assert (found.status, bool(found.objection)) == (status, red)


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda path: path.name)
def test_only_the_run_of_a_cell_changes_what_it_holds(path):
    if path.name == "cell_run.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in targets:
            if isinstance(target, ast.Attribute):
                assert ast.unparse(target.value) not in {"cell_run", "attempt", "self._cell_run", "session.running"}


ONE = SUITE.replace("(TASK)\n", '(TASK, strategies=["p"])\n')
BODY = "    assert better_together() >= bt_baseline\n"
WORSE = CONFTEST.replace("SLIP = 1000", "SLIP = 3")


@pytest.fixture
def recorded(suite):
    suite.makepyfile(test_parity=ONE)
    run(suite, "--bt-update-baselines").assert_outcomes(passed=1)
    return suite


def ended(suite, body, *options):
    """The inner run of a suite with another body, and its one cell."""
    text = ONE.replace(BODY, body)
    assert text != ONE
    suite.makepyfile(test_parity=text)
    result = run(suite, "--bt-report=json:r.json", *options)
    (cell,) = json.loads((suite.path / "r.json").read_text())["cells"]
    return result, cell


NOT_ASSERTED = "*the comparison came out worse, and the test went on all the same: write `assert` before *"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    better_together() >= bt_baseline\n", NOT_ASSERTED),
        ("    if not better_together() >= bt_baseline:\n        pytest.skip('bad day')\n", "*bad day*"),
        ("    assert not better_together() >= bt_baseline\n", NOT_ASSERTED),
    ],
)
def test_a_drop_that_was_seen_is_red_whatever_the_test_makes_of_it(recorded, body, said):
    recorded.makeconftest(WORSE)
    result, cell = ended(recorded, body)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_parity.py W *", said])
    assert (cell["status"], cell["gate"]["verdict"]) == ("worse", "worse")


def test_an_expected_drop_stays_expected(recorded):
    recorded.makeconftest(WORSE)
    recorded.makepyfile(test_parity=ONE.replace("@pytest.mark.better", "@pytest.mark.xfail\n@pytest.mark.better"))
    result = run(recorded, "--bt-report=json:r.json")
    result.assert_outcomes(xfailed=1)
    assert json.loads((recorded.path / "r.json").read_text())["cells"][0]["status"] == "worse"


@pytest.mark.parametrize("body", ["    better_together()\n", "    pass\n", "    assert better_together() > 0.1\n"])
def test_a_gated_cell_that_is_never_compared_fails_and_is_told_how_to_compare(recorded, body):
    result, cell = ended(recorded, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{NEVER_COMPARED}*"])
    assert (cell["status"], cell["gate"], cell["reason"]) == ("failed", None, NEVER_COMPARED)
    for options in (["--bt-gate=off"], ["--bt-update-baselines"]):
        ended(recorded, body, *options)[0].assert_outcomes(passed=1)


@pytest.mark.parametrize("operator", ["==", "!=", "<=", ">", "<"])
def test_another_comparison_with_the_baseline_fails_with_what_to_write(recorded, operator):
    result, cell = ended(recorded, f"    assert better_together() {operator} bt_baseline\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*TypeError: better_together() {operator} bt_baseline is not defined: *"])
    result.stdout.no_fnmatch_line("*gate/verdict.py*")
    assert cell["status"] == "failed"


def test_another_strategys_result_against_this_cells_baseline_fails_with_what_to_write(recorded):
    result, cell = ended(recorded, '    assert better_together("zero") >= bt_baseline\n')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*bt_baseline is that of parrot-p, and the result is that of parrot-zero: gate a *"])
    assert cell["status"] == "failed"


@pytest.mark.parametrize("leave", ["pytest.skip('no')", "pytest.xfail('no')", "raise SystemExit(0)"])
@pytest.mark.parametrize("place", ["forward", "metric", "data"])
def test_nothing_that_runs_within_a_cell_can_leave_in_green(recorded, place, leave):
    text = {
        "forward": ONE.replace("        return self.say", f"        {leave}\n        return self.say"),
        "metric": ONE.replace('metric=exact_match("parity")', "metric=leave").replace(
            "TASK = ", f"def leave(example, prediction):\n    {leave}\n\n\nTASK = "
        ),
        "data": ONE.replace("    rows = [", f"    {leave}\n    rows = ["),
    }[place]
    assert leave in text
    recorded.makepyfile(test_parity=text)
    # Another metric makes the baseline stale before it runs, so that only an ungated cell gets there.
    for options in ([], ["--bt-gate=off"])[place == "metric" :]:
        result = run(recorded, "--bt-report=json:r.json", *options)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*while the cell was run: skip, or expect a failure, in the test itself*"])
        assert json.loads((recorded.path / "r.json").read_text())["cells"][0]["status"] == "invalid"


def test_xfail_covers_no_run_that_broke(recorded):
    text = ONE.replace("        return self.say", "        raise OSError\n        return self.say")
    recorded.makepyfile(test_parity=text.replace("@pytest.mark.better", "@pytest.mark.xfail\n@pytest.mark.better"))
    result = run(recorded)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_parity.py I *"])


IN_THE_WAY = """
    import pathlib
    pathlib.Path("baselines").write_text("a file in the way of the folder")
    assert better_together() >= bt_baseline
"""


def test_baselines_that_cannot_be_written_cost_only_themselves(suite):
    result, cell = ended(suite, IN_THE_WAY, "--bt-update-baselines")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["p *100.0*", "baselines NOT written to baselines/parity.json: *", "*r.json*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert cell["score"] == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder in which nobody can write, root included: /proc")
def test_a_place_that_refuses_to_be_written_costs_only_its_own_file(suite):
    suite.makepyfile(test_parity=ONE, test_other=ONE.replace("TASK = Task(", 'TASK = Task(name="other", '))
    suite.mkdir("baselines").joinpath("parity.json").symlink_to("/proc/nowhere/parity.json")
    result = run(suite, "--bt-update-baselines")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["baselines/other.json: parrot-p recorded, 100.0%", "baselines NOT written to *"])
    assert (suite.path / "baselines" / "other.json").exists()


HOSTILE = "e1\n::error::x\x1b[2J\u202egnp"


def test_what_others_write_into_ids_and_baselines_is_shown_inert(recorded):
    path = recorded.path / "baselines" / "parity.json"
    data = json.loads(path.read_text())
    made = data["cells"]["parrot-p"]["provenance"]
    made["date"] = made["engine"]["version"] = HOSTILE
    data["cells"][f"parrot-{HOSTILE}"] = data["cells"]["parrot-p"]
    path.write_text(json.dumps(data))
    recorded.makeconftest(WORSE)
    recorded.makepyfile(test_parity=ONE.replace('{"id": n,', f'{{"id": f"{{n}}" + {HOSTILE!r},'))
    failed = run(recorded, "-rA")
    shown = failed.stdout.str() + failed.stderr.str()
    assert "fixed: 0" in shown or "stale" in shown
    for sign in ("\x1b[2J", "\u202e"):
        assert sign not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::")]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": ' + "[" * 100_000,
        '{"schema": 1, "task": "parity", "cells": {"parrot-p": {"n": ' + "9" * 4_300 + "}}}",
        '{"schema": ' + "9" * 5_000 + "}",
        "WHOLE" + "9" * 400,  # a score beyond any float
        "WHOLE" + "1e999",
    ],
)
def test_a_baseline_file_with_endless_nesting_or_numbers_is_one_sentence(recorded, text):
    path = recorded.path / "baselines" / "parity.json"
    if text.startswith("WHOLE"):
        data = json.loads(path.read_text())
        data["cells"]["parrot-p"]["seeds"]["0"] = ["SCORE"] * 40
        text = json.dumps(data).replace('"SCORE"', text.removeprefix("WHOLE"))
    path.write_text(text)
    result = run(recorded)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.startswith("ERROR")]
    assert "parity.json: not a readable baseline file" in line or "baseline schema" in line
    assert "restore it from version control" in line or "use the pytest-bettertogether" in line
    assert len(line) < 700
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()

"""The plugin as a user meets it: items, options, baselines, verdicts; a scripted engine keeps it quick."""

import json
from pathlib import Path

import jsonschema
import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import ALL, CONFTEST, QUICK, SUITE, run

from pytest_bettertogether import report

SCHEMA = Path(report.__file__).parent / "schema-1.json"


def baselines(suite):
    return json.loads((suite.path / "baselines" / "parity.json").read_text())


def test_each_model_and_strategy_is_one_item(suite):
    result = run(suite, "--collect-only", "-q", "--bt-model=other")
    ids = [f"test_parity.py::test_parity[{model}-{name}]" for model in ("parrot", "other") for name in ALL]
    result.stdout.fnmatch_lines(ids)
    result.stdout.fnmatch_lines(["16 tests collected*"])


def test_strategies_are_chosen_on_the_command_line_or_by_the_suite(suite):
    run(suite, "--collect-only", "-q", "--bt-strategy", "p -> w", "--bt-strategy=zero").stdout.fnmatch_lines(
        ["*[[]parrot-pw]", "*[[]parrot-zero]", "2 tests collected*"]
    )
    suite.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, strategies=["pwp"])\n'))
    run(suite, "--collect-only", "-q").stdout.fnmatch_lines(["*[[]parrot-pwp]", "1 test collected*"])


def test_without_a_baseline_a_cell_fails_before_anything_is_trained(suite):
    result = run(suite, "-k", "pwp")
    result.assert_outcomes(errors=1, deselected=7)
    result.stdout.fnmatch_lines(
        [
            "no baseline for parrot-pwp in *parity.json",
            "record one with: pytest 'test_parity.py::test_parity[[]parrot-pwp]' --bt-model=parrot --bt-update-*",
        ]
    )
    assert not (suite.path / "trainings").exists()


def test_recorded_baselines_are_held(suite):
    result = run(suite, "--bt-update-baselines")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(
        [
            "better together: 8 cells on parrot, seeds 0, 1, 2, recording baselines",
            "*better together*",
            "baselines/parity.json: parrot-p recorded, 100.0%",
        ]
    )
    data = baselines(suite)
    assert set(data["cells"]) == {f"parrot-{name}" for name in ALL}
    assert data["cells"]["parrot-zero"]["score"] == 0.5
    assert data["cells"]["parrot-p"]["score"] == 1.0
    assert list(data["cells"]["parrot-p"]["seeds"]) == ["0", "1", "2"]
    before = (suite.path / "baselines" / "parity.json").read_bytes()
    run(suite).assert_outcomes(passed=8)
    assert (suite.path / "baselines" / "parity.json").read_bytes() == before


def test_steps_are_shared_between_the_strategies_of_a_run(suite):
    result = run(suite, "--bt-gate=off", "--bt-seeds=7")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["4 prompt steps, 3 weight steps, *"])
    assert (suite.path / "trainings").read_text() == "xxx"


def without_cost(cells):
    """Cells without what depends on who computed them, or when."""
    cells = json.loads(json.dumps(cells))
    for cell in cells:
        del cell["cost"]["paid_now"]
        for seed in cell["seeds"]:
            del seed["seconds"]
            for step in seed["steps"]:
                del step["seconds"]
    return json.dumps(cells)


def test_a_second_run_replays_the_first_and_reports_the_same(suite):
    first = run(suite, "--bt-gate=off", "--bt-report=json:first.json", "--bt-report=md:first.md")
    first.stdout.fnmatch_lines(["json report: *first.json", "md report: *first.md"])
    second = run(suite, "--bt-gate=off", "--bt-report=json:second.json")
    second.stdout.fnmatch_lines(["* LM calls, *", "shared or replayed: *; made now: 0 calls"])
    fresh = run(suite, "--bt-gate=off", "--bt-report=json:fresh.json", "--bt-fresh")
    fresh.stdout.no_fnmatch_line("*; made now: 0 calls")
    reports = [json.loads((suite.path / f"{name}.json").read_text()) for name in ("first", "second", "fresh")]
    assert len({without_cost(each["cells"]) for each in reports}) == 1
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for each in reports:
        jsonschema.validate(each, schema)
    paid = [sum(cell["cost"]["paid_now"]["lm_calls"] for cell in each["cells"]) for each in reports]
    assert paid[0] == paid[2] > paid[1] == 0
    assert "| p → w → p | 100.0 [" in (suite.path / "first.md").read_text(encoding="utf-8")


def test_the_table_shows_strategies_in_the_papers_order(suite):
    result = run(suite, "--bt-gate=off", "--bt-strategy=pwp", "--bt-strategy=zero")
    result.stdout.fnmatch_lines(["parrot * parity", "zero-shot *50.0*", "p *w *p *100.0*"])


def test_a_regression_fails_with_what_is_needed_to_act(suite):
    suite.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, gate=["p"])\n'))
    run(suite, "--bt-update-baselines", "--bt-strategy=p").assert_outcomes(passed=1)
    suite.makeconftest(CONFTEST.replace("SLIP = 1000", "SLIP = 3"))
    result = run(suite, "--bt-strategy=p")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*parrot-p fell by 17.5 points: 82.5% < 100.0%*",
            "E *baseline   100.0% [[]9*%, 100.0%], 3 seeds, 20*",
            "E *difference -17.5 points [[]-*], paired by example*",
            "E *p = 0.0039 for worse, significant up to 0.05*",
            "-*- better together -*-",
            "baseline: parrot-p in baselines/parity.json",
            "smallest drop that it finds with 80 % probability: * (wanted: 10 points)",
            "examples broken: 7 (81, 87, 93); fixed: 0",
            "accept that with: pytest 'test_parity.py::test_parity[[]parrot-p]' --bt-model=parrot --bt-stra*",
            "p *82.5 [[]68.6, 93.3[]] ✗",
        ]
    )
    updated = run(suite, "--bt-strategy=p", "--bt-update-baselines")
    updated.assert_outcomes(passed=1)
    updated.stdout.fnmatch_lines(["baselines/parity.json: parrot-p 100.0% -> 82.5%, p = 0.0039 for worse, SIGN*"])
    run(suite, "--bt-strategy=p").assert_outcomes(passed=1)


def test_the_error_budget_is_shared_by_all_gated_cells_collected(suite):
    run(suite, "--bt-update-baselines").assert_outcomes(passed=8)
    suite.makeconftest(CONFTEST.replace("SLIP = 1000", "SLIP = 3"))
    share = "--bt-alpha=0.03"  # p = 0.0039 is above 0.03 / 8
    run(suite, share).assert_outcomes(passed=8)
    run(suite, share, "-k", "parrot-p]").assert_outcomes(passed=1, deselected=7)  # deselecting others changes nothing
    suite.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, gate=["p"])\n'))
    run(suite, share).assert_outcomes(passed=7, failed=1)
    run(suite, "--bt-gate=off").assert_outcomes(passed=8)


def test_a_changed_test_split_or_metric_makes_baselines_stale(suite):
    run(suite, "--bt-update-baselines", "--bt-strategy=zero").assert_outcomes(passed=1)
    for old, new, what in (
        ("rows[80:]", "rows[81:]", "the test split"),
        ('exact_match("parity")', "lambda e, p: 1.0", "the metric"),
    ):
        suite.makepyfile(test_parity=SUITE.replace(old, new))
        result = run(suite, "--bt-strategy=zero")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*is stale, since it was recorded these changed: {what} (*"])


def test_a_limit_is_a_smoke_run_that_needs_no_baseline_and_cannot_record_one(suite):
    result = run(suite, "--bt-limit=8", "--bt-strategy=p")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*first 8 examples of each split, not gated", "*over 8 examples and the seeds"])
    result = run(suite, "--bt-limit=8", "--bt-update-baselines")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --bt-update-baselines records whole splits: leave out --bt-limit"])


def test_a_refused_weight_step_skips_the_cell_with_its_reason(suite):
    suite.makepyfile(test_parity=SUITE.replace("n % 2]} for n", "1]} for n"))
    result = run(suite, "--bt-update-baselines", "--bt-strategy=w", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["w * –*", "REFUSED*refused: seed 0: step w after zero: 0 of 40 program runs passed*"])
    assert "0 of 40" in baselines(suite)["cells"]["parrot-w"]["refused"]
    run(suite, "--bt-strategy=w").assert_outcomes(skipped=1)


def test_scored_before_and_refused_now_fails(suite):
    run(suite, "--bt-update-baselines", "--bt-strategy=w").assert_outcomes(passed=1)
    suite.makeconftest(CONFTEST.replace('"parity: "', '"party: "'))
    result = run(suite, "--bt-strategy=w")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*parrot-w was refused, its baseline has a score of*"])


@pytest.mark.parametrize(
    "leaving",
    [
        'pytest.skip("no data here")',
        'pytest.xfail("no data here")',
        'raise SystemExit("no data here")',
        'pytest.exit("no data here", returncode=0)',
    ],
)
@pytest.mark.parametrize("place", ["data", "program", "metric", "baseline"])
def test_a_task_cannot_leave_its_cell_and_be_green(suite, leaving, place):
    kind = {"pytest.s": "Skipped", "pytest.x": "XFailed", "pytest.e": "Exit"}.get(leaving[:8], "SystemExit")
    lines = {
        "data": SUITE.replace("    rows = [", f"    {leaving}\n    rows = ["),
        "program": SUITE.replace("        return self.say(", f"        {leaving}\n        return self.say("),
        "metric": SUITE.replace("TASK =", f"def metric(example, prediction):\n    {leaving}\n\n\nTASK =").replace(
            'exact_match("parity"))', "metric)"
        ),
    }
    suite.makepyfile(test_parity=lines.get(place, lines["data"]))
    gate = [] if place == "baseline" else ["--bt-gate=off"]
    result = run(suite, *gate, "--bt-strategy=zero", "--bt-seeds=0", "--bt-report=json:report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"*test_parity.py:* raised {kind}('no data here') while the cell was run: skip, or expect a failure, in the *"]
    )
    result.stdout.no_fnmatch_line("*/plugin/*")
    (cell,) = json.loads((suite.path / "report.json").read_text())["cells"]
    assert cell["status"] == "invalid"


def test_a_skip_in_the_test_itself_is_a_skip(suite):
    suite.makepyfile(test_parity=SUITE.replace("    assert better", '    pytest.skip("not today")\n    assert better'))
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero", "--bt-report=json:report.json")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["parity on parrot skipped: *not today"])


@pytest.mark.parametrize("mark", ["skip(reason='not today')", "skipif(True, reason='not today')"])
@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "-n1"])
def test_a_cell_that_a_mark_skips_is_reported_with_the_reason(suite, mark, workers):
    suite.makepyfile(test_parity=SUITE.replace("def test_parity", f"@pytest.mark.{mark}\ndef test_parity"))
    result = run(suite, "--bt-strategy=zero", "--bt-strategy=p", "--bt-report=json:report.json", *workers)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["parity on parrot skipped: *not today"])
    cells = json.loads((suite.path / "report.json").read_text())["cells"]
    assert [(cell["status"], cell["reason"]) for cell in cells] == [("skipped", "not today")] * 2


def test_other_strategies_are_asked_for_by_name(suite):
    suite.makepyfile(
        test_parity=SUITE
        + """

@pytest.mark.bettertogether(TASK, strategies=["pwp"])
def test_more_is_better(better_together, bt_task, bt_model, bt_strategy, bt_seeds):
    result = better_together()
    assert result > better_together(strategy="zero")
    assert result >= 0.99
    assert (bt_task, bt_model.name, bt_strategy.id, bt_seeds) == (TASK, "parrot", "pwp", (0,))
"""
    )
    result = run(suite, "--bt-gate=off", "--bt-seeds=0")
    result.assert_outcomes(passed=9)
    assert (suite.path / "trainings").read_text() == "xxx"  # the second test found all its steps done


def test_a_fault_of_the_program_fails_its_cells_and_is_no_score(suite):
    suite.makepyfile(
        test_parity=SUITE.replace("return self.say(number=number)", "return self.say(number=number).party")
    )
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*return self.say(number=number).party*",
            "E*AttributeError: this prediction has no 'party'; it has parity",
            "E*Parity.forward raised AttributeError*on example '81' after say",
        ]
    )
    result.stdout.no_fnmatch_line("*0.0 ±*")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--bt-model=parot"], "*--bt-model: unknown model 'parot'; known: llama2, *, parrot, tiny; or give*"),
        (
            ["--bt-strategy=px"],
            "*--bt-strategy: strategy 'px': unknown step 'x'; write 'zero', or steps from p (prompts)*",
        ),
        (["--bt-seeds=a"], "*--bt-seeds: 'a': expected whole numbers or ranges, as in 0,1,2 or 0-4"),
        (["--bt-seeds=1,1"], "*--bt-seeds: '1,1': expected different seeds*"),
        (["--bt-limit=0"], "*--bt-limit: '0': expected a whole number from 1"),
        (["--bt-gate=maybe"], "*--bt-gate: 'maybe': expected on or off"),
    ],
)
def test_wrong_options_are_one_line_and_exit_4(suite, args, problem):
    result = run(suite, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([problem])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("bettertogether(TASK)", "bettertogether", "*write @pytest.mark.bettertogether(TASK)*got 0 positional*"),
        ("(TASK)\n", "(TASK, strategy=['p'])\n", "*keywords [[]'strategy']*"),
        ("(TASK)\n", "(TASK, gate=['x'])\n", "*bettertogether(gate=[[]'x']): strategy 'x': unknown step 'x'*"),
        ("@pytest.mark.bettertogether(TASK)\n", "", "*mark the test with @pytest.mark.bettertogether(TASK)*"),
    ],
)
def test_a_wrong_marker_says_how_to_write_it(suite, old, new, problem):
    suite.makepyfile(test_parity=SUITE.replace(old, new))
    result = run(suite)
    assert result.ret != 0
    result.stdout.fnmatch_lines([problem])


def test_two_tasks_of_one_name_are_refused(suite):
    suite.makepyfile(test_parity=SUITE + SUITE.replace("def test_parity", "def test_again"))
    result = run(suite)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*two tasks would share *parity.json: give each its own Task(name=...)"])


def test_under_xdist_the_results_are_the_same_and_the_controller_records_them(suite):
    run(suite, "--bt-update-baselines").assert_outcomes(passed=8)
    alone = baselines(suite)
    (suite.path / "baselines" / "parity.json").unlink()
    result = run(suite, "--bt-update-baselines", "-n2")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*better together*", "p *100.0*"])
    assert baselines(suite) == alone


def test_baselines_are_recorded_without_a_terminal_too(suite):
    suite.runpytest_subprocess("--bt-model=parrot", "-p", "no:terminal", "--bt-update-baselines")
    assert len(baselines(suite)["cells"]) == 8


def test_a_project_without_suites_sees_nothing_of_the_plugin(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            ours = {name for name in sys.modules if name.startswith("pytest_bettertogether")}
            plugin = ("", ".fixtures", ".hookspecs", ".keys", ".options")
            steps = (".pipeline", ".pipeline.fixed", ".pipeline.steps")  # --help lists them
            light = ("", ".command", ".command.arguments", *steps, *(f".plugin{name}" for name in plugin))
            assert ours == {f"pytest_bettertogether{name}" for name in light}
        """
    )
    before = sorted(pytester.path.iterdir())
    result = pytester.runpytest_subprocess("-W", "error", *QUICK, "-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*better together*")
    made_by_pytest = ("__pycache__", "runpytest-0", "runpytest-current", "stdout", "stderr")
    assert sorted(path for path in pytester.path.iterdir() if path.name not in made_by_pytest) == before


def test_help_markers_and_fixtures_read_well(suite):
    suite.runpytest("--help").stdout.fnmatch_lines(
        ["language-model programs: optimise, evaluate, gate:", "*--bt-model=NAME*"]
    )
    suite.runpytest("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.bettertogether(task, strategies=None, gate=None): *"]
    )
    shown = suite.runpytest("--fixtures").stdout.str()
    for name in ("bt_model", "bt_task", "bt_strategy", "bt_seeds", "bt_baseline", "better_together"):
        assert f"\n{name} " in shown
    assert "no docstring available" not in shown.split("pytest_bettertogether")[-1]

"""Wrong input: one clear line that says what was given, what is allowed and what to type next."""

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import CONFTEST, QUICK, SUITE

USAGE = pytest.ExitCode.USAGE_ERROR


def run(suite, *args):
    return suite.runpytest("--bt-model=parrot", *QUICK, "--bt-seeds=0", *args)


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (
            ["--bt-model=parot"],
            "*--bt-model: unknown model 'parot'; known: llama2, llama3, *, parrot, tiny; or give a local folder*",
        ),
        (["--bt-model=."], "*--bt-model: model folder .: there is no config.json in it"),
        (["--bt-strategy=p -> q"], "*--bt-strategy: strategy 'p -> q': unknown step 'q'; write 'zero', or steps from*"),
        (["--bt-seeds=0;1"], "*--bt-seeds: '0;1': expected whole numbers or ranges, as in 0,1,2 or 0-4"),
        (["--bt-seeds=3-1"], "*--bt-seeds: '3-1': expected different seeds, as in 0,1,2 or 0-4"),
        (["--bt-limit=0"], "*--bt-limit: '0': expected a whole number from 1"),
        (["--bt-select=first"], "*--bt-select: 'first': expected last or best"),
        (["--bt-report=out.json"], "*--bt-report: 'out.json': expected json:PATH or md:PATH or html:PATH"),
        (["--bt-report=json:."], "*--bt-report: * is a folder: name a file in it, as in json:./report.json"),
        (["--bt-set=lora.rank"], "*--bt-set: 'lora.rank': expected KEY=VALUE, as in lora.rank=8"),
        (["--bt-set=lora.rang=8"], "*--bt-set: recipe has no value 'lora.rang'; it has search.candidates, *"),
        (["--bt-set=lora.rank=0"], "*--bt-set: LoraTuning.rank=0 is out of range"),
        (["--bt-report=json:test_parity.py/x.json"], "*--bt-report: cannot write to *test_parity.py: name a folder*"),
        (["--bt-set=lora.rank=many"], "*--bt-set: recipe value lora.rank='many': expected int"),
        (["--bt-set=search.fixed_arms=1"], "*--bt-set: recipe value search.fixed_arms='1': expected true or false"),
        (["--bt-journal=test_parity.py"], "*--bt-journal: cannot write to *test_parity.py: name a folder*"),
        (["--bt-seeds=" + "9" * 5000], "*--bt-seeds: '9999*…': expected whole numbers or ranges, as in 0,1,2 or 0-4"),
        (["--bt-seeds=0-99999999"], "*--bt-seeds: '0-99999999': expected at most 1000 seeds, as in 0,1,2 or 0-4"),
        (["--bt-seeds=0-999,5000"], "*--bt-seeds: '0-999,5000': expected at most 1000 seeds, as in 0,1,2 or 0-4"),
        (["--bt-limit=" + "9" * 5000], "*--bt-limit: '9999*…': expected a whole number from 1"),
        (["--bt-max-calls=" + "9" * 5000], "*--bt-max-calls: '9999*…': expected a whole number from 1"),
        (["-o", "bt_limit=" + "9" * 5000], "*bt_limit*: '9999*…': expected a whole number from 1"),
        (["--bt-journal=~nosuch"], "*--bt-journal: '~nosuch': Could not determine home directory*: name another path"),
        (["--bt-export=~nosuch/x"], "*--bt-export: '~nosuch/x': Could not determine home directory*: name another*"),
        (["--bt-data-dir=~nosuch"], "*--bt-data-dir: '~nosuch': Could not determine home directory*: name another*"),
        (["--bt-report=md:~nosuch/x"], "*--bt-report: '~nosuch/x': Could not determine home directory*: name another*"),
        (["--bt-model=~nosuch"], "*--bt-model: unknown model '~nosuch'; known: *"),
        (["--bt-model=" + "x" * 300], "*--bt-model: unknown model 'xxx*'; known: *"),
        (["--bt-journal=" + "x" * 300], "*--bt-journal: 'xxx*…' is no name that a file can have: name another path"),
        (["--bt-journal=new/" + "x" * 300], "*--bt-journal: 'new/xxx*…' is no name that a file can have: name*"),
        (["--bt-journal=" + "x/" * 2500], "*--bt-journal: 'x/x*…' is no name that a file can have: name another path"),
        (["--bt-report=json:" + "é" * 200], "*--bt-report: 'éé*…' is no name that a file can have: name another path"),
        (["-o", "bt_journal=" + "x" * 300], "*bt_journal*: 'xxx*…' is no name that a file can have: name another*"),
        (["--bt-update-baselines", "--bt-limit=3"], "*records whole splits: leave out --bt-limit"),
        (
            ["--bt-update-baselines", "--bt-select=best"],
            "*records what strategies end with: leave out --bt-select=best",
        ),
    ],
)
def test_known_before_tests_run_it_is_exit_4(suite, args, problem):
    result = run(suite, *args)
    assert result.ret == USAGE
    result.stderr.fnmatch_lines([problem])
    assert not (suite.path / ".bettertogether").exists()


@pytest.mark.parametrize(
    ("seeds", "problem"),
    [
        ("9" * 5000, "*bt_seeds: '9999*…': expected whole numbers or ranges, as in 0,1,2 or 0-4"),
        ("0-99999999", "*bt_seeds: '0-99999999': expected at most 1000 seeds, as in 0,1,2 or 0-4"),
    ],
)
def test_seeds_in_the_ini_file_are_read_as_those_on_the_command_line(suite, seeds, problem):
    result = suite.runpytest("--bt-model=parrot", *QUICK, "-o", f"bt_seeds={seeds}")
    assert result.ret == USAGE
    result.stderr.fnmatch_lines([problem])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{",
            "*parity.json: not a readable baseline file (JsonFileError: it is no JSON (line 1, *): restore it *, or*",
        ),
        ('{"benchmarks": []}', "*parity.json: not a readable baseline file (schema: KeyError: 'schema'): *"),
        ('{"schema": 9, "cells": {}}', "*parity.json: baseline schema 9, this version reads 1: *"),
    ],
)
def test_a_baseline_file_that_is_none_of_ours_is_exit_4(suite, text, problem):
    suite.mkdir("baselines").joinpath("parity.json").write_text(text)
    result = run(suite)
    assert result.ret == USAGE
    result.stderr.fnmatch_lines([problem])


def test_a_model_registered_twice_is_exit_4(suite):
    suite.makeconftest(CONFTEST.replace('register("other"', 'register("tiny"'))
    result = run(suite)
    assert result.ret == USAGE
    result.stderr.fnmatch_lines(["*pytest_bettertogether_models: model 'tiny' is registered twice"])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("rows[80:]", "rows[79:]", ["E*DataError: example '80' is in test and again in dev: *"]),
        ("rows[40:80]", "[]", ["E*DataError: the dev split is empty"]),
        (
            'rows = [{"id"',
            'raise OSError("no such disk"); rows = [{"id"',
            ["*raise OSError*", "E*OSError: no such disk"],
        ),
        ('exact_match("parity")', "lambda e, p: float('nan')", ["*the metric returned nan on example '81': *"]),
        ('exact_match("parity")', "lambda e, p: 3.7", ["*MetricError: the metric returned 3.7 on example '81': *"]),
        (
            'exact_match("parity")',
            "lambda e, p: e['colour']",
            [
                "*metric=lambda e, p: e*",
                "E*KeyError: 'colour'",
                "E*metric raised KeyError('colour') on example '81'",
            ],
        ),
        (
            "return self.say(number=number)",
            "return 1 / 0",
            ["*return 1 / 0*", "E*ZeroDivisionError: division by zero", "E*Parity.forward raised * on example '81'"],
        ),
        (
            "return self.say(number=number)",
            "return self.say(numbr=number)",
            ["*return self.say(numbr=number)*", "E*TypeError: predictor takes number: missing number; unknown numbr"],
        ),
        (
            "return Splits.of(rows[:40], rows[40:80], rows[80:])",
            "return rows",
            ["*data function returned a list: return*"],
        ),
        ("return self.say(number=number)", "return number", ["*never called a predictor on example '81'*"]),
        ("return self.say(number=number)", "self.say(number=number)", ["*returned None on example '81': return the*"]),
        (
            "return self.say(number=number)",
            "while self.say(number=number): pass",
            ["*Parity.forward made 200 calls and searches on example '81' and asks for one more: end its loop, or,*"],
        ),
        ("def forward", "async def forward", ["*Parity.forward is async (on example '81' it returned a coroutine)*"]),
        ("def forward(self, number)", "def forward(self, n)", ["*forward takes n, but example '81' has*"]),
        ('"number -> parity"', '"number - parity"', ["*signature 'number - parity': expected *"]),
    ],
)
def test_found_inside_a_cell_that_cell_is_invalid_and_others_go_on(suite, old, new, problem):
    assert old in SUITE
    suite.makepyfile(test_parity=SUITE.replace(old, new), test_fine=SUITE)
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([*problem, "zero-shot *!", "parity[[]parrot-zero] invalid: *"])
    result.stdout.no_fnmatch_line("*pytest_bettertogether/*.py:*: *Error")  # none of our own frames


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "metric=exact",
            'recipe={"rank": 8}, metric=exact',
            "*Task(recipe=*recipe has no value 'rank'; it has search.*",
        ),
        ("metric=exact", 'recipe={"lora.rank": 0}, metric=exact', "*Task(recipe=*: LoraTuning.rank=0 is out of range"),
        (
            "metric=exact",
            'recipe={"threads": 2}, metric=exact',
            "*threads cannot be a task's, since one engine serves all: use --bt-set",
        ),
        (
            "(TASK)\n",
            '(TASK, strategies=["p"], gate=["w"])\n',
            "*names w, which is not among the strategies p: it would*",
        ),
        (
            "(TASK)\n",
            "([TASK, TASK])\n",
            "*test_parity: bettertogether(...) takes one task, not 2: write a test for each",
        ),
        (
            "@pytest.mark.bettertogether(TASK)\n",
            "@pytest.mark.bettertogether(TASK)\n@pytest.mark.bettertogether(TASK, strategies=['p'])\n",
            "*test_parity: 2 markers bettertogether(...) apply to it, *a test has one task: write a test for each",
        ),
        (
            "@pytest.mark.bettertogether(TASK)\n",
            "pytestmark = pytest.mark.bettertogether(TASK)\n\n@pytest.mark.bettertogether(TASK, strategies=['p'])\n",
            "*test_parity: 2 markers bettertogether(...) apply to it, its class's and module's included, *",
        ),
        (
            "@pytest.mark.bettertogether(TASK)\ndef test_parity(better",
            "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.bettertogether(TASK))])\n"
            "def test_parity(n, better",
            "*test_parity: a pytest.param(...) cannot be marked bettertogether(...): mark the test, and write one for*",
        ),
        (
            "data=data",
            "data=data()",
            "E*TypeError: Task(data=...) takes the function that makes the splits, not a Splits*",
        ),
        ('exact_match("parity"))', "exact_match)", "E*TypeError: Task(metric=...) takes a function * exact_match(*"),
    ],
)
def test_a_task_that_cannot_work_is_refused_when_it_is_collected(suite, old, new, problem):
    assert old in SUITE
    suite.makepyfile(test_parity=SUITE.replace(old, new))
    result = run(suite, "--bt-gate=off")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([problem])


def test_a_wrong_strategy_asked_for_in_a_test_points_at_the_test(suite):
    suite.makepyfile(test_parity=SUITE.replace("better_together() >=", 'better_together(strategy="pq") >='))
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*better_together(strategy=*", "E*ValueError: strategy 'pq': unknown step 'q'; write*"]
    )
    result.stdout.no_fnmatch_line("*pytest_bettertogether/*")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "    rows = [",
            "    raise OSError('no such disk')\n    rows = [",
            "*--bt-plan: task 'parity': OSError at test_parity.py:14: no such disk",
        ),
        (
            "    rows = [",
            "    import csv\n    csv.reader(5)\n    rows = [",
            "*--bt-plan: task 'parity': TypeError at test_parity.py:15: *",
        ),
        (
            "    rows = [",
            "    pytest.skip('not here')\n    rows = [",
            "*--bt-plan: task 'parity': Skipped at test_parity.py:14: not here",
        ),
        (
            "        self.say =",
            "        1 / 0\n        self.say =",
            "*--bt-plan: task 'parity': ZeroDivisionError at test_parity.py:7: division by zero",
        ),
        ("rows[40:80]", "[]", "*--bt-plan: the dev split is empty"),
    ],
)
def test_a_plan_of_a_task_that_breaks_is_exit_4_and_names_the_users_line(suite, old, new, problem):
    assert old in SUITE
    suite.makepyfile(test_parity=SUITE.replace(old, new))
    result = run(suite, "--bt-plan", "--bt-strategy=zero")
    assert result.ret == USAGE
    result.stderr.fnmatch_lines([problem])
    assert "INTERNALERROR" not in result.stdout.str()


def test_an_engines_fault_is_invalid_with_its_cause(suite):
    broken = "    def generate(self, *args):\n        raise OSError('the cable is out')\n\n    def unused("
    suite.makeconftest(CONFTEST.replace("    def generate(", broken))
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*parity[[]parrot-zero] invalid: OSError: the cable is out"])

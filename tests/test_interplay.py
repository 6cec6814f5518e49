"""With pytest's own options, configuration files and other plugins: the same cells, the same verdicts."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET

import pytest
from parrot import CONFTEST, SUITE

OTHERS = ("hypothesispytest", "randomly", "timeout", "rerunfailures", "html", "pytest_cov")
"""Plugins that an inner run does without, unless it is about them."""

OFTEN = "\nfrom pytest_bettertogether.plugin import terminal\n\nterminal.IN_PLACE = terminal.PLAIN = 0.0\n"
"""For the end of a conftest.py: progress is shown each time that there is some."""

SHORT = SUITE.replace("(TASK)\n", '(TASK, strategies=["zero", "p", "w"], gate=["p", "w"])\n')
WORSE = CONFTEST.replace("SLIP = 1000", "SLIP = 3")
EXPECTED = {"zero": ("not_gated", 0.5), "p": ("worse", 0.825), "w": ("worse", 0.825)}
"""What becomes of the cells of SHORT under WORSE."""


@pytest.fixture
def suite(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_parity=SHORT)
    return pytester


@pytest.fixture(scope="module")
def baselines(tmp_path_factory):
    """What SHORT records under CONFTEST."""
    folder = tmp_path_factory.mktemp("recording")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_parity.py").write_text(SHORT, encoding="utf-8")
    subprocess.run([*PYTEST, *arguments("--bt-update-baselines")], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return (folder / "baselines" / "parity.json").read_text(encoding="utf-8")


@pytest.fixture
def worse(suite, baselines):
    """A suite whose baselines were recorded before its model became worse."""
    suite.mkdir("baselines").joinpath("parity.json").write_text(baselines, encoding="utf-8")
    suite.makeconftest(WORSE)
    return suite


PYTEST = (sys.executable, "-m", "pytest")


def without(use=()):
    return [word for name in OTHERS if name not in use for word in ("-p", f"no:{name}")]


def arguments(*args, use=()):
    return ["--bt-model=parrot", "--bt-seeds=0", "--bt-report=json:report.json", *without(use), *args]


def run(suite, *args, use=()):
    return suite.runpytest(*arguments(*args, use=use))


def run_apart(suite, *args, use=(), **how):
    """In a process of its own: for what would leave traces in this one."""
    return suite.run(*PYTEST, *arguments(*args, use=use), **how)


def report(suite):
    """The cells of the JSON report, by strategy."""
    written = json.loads((suite.path / "report.json").read_text(encoding="utf-8"))
    return {each["strategy"]: each for each in written["cells"]}


def lasting(value):
    """A part of the report without what depends on when, and by which run, it was computed."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in ("paid_now", "seconds")}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def ends(suite):
    """How each cell ended, and its score."""
    return {
        name: (cell["status"], None if cell["score"] is None else round(cell["score"], 6))
        for name, cell in report(suite).items()
    }


def files(suite):
    return {str(each.relative_to(suite.path)) for each in suite.path.rglob("*") if "__pycache__" not in each.parts}


def engine(lines):
    """The scripted engine, with `lines` at the start of `generate`; `cell` is the strategy that is running."""
    head = "    def generate(self, prompts, sampling, adapter=None):\n"
    assert head in CONFTEST
    first = "import os, time\ncell = os.environ['PYTEST_CURRENT_TEST'].partition('[parrot-')[2].partition(']')[0]\n"
    return CONFTEST.replace(head, head + textwrap.indent(f"{first}{textwrap.dedent(lines)}\n", " " * 8))


# pytest's own options


@pytest.mark.parametrize(("option", "ran"), [("-x", ["zero", "p"]), ("--maxfail=2", ["zero", "p", "w"])])
def test_a_run_that_stops_early_reports_the_cells_so_far(worse, option, ran):
    worse.makepyfile(test_unreached=SUITE.replace("(TASK)\n", "(TASK, gate=[])\n"))
    result = run(worse, option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["zero-shot *50.0*", "p *82.5*✗", "!* stopping after *"])
    assert ends(worse) == {name: EXPECTED[name] for name in ran}


def test_last_failed_runs_the_failed_cells_again_to_the_same_verdict(worse):
    run(worse).assert_outcomes(passed=1, failed=2)
    before = lasting(report(worse))
    run(worse, "--lf").assert_outcomes(failed=2)
    assert lasting(report(worse)) == {name: before[name] for name in ("p", "w")}


@pytest.mark.parametrize(
    "selection",
    [
        ["-k", "parrot-p]"],
        ["test_parity.py::test_parity[parrot-p]"],
        ["--deselect=test_parity.py::test_parity[parrot-zero]", "--deselect=test_parity.py::test_parity[parrot-w]"],
    ],
    ids=["-k", "by id", "--deselect"],
)
def test_a_cell_chosen_alone_gets_the_verdict_of_the_whole_run(worse, selection):
    run(worse).assert_outcomes(passed=1, failed=2)
    whole = lasting(report(worse))
    run(worse, *selection)
    assert lasting(report(worse)) == {"p": whole["p"]}


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan"])
def test_looking_ahead_loads_no_engine_and_no_numerics_and_writes_nothing(worse, option):
    heavy = {"torch", "transformers", "datasets", "peft", "numpy", "scipy", "greenlet", "tabulate"}
    worse.makeconftest(
        WORSE.replace("self.adapters = adapters", "raise AssertionError('an engine was loaded')")
        + f"\n\ndef pytest_unconfigure():\n    import sys\n    print('loaded:', *({heavy} & set(sys.modules)))\n"
    )
    before = files(worse)
    result = run_apart(worse, option, "-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_parity[[]parrot-zero]*", "loaded:"])
    assert files(worse) - before == {"stdout", "stderr"}  # of the process


def test_quiet_collection_prints_ids_alone(suite):
    shown = run(suite, "--collect-only", "-q").stdout.str()
    listed = shown.partition("\n\n")[0].strip().splitlines()
    assert listed == [f"test_parity.py::test_parity[parrot-{name}]" for name in ("zero", "p", "w")]


@pytest.mark.parametrize("stdin", [b"", b"quit\n"], ids=["closed", "quit"])
def test_leaving_the_debugger_keeps_the_table_and_the_report(worse, stdin):
    result = run_apart(worse, "--pdb", stdin=stdin)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*entering PDB*", "zero-shot *50.0*", "p *82.5*✗", "*Quitting debugger*"])
    assert ends(worse) == {name: EXPECTED[name] for name in ("zero", "p")}


@pytest.mark.parametrize("options", [[], ["-q"], ["-qq"], ["-v"], ["--tb=no"]], ids=" ".join)
def test_the_table_is_whole_at_every_verbosity_on_a_narrow_terminal(worse, monkeypatch, options):
    monkeypatch.setenv("COLUMNS", "60")
    result = run(worse, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["parrot *parity", "zero-shot  50.0 [[]*[]]*", "p          82.5 [[]*[]] ✗", "w          82.5 [[]*[]] ✗"]
    )
    assert ("parity[parrot-p] seed 0: 82.5, 0 unparsable" in result.stdout.lines) == ("-v" in options)


@pytest.mark.parametrize(
    "options",
    [
        ["-p", "no:terminal"],
        ["-p", "no:cacheprovider"],
        ["-p", "no:capture"],
        ["-p", "no:xdist"],
        ["--assert=plain"],
        ["-s"],
        ["--strict-markers", "--strict-config"],
        ["--durations=3"],
        ["--stepwise", "--stepwise-skip"],
    ],
    ids=" ".join,
)
def test_options_of_pytest_change_no_verdict(worse, options):
    assert run(worse, *options).ret != 0
    assert ends(worse) == EXPECTED


@pytest.mark.parametrize("options", [["-W", "error"], ["--import-mode=importlib"]], ids=" ".join)
def test_warnings_as_errors_and_other_ways_to_import_change_no_verdict(worse, options):
    run_apart(worse, *options).assert_outcomes(passed=1, failed=2)
    assert ends(worse) == EXPECTED


@pytest.mark.parametrize("style", ["auto", "short", "line", "native", "no"])
def test_the_report_says_why_a_cell_failed_whatever_the_style_of_tracebacks(worse, style):
    run(worse, f"--tb={style}", "-k", "parrot-p]")
    assert report(worse)["p"]["reason"].endswith("assert parrot-p fell by 17.5 points: 82.5% < 100.0%")


def test_junit_has_one_case_per_cell_with_the_reason_of_its_failure(worse):
    run(worse, "--junitxml=junit.xml")
    cases = ET.parse(worse.path / "junit.xml").findall(".//testcase")  # noqa: S314 - our own file
    failures = {case.get("name"): [each.get("message") for each in case.findall("failure")] for case in cases}
    assert list(failures) == ["test_parity[parrot-zero]", "test_parity[parrot-p]", "test_parity[parrot-w]"]
    assert failures["test_parity[parrot-zero]"] == []
    assert "parrot-p fell by 17.5 points" in failures["test_parity[parrot-p]"][0]


def test_an_ascii_stream_gets_ascii(worse, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = run_apart(worse)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().isascii()
    result.stdout.fnmatch_lines(
        ["p *82.5 [[]*[]] x", "[*] best of its column, failed cells aside   ~ not significantly *", "*# stopped*"]
    )


def test_a_terminal_that_cannot_show_a_name_breaks_no_cell(suite, monkeypatch):
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    suite.makepyfile(test_parity=SUITE.replace("metric=", 'name="Parität", metric='))
    suite.makeconftest(CONFTEST + OFTEN)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ours, theirs = pty.openpty()
    command = [*PYTEST, *arguments("--bt-gate=off", "--bt-strategy=p")]
    with subprocess.Popen(command, cwd=suite.path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while os.read(ours, 4096):
                pass
        except OSError:  # Linux: the other end is gone
            pass
    os.close(ours)
    assert process.returncode == 0
    assert ends(suite) == {"p": ("not_gated", 1.0)}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupted_run_keeps_the_finished_cells(suite):
    suite.makeconftest(engine("if cell == 'p':\n    pathlib.Path('here').touch()\n    time.sleep(600)"))
    with subprocess.Popen(
        [*PYTEST, *arguments("--bt-gate=off")], cwd=suite.path, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        while not (suite.path / "here").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "\nzero-shot  50.0 ± 14.8 *\n" in shown
    assert "KeyboardInterrupt" in shown
    assert "parity[parrot-p] stopped: interrupted: run the same command again, what is finished is kept" in " ".join(
        shown.split()
    )
    assert ends(suite) == {"zero": ("not_gated", 0.5), "p": ("stopped", None)}


def test_what_an_interrupted_run_has_paid_for_is_not_paid_again(suite):
    lines = (
        "if cell == 'w' and not os.path.exists('here'):\n    pathlib.Path('here').touch()\n    raise KeyboardInterrupt"
    )
    suite.makeconftest(engine(lines))
    interrupted = suite.runpytest_inprocess(*arguments("--bt-gate=off"), no_reraise_ctrlc=True)
    assert interrupted.ret == pytest.ExitCode.INTERRUPTED
    run(suite, "--bt-gate=off").assert_outcomes(passed=3)
    paid = {name: cell["cost"]["paid_now"]["lm_calls"] for name, cell in report(suite).items()}
    assert paid["zero"] == paid["p"] == 0
    assert paid["w"] > 0


def test_with_the_plugin_switched_off_other_tests_run(pytester):
    hook = "def pytest_bettertogether_models"
    pytester.makeconftest("import pytest\n" + CONFTEST.replace(hook, f"@pytest.hookimpl(optionalhook=True)\n{hook}"))
    pytester.makepyfile(test_parity=SUITE, test_plain="def test_plain(): pass")
    result = pytester.run(*PYTEST, *without(), "-p", "no:bettertogether")
    result.assert_outcomes(passed=1, errors=1, warnings=1)
    result.stdout.fnmatch_lines(["*fixture 'better_together' not found", "*Unknown pytest.mark.bettertogether*"])


# configuration files

INI = """
    bt_model =
        parrot
        other
    bt_strategy =
        p -> w
        zero
    bt_seeds = 3-4
    bt_limit = 8
    bt_gate = off
    bt_select = best
    bt_set =
        lora.rank=4
        search.candidates=2
    bt_report =
        json:report.json
        md:report.md
    bt_journal = kept/here
    bt_offline = true
"""
TOML = """
    bt_model = ["parrot", "other"]
    bt_strategy = ["p -> w", "zero"]
    bt_seeds = "3-4"
    bt_limit = "8"
    bt_gate = "off"
    bt_select = "best"
    bt_set = ["lora.rank=4", "search.candidates=2"]
    bt_report = ["json:report.json", "md:report.md"]
    bt_journal = "kept/here"
    bt_offline = true
"""
FILES = [
    ("pytest.ini", "[pytest]", INI),
    ("pyproject.toml", "[tool.pytest.ini_options]", TOML),
    ("pytest.toml", "[pytest]", TOML),
    ("pyproject.toml", "[tool.pytest]", TOML),
]


@pytest.fixture(params=FILES, ids=[f"{name} {table}" for name, table, _ in FILES])
def configured(suite, request):
    """A suite whose configuration file sets every option that can stand in one."""
    name, table, text = request.param
    if (name, table) in (("pytest.toml", "[pytest]"), ("pyproject.toml", "[tool.pytest]")) and pytest.version_tuple < (
        9,
    ):
        pytest.skip("pytest reads native TOML from version 9")
    (suite.path / name).write_text(f"{table}\n{textwrap.dedent(text)}", encoding="utf-8")
    suite.makeconftest(
        CONFTEST.replace("self.adapters = adapters", "self.adapters, self.offline = adapters, str(offline)").replace(
            '"backend": "scripted"', '"backend": "scripted", "offline": self.offline'
        )
    )
    return suite


def configured_run(suite, *args):
    """The cells of a run that nothing but its configuration file and `args` configures, by id."""
    assert suite.runpytest(*without(), *args).ret == 0
    written = json.loads((suite.path / "report.json").read_text(encoding="utf-8"))
    return {each["id"]: each for each in written["cells"]}


def test_a_configuration_file_can_hold_the_options(configured):
    found = configured_run(configured)
    assert list(found) == [f"parity[{model}-{name}]" for model in ("other", "parrot") for name in ("zero", "pw")]
    cell = found["parity[parrot-pw]"]
    assert [each["seed"] for each in cell["seeds"]] == [3, 4]
    assert (cell["n"], cell["status"]) == (8, "not_gated")
    assert cell["provenance"]["select"] == "best"
    assert cell["provenance"]["recipe"]["lora.rank"] == 4
    assert cell["provenance"]["recipe"]["search.candidates"] == 2
    assert cell["provenance"]["engine"]["offline"] == "True"
    assert (configured.path / "report.md").exists()
    assert (configured.path / "kept" / "here" / "journal.sqlite").exists()
    assert not (configured.path / ".bettertogether").exists()


def test_the_command_line_wins_over_the_configuration_file(configured):
    options = ["model=parrot", "strategy=zero", "seeds=5", "limit=9", "select=last", "set=lora.rank=2"]
    options += ["report=json:report.json", "journal=elsewhere"]
    found = configured_run(configured, *(f"--bt-{each}" for each in options))
    assert list(found) == ["parity[parrot-zero]"]
    (cell,) = found.values()
    assert [each["seed"] for each in cell["seeds"]] == [5]
    assert cell["n"] == 9
    assert cell["provenance"]["select"] == "last"
    assert cell["provenance"]["recipe"]["lora.rank"] == 2
    assert cell["provenance"]["recipe"]["search.candidates"] != 2
    assert not (configured.path / "report.md").exists()
    assert (configured.path / "elsewhere" / "journal.sqlite").exists()


WRONG = {
    "bt_model = parot": "unknown model 'parot'; known: llama2, llama3, *, parrot, tiny; or give *",
    "bt_strategy = px": "strategy 'px': unknown step 'x'; write *",
    "bt_seeds = 0,a": "'0,a': expected whole numbers or ranges, as in 0,1,2 or 0-4",
    "bt_limit = 0": "'0': expected a whole number from 1",
    "bt_gate = maybe": "'maybe': expected on or off",
    "bt_select = worst": "'worst': expected last or best",
    "bt_set = lora.rank": "'lora.rank': expected KEY=VALUE, as in lora.rank=8",
    "bt_set = lora.rang=8": "recipe has no value 'lora.rang'; it has *",
    "bt_report = xml:a.xml": "'xml:a.xml': expected json:PATH or md:PATH or html:PATH",
    "bt_report = json:.": "* is a folder: name a file in it, as in json:./report.json",
    "bt_journal = conftest.py": "cannot write to *conftest.py: name a folder that can be written, or made",
    "bt_offline = maybe": "*'maybe'*",
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line.replace(" ", ""))
def test_a_wrong_value_in_a_configuration_file_is_one_line_that_names_it_and_exit_4(suite, line):
    suite.makeini(f"[pytest]\n{line}\n")
    result = suite.runpytest(*without())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line.split()[0]} in *tox.ini: {WRONG[line]}"])
    assert len([each for each in result.stderr.lines if each]) == 1


# other plugins


@pytest.mark.parametrize("seed", [1, 2])
def test_pytest_randomly_changes_the_order_but_no_result(suite, seed):
    pytest.importorskip("pytest_randomly", reason="needs pytest-randomly")
    suite.makepyfile(test_parity=SUITE)
    run(suite, "--bt-gate=off").assert_outcomes(passed=8)
    ordered = lasting(report(suite))
    shutil.rmtree(suite.path / ".bettertogether")  # so that nothing is replayed
    result = run(suite, "--bt-gate=off", "-v", f"--randomly-seed={seed}", use=["randomly"])
    result.assert_outcomes(passed=8)
    order = re.findall(r"\[parrot-(\w+)\] PASSED", result.stdout.str())
    assert sorted(order) == sorted(ordered)
    assert order != list(ordered)
    assert lasting(report(suite)) == ordered


LIMIT = """

def pytest_collection_modifyitems(items):
    # Of the cell that hangs alone, and from where it is called: the others may take what time they need.
    (hanging,) = (item for item in items if item.name.endswith("parrot-p]"))
    hanging.add_marker(pytest.mark.timeout(2, func_only=True))


import pytest
"""


@pytest.mark.parametrize("where", ["engine", "program"])
def test_pytest_timeout_ends_a_hanging_cell_and_the_others_are_reported(suite, where):
    pytest.importorskip("pytest_timeout", reason="needs pytest-timeout")
    suite.makeconftest((engine("if cell == 'p':\n    time.sleep(600)") if where == "engine" else CONFTEST) + LIMIT)
    hang = "import os, time\n        if 'parrot-p]' in os.environ['PYTEST_CURRENT_TEST']:\n            time.sleep(600)"
    program = SHORT.replace("return self.say", f"{hang}\n        return self.say") if where == "program" else SHORT
    suite.makepyfile(test_parity=program)
    result = run_apart(suite, "--bt-gate=off", "--timeout-method=signal", use=["timeout"])
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["zero-shot *50.0*", "p *!", "w *100.0*", "parity[[]parrot-p] invalid: *Timeout*"])
    assert ends(suite) == {"zero": ("not_gated", 0.5), "p": ("invalid", None), "w": ("not_gated", 1.0)}


NOISY = """
    global SLIP
    if prompts[0].messages[-1].content == "number: 81":  # the test split
        with open("evaluations", "a") as log:
            log.write("x")
        SLIP = 3 if os.path.getsize("evaluations") == 1 else 1000  # bad once, good ever after
    else:
        SLIP = 1000
"""


@pytest.mark.parametrize("expectation", [">= bt_baseline", "> 0.99"])
def test_under_pytest_rerunfailures_no_cell_is_evaluated_again_until_it_passes(suite, expectation):
    pytest.importorskip("pytest_rerunfailures", reason="needs pytest-rerunfailures")
    suite.makepyfile(test_parity=SHORT.replace(">= bt_baseline", expectation))
    run(suite, "--bt-update-baselines", "--bt-strategy=p").assert_outcomes(passed=1)
    suite.makeconftest(engine(NOISY))
    options = ["--bt-strategy=p", "--bt-fresh", "--reruns=2", "-p", "no:xdist"]
    result = run(suite, *options, use=["rerunfailures"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    assert ends(suite) == {"p": ("worse", 0.825)}
    assert (suite.path / "evaluations").read_text() == "x"


def test_under_pytest_rerunfailures_a_cell_that_an_engine_broke_is_run_again(suite):
    pytest.importorskip("pytest_rerunfailures", reason="needs pytest-rerunfailures")
    lines = (
        "if cell == 'p' and not os.path.exists('here'):\n    pathlib.Path('here').touch()\n    raise OSError('gone')"
    )
    suite.makeconftest(engine(lines))
    result = run(suite, "--bt-gate=off", "--reruns=2", "-p", "no:xdist", use=["rerunfailures"])
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 3, "rerun": 1}
    result.stdout.fnmatch_lines(["p *100.0*"])
    result.stdout.no_fnmatch_line("*invalid: OSError*")
    assert ends(suite) == {"zero": ("not_gated", 0.5), "p": ("not_gated", 1.0), "w": ("not_gated", 1.0)}


def test_pytest_html_writes_its_report(worse):
    pytest.importorskip("pytest_html", reason="needs pytest-html")
    run(worse, "--html=out/tests.html", "--self-contained-html", use=["html"]).assert_outcomes(passed=1, failed=2)
    written = (worse.path / "out" / "tests.html").read_text(encoding="utf-8")
    assert "test_parity[parrot-zero]" in written
    assert "parrot-p fell by 17.5 points" in written
    assert ends(worse) == EXPECTED


PIPELINE = """
    from pytest_bettertogether import Predict, Program


    class Parity(Program):
        def __init__(self):
            self.say = Predict("number -> parity")

        def forward(self, number):
            said = self.say(number=number)
            if said.parity == "odd":
                return said
            return said

        def never(self):
            return None
"""


def test_pytest_cov_sees_the_lines_after_a_model_call_and_changes_no_result(worse):
    pytest.importorskip("pytest_cov", reason="needs pytest-cov")
    program = re.search(r"class Parity.*?\n\n\n", SHORT, flags=re.DOTALL)[0]
    worse.makepyfile(pipeline=PIPELINE, test_parity=SHORT.replace(program, "from pipeline import Parity\n\n\n"))
    (worse.path / ".coveragerc").write_text("[run]\nconcurrency = greenlet\n")
    result = run_apart(worse, "--cov=pipeline", "--cov-report=json:coverage.json", use=["pytest_cov"])
    result.assert_outcomes(passed=1, failed=2)
    assert ends(worse) == EXPECTED
    measured = json.loads((worse.path / "coverage.json").read_text())["files"]["pipeline.py"]
    lines = (worse.path / "pipeline.py").read_text().splitlines()
    assert [lines[number - 1].strip() for number in measured["missing_lines"]] == ["return None"]

"""Where a run's results go: the files asked for, JUnit's properties, GitHub's summary and annotations."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
from parrot import ALL, CONFTEST, SUITE, run

from pytest_bettertogether.pipeline.errors import BackendError
from pytest_bettertogether.plugin import OUTER
from pytest_bettertogether.plugin.faults import raise_for_user
from pytest_bettertogether.report.document import document

SCHEMA = json.loads((Path(document.__code__.co_filename).parent / "schema-1.json").read_text(encoding="utf-8"))
WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


def get_worse(suite):
    """Record a baseline that the engine can no longer hold."""
    suite.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, gate=["p"])\n'))
    run(suite, "--bt-update-baselines", "--bt-strategy=p")
    suite.makeconftest(CONFTEST.replace("SLIP = 1000", "SLIP = 3"))


def report(suite, name="report.json"):
    data = json.loads((suite.path / name).read_text(encoding="utf-8"))
    jsonschema.validate(data, SCHEMA)
    return data


@WORKERS
def test_a_run_leaves_traces_demos_and_scores_on_the_way(suite, workers):
    result = run(suite, "--bt-gate=off", "--bt-report=json:report.json", "--bt-report=html:page.html", workers)
    result.assert_outcomes(passed=len(ALL))
    result.stdout.fnmatch_lines(
        ["json report: *report.json", "samples of 8 cells: *report.samples", "html report: *page.html"]
    )
    data = report(suite)
    (cell,) = (each for each in data["cells"] if each["strategy"] == "pwp")
    assert cell["test"]["id"] == "test_parity.py::test_parity[parrot-pwp]"
    assert cell["test"]["file"] == "test_parity.py"
    assert (
        suite.path.joinpath("test_parity.py").read_text().splitlines()[cell["test"]["line"] - 1].startswith("@pytest")
    )
    seed = cell["seeds"][0]
    call = seed["examples"][0]["trace"][0]
    assert call["asked"] == "number: 81"
    assert call["completion"] == "parity: odd"
    assert call["fields"] == {"parity": "odd"}
    assert data["tasks"]["parity"]["docs"][0] == {"number": "81", "parity": "odd"}
    assert seed["prompts"]["say"][0][0] == "system"
    p, w, _ = seed["steps"]
    assert p["train_score"] == pytest.approx(0.5, abs=0.25)  # says "even" to all of T before it has demos
    assert w["train_n"] == 40
    demos = p["demos"]["say"]
    assert demos
    assert all(set(each["inputs"]) == {"number"} for each in demos)
    assert seed["dev_scores"] == {}
    page = (suite.path / "page.html").read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in page
    assert len(list((suite.path / "report.samples").iterdir())) == 8


def test_the_same_report_is_rendered_from_json(suite):
    from pytest_bettertogether.command.cli import main

    run(
        suite,
        "--bt-gate=off",
        "--bt-report=json:r.json",
        "--bt-report=html:a.html",
        "--bt-report=md:a.md",
        "--bt-seeds=0",
    )
    files = [suite.path / name for name in ("r.json", "a.html", "a.md", "b.html", "b.md")]
    assert main(["report", str(files[0]), f"--html={files[3]}", f"--md={files[4]}"]) == 0
    assert files[2].read_text() == files[4].read_text()
    seconds = re.compile(r" · \d+ s")
    assert seconds.sub("", files[1].read_text()) == seconds.sub("", files[3].read_text())


def test_dev_scores_are_paid_for_only_when_asked(suite):
    calls = []
    for options in ((), ("--bt-dev-scores",)):
        run(
            suite,
            "--bt-gate=off",
            "--bt-seeds=0",
            "--bt-strategy=pw",
            "--bt-fresh",
            "--bt-report=json:r.json",
            *options,
        )
        (cell,) = report(suite, "r.json")["cells"]
        calls.append((cell["cost"]["paid_now"]["lm_calls"], cell["cost"]["computed"]["lm_calls"]))
    assert calls[1][0] == calls[0][0] + 3 * 40  # three programs on 40 dev examples
    assert calls[1][1] == calls[0][1]  # they are no cost of the strategy
    assert set(cell["seeds"][0]["dev_scores"]) == {"zero", "p", "pw"}
    plan = run(suite, "--bt-gate=off", "--bt-seeds=0", "--bt-strategy=pw", "--bt-dev-scores", "--bt-plan")
    plan.stdout.fnmatch_lines(["total * 0 *"])


@WORKERS
def test_junit_has_score_interval_cost_and_verdict(suite, workers):
    get_worse(suite)
    result = run(suite, "--bt-strategy=p", "--junitxml=j.xml", workers)
    result.assert_outcomes(failed=1)
    found = {each.get("name"): each.get("value") for each in ET.parse(suite.path / "j.xml").iter("property")}  # noqa: S314 - our own
    found = {name.removeprefix("bettertogether."): value for name, value in found.items()}
    assert found["status"] == "worse"
    low, high = map(float, found["interval"].split())
    assert low < float(found["score"]) < high
    assert (found["n"], found["seeds"]) == ("40", "3")
    assert float(found["p_value"]) < 0.05
    assert int(found["tokens_in"]) == 3 * int(found["tokens_out"])  # as the engine counts
    assert int(found["paid_lm_calls"]) == int(found["lm_calls"]) > 0
    assert float(found["seconds"]) > 0


def test_github_gets_a_summary_and_annotations(suite, monkeypatch):
    get_worse(suite)
    summary = suite.path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(suite, "--bt-strategy=p")  # not on GitHub
    assert summary.read_text() == "before\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.path.parent))
    monkeypatch.setenv(OUTER, "1")
    inner = run(suite, "--bt-strategy=p")  # as one inside a test of another run
    inner.stdout.no_fnmatch_line("::*")
    assert summary.read_text() == "before\n"
    monkeypatch.delenv(OUTER)
    outer = suite.runpytest_subprocess("--bt-model=parrot", "--bt-strategy=p", "-p", "no:randomly", "-n2")
    line = next(line for line in outer.outlines if line.startswith("::error"))
    assert line.startswith(f"::error file={suite.path.name}/test_parity.py,line=")
    assert "title=parity[parrot-p] worse::" in line
    text = summary.read_text()
    assert text.startswith("before\n### Better together: 1 worse of 1 cell\n")
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.count("### Better together") == 1  # once, and not by the workers too


DEAF = "x\\n::stop-commands::tok\\n\\x1b[2J\\x1b]8;;http://evil\\x07 \\u202egnirts \\u2028::add-mask::y ##[error]z"
"""What would make GitHub deaf, clear a screen and turn a line around, as it is written in Python and in JSON."""


def harmless(suite, result):
    """Whether the run's output, its JUnit XML and reports are free of what DEAF would do."""
    files = [path.read_text(encoding="utf-8") for path in suite.path.iterdir() if path.suffix in (".xml", ".md")]
    for text in ("\n".join((*result.outlines, *result.errlines)), *files):
        assert not set(text) & set("\x1b\x07\u202e\u2028")
        assert "##[" not in text
        assert not re.search(r"^\s*::(?!error |warning )", text, re.MULTILINE)
    assert "\\u003a:stop-commands::tok" in "\n".join(result.outlines)


def test_what_a_server_says_is_inert_where_it_fails_a_test():
    text = DEAF.encode().decode("unicode_escape")
    with pytest.raises(pytest.fail.Exception) as caught:
        raise_for_user(BackendError(f"the server said: {text}"))
    said = str(caught.value)
    assert not set(text) & set("\x1b\x07\u202e\u2028") & set(said)
    assert "##[" not in said
    assert "\n\\u003a:stop-commands::tok\n\\u001b[2J" in said


@pytest.mark.parametrize("options", [(), ("--showlocals", "--tb=long"), ("--tb=native",), ("--tb=short", "-n1")])
def test_what_an_exception_of_the_users_quotes_is_inert_on_the_terminal_and_in_junit(suite, options):
    raising = f'said = "{DEAF}"; raise ValueError(said)'
    suite.makepyfile(test_parity=SUITE.replace("return self.say(number=number)", raising))
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero", "--junit-xml=junit.xml", "-vv", *options)
    result.assert_outcomes(failed=1)
    harmless(suite, result)
    (case,) = ET.parse(suite.path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - we wrote it
    told = "".join(case.find("failure").itertext()) + case.find("failure").get("message")
    assert "stop-commands" in told
    assert not set(told) & set("\x1b\x07\u202e\u2028")
    assert not re.search(r"^\s*::", told, re.MULTILINE)


def test_a_models_name_is_inert_above_the_tests(suite):
    suite.makepyfile(test_parity=SUITE)
    hostile = DEAF.encode().decode("unicode_escape")
    suite.makeconftest(CONFTEST.replace('"parrot"', repr(hostile)))
    result = suite.runpytest_subprocess(f"--bt-model={hostile}", "--collect-only", "-p", "no:randomly")
    (said,) = (line for line in result.outlines if line.startswith("better together: "))
    assert "\\u003a:stop-commands::tok" in said
    assert not set(said) & set("\x1b\x07\u202e\u2028")


def test_what_a_fork_writes_into_a_baseline_is_inert(suite):
    get_worse(suite)
    (file,) = (suite.path / "baselines").glob("*.json")
    text = file.read_text(encoding="utf-8")
    assert '"date": "' in text
    file.write_text(text.replace('"date": "', '"date": "' + DEAF.replace("\\x", "\\u00")), encoding="utf-8")
    result = run(suite, "--bt-strategy=p", "--junitxml=j.xml", "--bt-report=md:r.md")
    result.assert_outcomes(failed=1)
    harmless(suite, result)


def test_a_reports_path_is_told_without_detours(suite):
    result = run(suite, "--bt-gate=off", "--bt-strategy=zero", "--bt-report=md:./x/../r.md")
    result.stdout.fnmatch_lines([f"md report: {suite.path}/r.md"])


def test_a_missing_extra_is_said_before_anything_runs(suite):
    hidden = "\nimport importlib.util\n\nfound = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name: None if name == 'vl_convert' else found(name)\n"
    suite.makeconftest(CONFTEST + hidden)
    result = suite.runpytest_subprocess("--bt-model=parrot", "--bt-report=html:x.html", "-p", "no:randomly")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --bt-report: HTML reports need vl_convert, not installed here: *html*"])


def test_a_cell_that_its_suite_skips_says_why(suite):
    suite.makepyfile(
        test_parity=(suite.path / "test_parity.py")
        .read_text()
        .replace("    assert better", "    pytest.skip('needs instruct')\n    assert better")
    )
    result = run(suite, "--bt-gate=off", "--bt-strategy=p")
    result.stdout.fnmatch_lines(["parity on parrot skipped: needs instruct"])


def test_without_cells_nothing_is_printed_or_written(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest("--bt-report=md:x.md", "-p", "no:randomly")
    result.stdout.no_fnmatch_line("*better together*")
    assert not (pytester.path / "x.md").exists()


def test_the_terminals_width_and_colour_are_honoured(suite, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    result = run(suite, "--bt-gate=off", "--bt-strategy=p", "--bt-strategy=w", "--color=yes", "--bt-seeds=0")
    below = result.outlines[next(i for i, line in enumerate(result.outlines) if "better together ---" in line) :]
    shown = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in below]
    assert max(map(len, shown[:-1])) <= 60
    assert any("\x1b[32m*" in line for line in below)
    quiet = run(suite, "--bt-gate=off", "--bt-strategy=p", "--bt-seeds=0", "-q")
    quiet.stdout.no_fnmatch_line("*LM calls*")
    quiet.stdout.fnmatch_lines(["parrot *parity*"])

"""A step of somebody else's, the example of the docs, as its user meets it: in plans, runs, reports, exports."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from parrot import CONFTEST, SUITE, run

import pytest_bettertogether.report as report

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "choose_instruction.py"
SCHEMA = json.loads((Path(report.__file__).parent / "schema-1.json").read_text(encoding="utf-8"))
REGISTERED = (
    CONFTEST.replace("skilled = adapter", 'skilled = "one word" in messages[0].content or adapter')
    + """

from their_step import ChooseInstruction


def pytest_bettertogether_steps(register):
    register(ChooseInstruction())
"""
)
STRATEGIES = [f"--bt-strategy={each}" for each in ("zero", "i", "w", "i -> weights", "iwi")]
OPTIONS = ("--bt-gate=off", "--bt-seeds=0")


@pytest.fixture
def chosen(suite):
    """A suite whose conftest.py registers the example."""
    shutil.copy(EXAMPLE, suite.path / "their_step.py")  # a name that no test of this process has imported
    suite.makeconftest(REGISTERED)
    return suite


def cells(suite, name="report.json"):
    return {cell["strategy"]: cell for cell in json.loads((suite.path / name).read_text())["cells"]}


def test_the_example_is_one_file_of_at_most_40_lines():
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_it_is_planned_run_replayed_exported_and_evaluated(chosen):
    planned = run(chosen, *OPTIONS, *STRATEGIES, "--bt-plan").stdout.str()
    # 28 of the 40 rows of train are V; the program as it was and two texts are scored on it.
    assert "≤ 84" in next(line for line in planned.splitlines() if "parrot-i] " in line and " i " in line)
    kinds = ("--bt-report=json:report.json", "--bt-report=html:page.html", "--bt-report=md:report.md")
    result = run(chosen, *OPTIONS, *STRATEGIES, *kinds, "--bt-export=frozen")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*i → w → i*", "*2 instruction steps*"])
    document = json.loads((chosen.path / "report.json").read_text())
    jsonschema.validate(document, SCHEMA)
    found = cells(chosen)
    assert {name: cell["score"] for name, cell in found.items()} == {"zero": 0.5, "i": 1, "w": 1, "iw": 1, "iwi": 1}
    (step,) = found["i"]["seeds"][0]["steps"]
    assert step["instructions"] == {"say": "Answer in one word."}
    assert step["lm_calls"] == 84
    assert found["i"]["seeds"][0]["prompts"]["say"][0][1].startswith("Answer in one word.")
    assert [kind["letter"] for kind in document["steps"]] == ["w", "i"]
    again = run(chosen, *OPTIONS, *STRATEGIES)
    again.assert_outcomes(passed=5)
    again.stdout.fnmatch_lines(["*made now: 0 calls*"])
    assert (
        "≤"
        not in run(chosen, *OPTIONS, *STRATEGIES, "--bt-plan").stdout.str().split("training rows")[1].split("≤ at")[0]
    )
    kept = json.loads((chosen.path / "frozen/parity/parrot-i/seed0/program.json").read_text())
    assert kept["predictors"]["say"]["instruction"] == "Answer in one word."


def test_a_frozen_program_needs_no_step_to_be_evaluated(chosen):
    run(chosen, *OPTIONS, "--bt-strategy=iw", "--bt-export=frozen", "--bt-report=json:report.json").assert_outcomes(
        passed=1
    )
    chosen.makeconftest(CONFTEST)
    (chosen.path / "their_step.py").unlink()
    frozen = 'program=frozen(Parity, Path(__file__).parent / "frozen/parity/parrot-iw/seed0")'
    chosen.makepyfile(
        test_kept=f"from pathlib import Path\n{SUITE}".replace("program=Parity", frozen).replace(
            "exact_match\n", "exact_match, frozen\n", 1
        )
    )
    result = run(chosen, "test_kept.py", *OPTIONS, "--bt-strategy=zero", "--bt-report=json:zero.json")
    result.assert_outcomes(passed=1)
    was, now = cells(chosen)["iw"]["seeds"][0], cells(chosen, "zero.json")["zero"]["seeds"][0]
    assert now["examples"] == was["examples"]
    assert now["prompts"] == was["prompts"]


def test_its_report_is_read_where_it_is_not_installed(chosen, tmp_path):
    run(chosen, *OPTIONS, *STRATEGIES, "--bt-report=json:report.json", "--bt-report=html:page.html").assert_outcomes(
        passed=5
    )
    command = [sys.executable, "-m", "pytest_bettertogether", "report", str(chosen.path / "report.json")]
    shown = subprocess.run([*command, "-v"], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert "i → w → i" in shown
    assert "2 instruction steps" in shown
    assert "over instructions only" in shown
    subprocess.run([*command, "--html", "page.html"], capture_output=True, cwd=tmp_path, check=True)
    assert (tmp_path / "page.html").read_text() == (chosen.path / "page.html").read_text()
    page = (tmp_path / "page.html").read_text()
    assert "instructions only" in page
    assert "#8e3f8e" in page


def test_its_own_values_are_set_on_the_command_line_and_by_a_task(chosen):
    one = "--bt-set=instructions.texts=Tell parity."
    result = run(chosen, *OPTIONS, "--bt-strategy=i", one, "--bt-report=json:report.json")
    result.assert_outcomes(passed=1)
    cell = cells(chosen)["i"]
    assert cell["seeds"][0]["steps"][0]["lm_calls"] == 2 * 28
    assert cell["provenance"]["recipe"]["instructions.texts"] == "Tell parity."
    chosen.makepyfile(test_parity=SUITE.replace("metric=", 'recipe={"instructions.texts": "Say it."}, metric='))
    run(chosen, *OPTIONS, "--bt-strategy=i", "--bt-report=json:report.json").assert_outcomes(passed=1)
    assert cells(chosen)["i"]["provenance"]["recipe"]["instructions.texts"] == "Say it."
    wrong = run(chosen, *OPTIONS, "--bt-set=instructions.text=x")
    wrong.stderr.fnmatch_lines(["*--bt-set: recipe has no value 'instructions.text'; it has *instructions.texts*"])


def test_a_marker_and_a_test_may_name_it(chosen):
    named = SUITE.replace("(TASK)\n", '(TASK, strategies=["instructions", "zero"], gate=["i"])\n').replace(
        "assert better_together() >= bt_baseline", 'assert better_together("i") >= better_together("zero")'
    )
    chosen.makepyfile(test_parity=named)
    run(chosen, *OPTIONS).assert_outcomes(passed=2)


REFUSED = {
    "register(ChooseInstruction)": "*bettertogether_steps: step ChooseInstruction is a class: register an object*",
    "register(object())": "*pytest_bettertogether_steps: step object lacks kind *; run(*; bound(*",
    "register(ChooseInstruction()); register(ChooseInstruction())": "*i (instructions) is there already: take another*",
    'register(type("S", (ChooseInstruction,), {"kind": None})())': "*step S lacks kind (a StepKind: what it*",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_cannot_be_registered_is_one_line_before_anything_is_collected(chosen, body):
    chosen.makeconftest(REGISTERED.replace("register(ChooseInstruction())", body))
    result = run(chosen, *OPTIONS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([REFUSED[body]])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize("letter", ["é", "P", "", "ii"])
def test_a_letter_that_is_none_stops_where_it_is_written(chosen, letter):
    source = EXAMPLE.read_text().replace('letter="i"', f"letter={letter!r}")
    (chosen.path / "their_step.py").write_text(source, encoding="utf-8")
    result = run(chosen, *OPTIONS)
    assert result.ret != 0
    assert "expected one lower-case letter from a to z" in result.stdout.str() + result.stderr.str()


def test_an_unknown_letter_is_told_those_that_are_registered(chosen):
    result = run(chosen, *OPTIONS, "--bt-strategy=iq")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--bt-strategy: strategy 'iq': unknown step 'q'; *w (weights), i (instructions) *"])
    chosen.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, strategies=["q"])\n'))
    run(chosen, *OPTIONS).stdout.fnmatch_lines(["*strategies=*'q'*unknown step 'q'*i (instructions)*"])


FAULTS = {
    "return None": "*step i (instructions) returned a NoneType: expected an Outcome*",
    "raise RuntimeError('lost')": "*step i (instructions) raised RuntimeError('lost')*",
    "state.kept['i'] = 1": "*step i (instructions) raised TypeError*does not support item assignment*",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_step_that_breaks_makes_its_cell_invalid_and_names_itself(chosen, fault):
    source = EXAMPLE.read_text().replace('        seed = experiment.derive(*path, "valid")\n', f"        {fault}\n")
    (chosen.path / "their_step.py").write_text(source.replace("import evaluate", "import evaluate\nseed = 0"))
    result = run(chosen, *OPTIONS, "--bt-strategy=zero", "--bt-strategy=i", "--bt-report=json:report.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([FAULTS[fault]])
    assert cells(chosen)["i"]["status"] == "invalid"
    assert cells(chosen)["i"]["reason"].startswith("StepError: step i (instructions)")


def installed(suite, value):
    """Install a package that names a step: a folder with metadata, as pip leaves it, on the path of a new process."""
    home = suite.path / "site"
    metadata = home / "choose-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: choose\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[pytest_bettertogether.steps]\nchoose = {value}\n")
    (home / "choose_package.py").write_text(f"{EXAMPLE.read_text()}\n\nSTEP = ChooseInstruction()\n")
    return home


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("choose_package:STEP", "*i → w*"),
        ("choose_package:ChooseInstruction", "*entry point choose of pytest_bettertogether.steps: *is a class*"),
        ("choose_package:NOBODY", "*entry point choose of * (choose_package:NOBODY) cannot be loaded: AttributeError*"),
        ("nowhere:STEP", "*(nowhere:STEP) cannot be loaded: ModuleNotFoundError*"),
    ],
)
def test_a_package_names_its_step_as_an_entry_point(suite, monkeypatch, value, said):
    monkeypatch.setenv("PYTHONPATH", str(installed(suite, value)), prepend=":")
    result = suite.runpytest_subprocess("--bt-model=parrot", "-p", "no:cacheprovider", *OPTIONS, "--bt-strategy=iw")
    (result.stdout if value.endswith(":STEP") and "nowhere" not in value else result.stderr).fnmatch_lines([said])

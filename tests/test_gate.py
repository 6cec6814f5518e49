"""The gate as a user meets it: baseline files and commands, outcomes told apart, verdicts that stand alone."""

import json
import subprocess
from xml.etree import ElementTree

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import CONFTEST, SUITE, run

ONE = SUITE.replace("(TASK)\n", '(TASK, strategies=["zero", "p"], gate=["p"])\n')
"""Two cells, one of them gated."""
WORSE = CONFTEST.replace("SLIP = 1000", "SLIP = 3")


@pytest.fixture
def recorded(suite):
    suite.makepyfile(test_parity=ONE)
    run(suite, "--bt-update-baselines").assert_outcomes(passed=2)
    return suite


def cells(suite, name="parity"):
    return json.loads((suite.path / "baselines" / f"{name}.json").read_text())["cells"]


def report(suite):
    return {each["strategy"]: each for each in json.loads((suite.path / "r.json").read_text())["cells"]}


def test_outcomes_are_told_apart_by_letter_word_status_property_and_exit_code(recorded):
    well = run(recorded, "--bt-report=json:r.json", "--junitxml=j.xml", "--bt-detect=30")
    well.stdout.fnmatch_lines(["test_parity.py n. *"])
    assert {name: cell["status"] for name, cell in report(recorded).items()} == {"zero": "not_gated", "p": "passed"}
    run(recorded, "-v").stdout.fnmatch_lines(["*parrot-zero] PASSED, NOT GATED *", "*-p] PASSED, TOO SMALL TO TELL *"])

    recorded.makeconftest(WORSE)
    worse = run(recorded, "--bt-report=json:r.json", "--junitxml=j.xml")
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(["test_parity.py nW *", "*1 failed, 1 passed*"])
    gate = report(recorded)["p"]["gate"]
    assert (report(recorded)["p"]["status"], gate["verdict"]) == ("worse", "worse")
    assert gate["interval"][0] < gate["difference"] < gate["interval"][1] < 0
    found = ElementTree.parse(recorded.path / "j.xml").iter("property")  # noqa: S314 - pytest wrote it
    properties = {each.get("name"): each.get("value") for each in found}
    assert properties["bettertogether.status"] == "worse"
    assert properties["bettertogether.score"] == "0.825"
    assert properties["bettertogether.baseline"] == "1.0"

    recorded.makeconftest(CONFTEST.replace("return [Completion", "raise OSError('gone')\n        return [Completion"))
    invalid = run(recorded, "--bt-report=json:r.json")
    invalid.stdout.fnmatch_lines(["test_parity.py II *", "*2 failed*"])
    assert report(recorded)["p"]["status"] == "invalid"


def test_a_gate_that_is_too_small_to_tell_passes_and_is_flagged_unless_it_is_told_to_fail(recorded):
    flagged = run(recorded, "--bt-report=json:r.json")
    flagged.assert_outcomes(passed=2)
    flagged.stdout.fnmatch_lines(
        ["test_parity.py nt *", "smallest drop *parity[[]parrot-p] 21", "  points (too small to tell)"]
    )
    assert report(recorded)["p"]["status"] == "too_small"
    strict = run(recorded, "--bt-too-small=fail")
    strict.assert_outcomes(passed=1, failed=1)
    strict.stdout.fnmatch_lines(
        ["*parrot-p is too small to tell, and --bt-too-small=fail was asked for: it would miss a drop of 10 points"]
    )
    run(recorded, "--bt-too-small=fail", "--bt-detect=22").assert_outcomes(passed=2)


def test_level_and_smallest_effect_are_the_users(recorded):
    recorded.makeconftest(WORSE)  # 17.5 points, p = 0.0039
    run(recorded, "--bt-alpha=0.003").assert_outcomes(passed=2)
    run(recorded, "--bt-min-effect=1").assert_outcomes(passed=1, failed=1)
    run(recorded, "--bt-min-effect=15").assert_outcomes(passed=2)
    recorded.makeini("[pytest]\nbt_min_effect = 15\n")
    run(recorded).assert_outcomes(passed=2)


def test_recording_what_is_new_compares_the_rest(recorded):
    recorded.makepyfile(test_parity=SUITE.replace("(TASK)\n", '(TASK, strategies=["zero", "p", "pp"], gate=["p"])\n'))
    recorded.makeconftest(WORSE)
    result = run(recorded, "--bt-update-baselines=new", ".")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["baselines/parity.json: parrot-pp recorded, 8*"])
    result.stdout.no_fnmatch_line("*parrot-zero recorded*")
    assert cells(recorded)["parrot-p"]["score"] == 1.0
    assert [cells(recorded)[f"parrot-{name}"]["gated"] for name in ("p", "pp")] == [True, False]


@pytest.mark.parametrize("option", ["--bt-update-baselines", "--bt-update-baselines=new", "--bt-prune-baselines"])
def test_ci_never_moves_its_own_bar(recorded, monkeypatch, option):
    monkeypatch.setenv("CI", "true")
    before = cells(recorded)
    result = run(recorded, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --bt-*-baselines is refused in CI (CI or BUILD_NUMBER is set): *"])
    assert cells(recorded) == before
    run(recorded, option, "--bt-allow-ci-update").assert_outcomes(passed=2)


def test_obsolete_baselines_are_named_and_removed_on_request(recorded):
    recorded.makepyfile(test_parity=ONE.replace('["zero", "p"]', '["p"]'))
    (recorded.path / "baselines" / "gone.json").write_text(
        (recorded.path / "baselines" / "parity.json").read_text().replace('"task": "parity"', '"task": "gone"')
    )
    named = [
        "baselines/gone.json: parrot-p, parrot-zero (obsolete, --bt-prune-baselines removes them)",
        "baselines/parity.json: parrot-zero (obsolete, --bt-prune-baselines removes them)",
    ]
    run(recorded, "--collect-only").stdout.fnmatch_lines(named)
    recorded.makepyfile(test_other="def test_nothing(): pass\n")
    # Another test file, not collected, may use gone.json.
    run(recorded, "--collect-only", "test_parity.py").stdout.no_fnmatch_line("*gone.json*")
    run(recorded, "--bt-strategy=zero").stdout.no_fnmatch_line("*parity.json: parrot-zero (obsolete*")
    run(recorded, "--collect-only", "--bt-prune-baselines").stdout.fnmatch_lines(["*parrot-zero (removed, obsolete)"])
    assert list(cells(recorded)) == ["parrot-p"]
    assert not (recorded.path / "baselines" / "gone.json").exists()


def test_under_xdist_the_controller_knows_what_is_obsolete(recorded):
    recorded.makepyfile(test_parity=ONE.replace('["zero", "p"]', '["p"]'))
    result = run(recorded, "-n2", "--bt-prune-baselines")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["baselines/parity.json: parrot-zero (removed, obsolete)"])
    assert list(cells(recorded)) == ["parrot-p"]


def test_a_change_cannot_lower_its_own_bar_where_the_reference_is_the_main_branch(recorded):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=recorded.path, check=True, capture_output=True)  # noqa: S607

    git("init", "-q", "-b", "main")
    git("add", "baselines")
    git("commit", "-qm", "first")
    recorded.makeconftest(WORSE)
    run(recorded, "--bt-update-baselines").assert_outcomes(passed=2)
    run(recorded).assert_outcomes(passed=2)
    against = run(recorded, "--bt-baseline-ref=main")
    against.assert_outcomes(passed=1, failed=1)
    against.stdout.fnmatch_lines(["*parrot-p fell by 17.5 points*"])
    unknown = run(recorded, "--bt-baseline-ref=mian")
    assert unknown.ret == pytest.ExitCode.USAGE_ERROR
    unknown.stderr.fnmatch_lines(["ERROR: git knows no commit 'mian' in *: name a branch, tag or commit; *"])
    both = run(recorded, "--bt-baseline-ref=main", "--bt-update-baselines")
    both.stderr.fnmatch_lines(["ERROR: --bt-update-baselines writes the files in the working tree: leave out *"])


def test_a_verdict_is_the_same_whichever_other_cells_ran(recorded):
    """Two suites with a gated cell each: 0.0039 is below 0.025 / 2, and above 0.025 / 7."""
    recorded.makepyfile(test_more=SUITE.replace("(TASK)\n", '(TASK, gate=["p", "pp", "pw", "wp", "pwp", "w"])\n'))
    run(recorded, "--bt-update-baselines").assert_outcomes(passed=10)
    recorded.makeconftest(WORSE)
    for args in (
        (),
        ("-k", "test_parity and -p"),
        ("test_parity.py",),
        ("--bt-strategy=p", "test_parity.py"),
        ("-n2",),
    ):
        result = run(recorded, "--bt-report=json:r.json", "--bt-alpha=0.025", *args)
        gates = json.loads((recorded.path / "r.json").read_text())["cells"]
        mine = [each["gate"] for each in gates if (each["task"], each["strategy"]) == ("parity", "p")]
        assert [(each["alpha"], each["verdict"]) for each in mine] == [(0.025 / 7, "too_small")], args
        assert result.ret == 0


def test_a_changed_prompt_is_compared_and_named(recorded):
    changed = ONE.replace('"number -> parity"', '"number -> parity", "Be right."')
    recorded.makepyfile(test_parity=changed)
    run(recorded).assert_outcomes(passed=2)
    recorded.makeconftest(WORSE)
    run(recorded).stdout.fnmatch_lines(["changed since: *prompts * -> *"])


def test_clusters_of_a_task_reach_the_gate(suite):
    rows = '"parity": ("even", "odd")[n % 2]}'
    clustered = ONE.replace(rows, rows[:-1] + ', "page": (n - 81) // 20}').replace(
        'metric=exact_match("parity")', 'metric=exact_match("parity"), cluster="page"'
    )
    suite.makepyfile(test_parity=clustered)
    run(suite, "--bt-update-baselines").assert_outcomes(passed=2)
    suite.makeconftest(WORSE)
    run(suite, "--bt-report=json:r.json").assert_outcomes(passed=2)  # two clusters can never be significant
    assert "2 clusters" in report(suite)["p"]["gate"]["test"]
    suite.makepyfile(test_parity=clustered.replace('cluster="page"', 'cluster="pge"'))
    run(suite, "-k", "not zero").stdout.fnmatch_lines(["*Task(cluster='pge'): test example '81' has no such field*"])


@pytest.mark.parametrize(
    ("assertion", "lines"),
    [
        (
            "better_together() >= 0.9",
            ["*assert 82.5% [[]*] on parity[[]parrot-p] >= 0.9", "*outside the session's error*"],
        ),
        (
            'better_together("zero") > better_together()',
            ["*assert 50.0% on parity[[]parrot-zero] > 82.5% on parity[[]parrot-p]", "*difference -32.5 points [[]*"],
        ),
    ],
)
def test_plain_comparisons_say_what_they_are(suite, assertion, lines):
    suite.makeconftest(WORSE)
    body = ONE.replace("better_together() >= bt_baseline", assertion).replace(
        "better_together, bt_baseline", "better_together"
    )
    suite.makepyfile(test_parity=body)
    result = run(suite, "--bt-strategy=p")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_parity.py F *", *lines])


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--bt-alpha=5", "*--bt-alpha: '5': expected a probability between 0 and 0.5, as in 0.05"),
        ("--bt-alpha=0.6", "*--bt-alpha: '0.6': expected a probability between 0 and 0.5, as in 0.05"),
        ("--bt-min-effect=-1", "*--bt-min-effect: '-1': expected points of the score from 0 to 100, as in 2.5"),
        ("--bt-detect=ten", "*--bt-detect: 'ten': expected a number"),
        ("--bt-too-small=skip", "*--bt-too-small: 'skip': expected pass or fail"),
        ("--bt-update-baselines=all", "*ignored explicit argument 'all'"),
    ],
)
def test_wrong_values_are_exit_4(suite, option, problem):
    result = run(suite, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([problem])

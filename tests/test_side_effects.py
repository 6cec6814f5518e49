"""What else changed, as a user meets it: the guard against the base model, the baseline form, the table."""

import json
import warnings
from dataclasses import replace

import jsonschema
import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import CONFTEST, SUITE, run

pytest.importorskip("lm_eval", reason="needs the lm-eval extra")

with warnings.catch_warnings():  # of lm-eval and its friends while they are imported
    warnings.simplefilter("ignore")
    import lm_eval.evaluator
    import lm_eval.tasks  # noqa: F401 - as above

from test_plugin import SCHEMA

from pytest_bettertogether import base_model
from pytest_bettertogether.gate.judge import Terms
from pytest_bettertogether.gate.side_effects import SideEffects, explain
from pytest_bettertogether.plugin.better_together import MeasurableResult
from pytest_bettertogether.report.building import view
from pytest_bettertogether.report.side_effects import side_effect_entries, side_effect_table, side_effects_read
from pytest_bettertogether.results.cell_records import CellRecord
from pytest_bettertogether.results.cell_results import CellResult
from pytest_bettertogether.results.side_effects import SideEffect

ENGINE = CONFTEST.replace(
    'return [Completion("parity: " + self.say(p.messages, adapter), 9, 3) for p in prompts]',
    '''said = [self.write(p.text, adapter) if p.text else "parity: " + self.say(p.messages, adapter) for p in prompts]
        return [Completion(each, 9, 3) for each in said]

    def write(self, text, adapter):
        """Tuned, it has forgotten some numbers."""
        number = int(text.split()[-1])
        return "none" if adapter and number % FORGETS == 0 else ("even", "odd")[number % 2]

    def loglikelihood(self, items, adapter=None):
        return [Likelihood(-float(self.write(i.context, adapter) != i.text.strip()), False, 1) for i in items]''',
).replace("import Completion", "import Completion, Likelihood")
SOUND, FORGETFUL = ENGINE + "\n\nFORGETS = 10**9\n", ENGINE + "\n\nFORGETS = 3\n"

SHARED = """
dataset_path: json
dataset_kwargs: {data_files: {test: numbers.jsonl}}
test_split: test
doc_to_text: "number: {{number}}"
"""
CHOOSE = f"""task: choose
output_type: multiple_choice
doc_to_choice: [odd, even]
doc_to_target: "{{{{['odd', 'even'].index(parity)}}}}"
{SHARED}"""
SAY = f"""task: say
output_type: generate_until
doc_to_target: parity
generation_kwargs: {{until: ["."], max_gen_toks: 4}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
{SHARED}"""

GUARDED = SUITE.replace("import Predict", "import base_model, harness_task, Predict").replace(
    "(TASK)\ndef test_parity(better_together, bt_baseline):\n    assert better_together() >= bt_baseline",
    '(TASK, strategies=["w"])\ndef test_parity(better_together):\n'
    '    assert better_together().harness(["choose.yaml", harness_task("say.yaml")]) >= base_model(within=1)',
)
RECORDED = SUITE.replace(
    "(TASK)\ndef test_parity(better_together, bt_baseline):\n    assert better_together() >= bt_baseline",
    '(TASK, strategies=["w"])\ndef test_parity(better_together, bt_baseline):\n'
    '    assert better_together().harness(["choose.yaml", "say.yaml"]) >= bt_baseline',
)


@pytest.fixture
def guarded(suite):
    lines = [json.dumps({"number": n, "parity": ("even", "odd")[n % 2]}) for n in range(1, 91)]
    (suite.path / "numbers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (suite.path / "choose.yaml").write_text(CHOOSE, encoding="utf-8")
    (suite.path / "say.yaml").write_text(SAY, encoding="utf-8")
    suite.makeconftest(SOUND)
    suite.makepyfile(test_parity=GUARDED)
    return suite


def ran(suite, *args):
    return run(suite, "--bt-seeds=0,1", "--bt-report=json:r.json", *args)


def cell(suite):
    report = json.loads((suite.path / "r.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    (only,) = report["cells"]
    return only


def test_what_is_no_worse_than_the_base_model_passes_and_is_shown_in_its_own_table(guarded, monkeypatch):
    done = ran(guarded, "--bt-report=md:r.md", "--bt-detect=30")
    done.assert_outcomes(passed=1)
    told = " ".join(" ".join(done.outlines).split())
    assert "what else changed with parity w on parrot: choose (acc), n = 90: 100.0 to 100.0 %, +0.0 [" in told
    markdown = (guarded.path / "r.md").read_text(encoding="utf-8")
    assert "| what else changed" in markdown
    monkeypatch.setenv("COLUMNS", "150")
    ran(guarded, "--bt-detect=30").stdout.fnmatch_lines(
        [
            "what else changed *lm-eval task * n *base *now *difference *gate",
            "parity w on parrot *choose (acc) *90 *100.0 *100.0 *+0.0 [[]*[]] *base within 1: holds",
            "parity w on parrot *say (exact_match) *90 *100.0 *100.0 *+0.0 [[]*[]] *base within 1: holds",
        ]
    )
    found = cell(guarded)
    assert found["status"] == "passed"
    assert [each["task"] for each in found["abilities"]] == ["choose", "say"]
    choose = found["abilities"][0]
    assert (choose["metric"], choose["n"], choose["base"], choose["score"]) == ("acc,none", 90, 1.0, 1.0)
    assert choose["gates"][0]["alpha"] == pytest.approx(0.05 / 2)
    assert choose["interval"][0] < 0 < choose["interval"][1]
    assert choose["provenance"]["model"] if "model" in choose["provenance"] else choose["provenance"]["backend"]
    assert len(choose["provenance"]["adapters"].split()) == 2
    assert "| parity w on parrot | choose (acc)" in " ".join((guarded.path / "r.md").read_text().split())


def test_what_forgot_too_much_fails_and_says_what_and_by_how_much(guarded):
    guarded.makeconftest(FORGETFUL)
    done = ran(guarded)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E * assert harness: 2 of 2 tasks fail against the base model",
            "E * say exact_match,none: 100.0% -> 66.7%, -33.3 points [[]-*[]], p = * for worse by more than 1 points, "
            "significant up to 0.025: worse",
            "E * choose acc,none: 100.0% -> 83.3%, *: worse",
            "E * it stands outside the session's error budget, and the tasks share --bt-alpha",
        ]
    )
    done.stdout.fnmatch_lines(["test_parity.py W *"])
    found = cell(guarded)
    assert found["status"] == "worse"
    assert [each["gates"][0]["verdict"] for each in found["abilities"]] == ["worse", "worse"]
    guarded.makepyfile(test_parity=GUARDED.replace("within=1)", "within=45)"))
    ran(guarded).assert_outcomes(passed=1)


def test_where_nothing_is_gated_the_table_is_shown_and_the_test_passes(guarded):
    guarded.makeconftest(FORGETFUL)
    for option in ("--bt-gate=off", "--bt-limit=20"):
        ran(guarded, option).assert_outcomes(passed=1)
        found = cell(guarded)
        assert found["status"] == "not_gated"
        assert [each["gates"] for each in found["abilities"]] == [[], []]
    assert found["abilities"][0]["n"] == 20
    assert found["abilities"][0]["identity"]["documents"].endswith("the first 20")
    guarded.makepyfile(test_parity=GUARDED.replace('strategies=["w"]', 'strategies=["w", "p"], gate=["p"]'))
    ran(guarded, "--bt-strategy=w").assert_outcomes(passed=1)


def test_a_guard_that_is_too_small_to_tell_is_flagged_and_fails_on_request(guarded):
    ran(guarded, "--bt-detect=1").stdout.fnmatch_lines(["test_parity.py t *", "*base within 1: too small to tell"])
    assert cell(guarded)["status"] == "too_small"
    done = ran(guarded, "--bt-detect=1", "--bt-too-small=fail")
    done.assert_outcomes(failed=1)
    assert cell(guarded)["status"] == "too_small"


def test_a_committed_baseline_holds_what_else_the_model_can_do(guarded):
    guarded.makepyfile(test_parity=RECORDED)
    ran(guarded).assert_outcomes(errors=1)  # no baseline of the cell itself
    ran(guarded, "--bt-update-baselines").assert_outcomes(passed=1)
    kept = json.loads((guarded.path / "baselines" / "parity.json").read_text())["cells"]["parrot-w"]["harness"]
    assert kept["choose"]["seeds"] == ["1" * 90] * 2
    assert kept["say"]["score"] == 1.0
    ran(guarded).assert_outcomes(passed=1)
    (gate,) = cell(guarded)["abilities"][0]["gates"]
    # The cell and its harness share the session's 5 %, and the two tasks the harness's part of them.
    assert (gate["against"], gate["alpha"]) == ("baseline", pytest.approx(0.05 / 2 / 2))

    guarded.makeconftest(FORGETFUL)
    done = ran(guarded)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E * 2 of 2 tasks fail against the baseline", "E * accept that with: pytest *--bt-upd*"])
    assert cell(guarded)["status"] == "worse"


def test_a_baseline_that_lacks_a_task_or_no_longer_fits_it_is_an_error_that_says_so(guarded):
    guarded.makepyfile(test_parity=RECORDED.replace(', "say.yaml"', ""))
    ran(guarded, "--bt-update-baselines").assert_outcomes(passed=1)
    guarded.makepyfile(test_parity=RECORDED)
    done = ran(guarded)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*no baseline for lm-eval task 'say' of parrot-w in baselines/parity.json"])
    with (guarded.path / "numbers.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"number": 91, "parity": "odd"}')
    guarded.makepyfile(test_parity=RECORDED.replace(', "say.yaml"', ""))
    done = ran(guarded)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*'choose' of parrot-w in baselines/parity.json is stale, *these changed: documents"])


def test_recording_by_another_test_of_the_cell_keeps_what_was_recorded(guarded):
    other = """

@pytest.mark.bettertogether(TASK, strategies=["w"])
def test_it(better_together, bt_baseline):
    assert better_together() >= bt_baseline
"""
    guarded.makepyfile(test_parity=RECORDED + other)
    ran(guarded, "--bt-update-baselines").assert_outcomes(passed=2)
    before = (guarded.path / "baselines" / "parity.json").read_text()
    ran(guarded, "--bt-update-baselines", "-k", "test_it").assert_outcomes(passed=1)
    assert (guarded.path / "baselines" / "parity.json").read_text() == before
    assert json.loads(before)["cells"]["parrot-w"]["gated"] is True
    ran(guarded).assert_outcomes(passed=2)
    assert len(cell(guarded)["abilities"]) == 2


def test_a_suite_that_shares_the_cells_of_another_makes_none_of_them_obsolete(guarded):
    guarded.makepyfile(test_parity=SUITE.replace("TASK = Task(", 'TASK = Task(name="parity", '))
    ran(guarded, "--bt-update-baselines", "--bt-strategy=w", "--bt-strategy=zero").assert_outcomes(passed=2)
    shared = GUARDED[GUARDED.index("@pytest.mark") :]
    guarded.makepyfile(
        test_beside=f"import pytest\nfrom test_parity import TASK\n"
        f"from pytest_bettertogether import base_model, harness_task\n\n\n{shared}"
    )
    alone = ran(guarded, "test_beside.py")
    alone.assert_outcomes(passed=1)
    alone.stdout.no_fnmatch_line("*(obsolete, *")
    ran(guarded, "--bt-strategy=w").assert_outcomes(passed=2)
    assert len(cell(guarded)["abilities"]) == 2


def test_an_lm_eval_task_is_a_task_of_ours_with_plan_baseline_and_refusals(guarded):
    guarded.makepyfile(
        test_say="""
        import pytest
        from pytest_bettertogether import harness_task

        @pytest.mark.bettertogether(harness_task("say.yaml"), strategies=["zero", "w"])
        def test_say(better_together, bt_baseline):
            assert better_together() >= bt_baseline
        """,
        test_parity="",
    )
    run(guarded, "--bt-plan").stdout.fnmatch_lines(["say[[]parrot-zero[]] *test *0 * 90 *"])
    run(guarded, "--bt-update-baselines", "test_say.py").assert_outcomes(passed=1, skipped=1)
    kept = json.loads((guarded.path / "baselines" / "say.json").read_text())["cells"]
    assert kept["parrot-zero"]["n"] == 90
    assert kept["parrot-zero"]["identity"]["metric"].startswith("lm-eval say exact_match,none")
    assert "in its own form" in kept["parrot-w"]["refused"]
    run(guarded, "test_say.py").assert_outcomes(passed=1, skipped=1)
    run(guarded, "--bt-plan").stdout.fnmatch_lines(["say[[]parrot-zero[]] *test *270 *0 *"])
    (guarded.path / "say.yaml").write_text(SAY.replace('until: ["."]', 'until: ["e"]'), encoding="utf-8")
    # A changed prompt is compared (this engine knows no stop), a changed target is another metric.
    run(guarded, "test_say.py").assert_outcomes(passed=1, skipped=1)
    changed = SAY.replace("doc_to_target: parity", "doc_to_target: number")
    (guarded.path / "say.yaml").write_text(changed, encoding="utf-8")
    run(guarded, "test_say.py").stdout.fnmatch_lines(["*stale, since it was recorded these changed: the metric*"])


WRONG = {
    'harness("choose.yaml")': "*takes a list of lm-eval tasks, as in harness([[]'choose.yaml'[]])*",
    "harness([])": "*takes different lm-eval tasks, at least one: got none*",
    'harness(["say.yaml", "say.yaml"])': "*takes different lm-eval tasks*: got say, say*",
    "harness([TASK])": "*lm-eval tasks in their own form, not the task*",
    'harness(["absent.yaml"])': "*absent.yaml: cannot be read*",
    'harness(["say.yaml"], shots=3)': "*harness() takes num_fewshot, chat, multiturn, metric, filter, got*",
    'harness(["say.yaml"], metric="f1")': "*'say' has no metric 'f1': it has exact_match*",
    'harness(["say.yaml"], chat=True)': "*engine does not show its chat template*",
}


def test_what_cannot_be_measured_is_one_sentence(guarded):
    tests = [
        f'@pytest.mark.bettertogether(TASK, strategies=["w"])\n'
        f"def test_{i}(better_together):\n    better_together().{asked}\n"
        for i, asked in enumerate(WRONG)
    ]
    guarded.makepyfile(test_parity="\n\n".join([GUARDED, *tests]))
    done = ran(guarded)
    done.assert_outcomes(passed=1, failed=len(WRONG))
    for words in WRONG.values():
        done.stdout.fnmatch_lines([words])


def test_an_engine_that_breaks_and_a_budget_that_ends_are_no_scores(guarded):
    guarded.makeconftest(SOUND.replace("number = int(text.split()[-1])", 'raise OSError("gone")'))
    ran(guarded).assert_outcomes(failed=1)
    assert cell(guarded)["status"] == "invalid"
    guarded.makeconftest(SOUND)
    ran(guarded, "--bt-max-calls=400").assert_outcomes(failed=1)
    found = cell(guarded)
    assert (found["status"], "abilities" in found) == ("stopped", False)
    ran(guarded).assert_outcomes(passed=1)


ONE = SideEffect("t", "acc,none", ("0", "1"), ((1.0, 0.0),), ((1.0, 1.0),), {"task": "t"}, {"model": "m"})


def test_records_go_to_json_and_back():
    result = CellResult("x", "m", "w", (), {})
    items = []
    found = SideEffects((ONE,), Terms(0.05), note=items.extend)
    assert found >= base_model()
    record = CellRecord("x", "m", "w", "passed", result=result, side_effects=tuple(items))
    back = CellRecord.from_json(json.loads(json.dumps(record.to_json())))
    assert back == record
    assert back.side_effects[0].gates[0].verdict == "too_small"
    entries = list(side_effect_entries(view(replace(record, result=None))))
    assert side_effects_read(json.loads(json.dumps(entries))) == record.side_effects
    with pytest.raises(RuntimeError, match=r"x\[m-w\] was read from a file: harness\(\['t'\]\) asks the engine"):
        back.result.harness(["t"])


def test_a_result_that_can_be_measured_is_the_plain_one_in_all_else():
    plain = CellResult("x", "m", "w", (), {"identity": {}})
    bound = MeasurableResult.of(plain, lambda tasks, **form: (tasks, form))
    assert bound.harness(["t"], chat=True) == (["t"], {"chat": True})
    assert isinstance(bound, CellResult)
    assert bound.to_json() == plain.to_json()
    assert CellResult.from_json(bound.to_json()) == plain
    assert bound == MeasurableResult.of(plain, print)
    with pytest.raises(RuntimeError, match="was read from a file"):
        replace(bound, task="y").harness(["t"])


def test_small_things():
    found = SideEffects((ONE,), Terms(0.05))
    assert (found["t"].score, found["t"].base, [each.n for each in found]) == (1.0, 0.5, [2])
    assert repr(found) == "t 50.0% -> 100.0%"
    with pytest.raises(KeyError, match="measured: t"):
        found["u"]
    with pytest.raises(TypeError):
        assert found >= 0.5
    assert explain(found, 0.5) == ["t 50.0% -> 100.0% compares with base_model(within=1) and with bt_baseline"]
    for wrong in (-1, 100):
        with pytest.raises(ValueError, match="points of the score"):
            base_model(within=wrong)
    assert side_effect_table([], "github", str) == []

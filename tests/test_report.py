"""Reports: the comparison as text, Markdown and JSON."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema

from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.cells import in_order
from pytest_bettertogether.report.document import document
from pytest_bettertogether.report.markdown import markdown
from pytest_bettertogether.report.text import ASCII, UNICODE, Style, lines
from pytest_bettertogether.results.cell_records import CellRecord, GateRecord, Paid
from pytest_bettertogether.results.cell_results import CellResult, ExampleScore, SeedResult, StepRecord, Usage

GOLDEN = Path(__file__).parent / "golden"


def cell(task, strategy, *right, n=20, model="tiny", refused=""):
    steps = tuple(
        StepRecord(strategy[: i + 1], Usage(100, 2000, 300), 100, 12, 3, 1.0, train_steps=40 * (step == "w"))
        for i, step in enumerate("" if strategy == "zero" else strategy)
    )
    seeds = tuple(
        SeedResult(
            seed,
            () if refused else tuple(ExampleScore(str(i), float(i < count)) for i in range(n)),
            Usage(20, 400, 60),
            2.0,
            steps,
            refused,
        )
        for seed, count in enumerate(right or (0,))
    )
    return CellResult(task, model, strategy, seeds, {})


def record(result, status="passed", **details):
    return CellRecord(result.task, result.model, result.strategy, status, result=result, **details)


GATE = GateRecord(
    "gated", 0.025, True, "too_small", 0.9, 0.025, (-0.1, 0.15), 0.8, "a test", 0.0, 0.143, ("3",), ("4", "5")
)
RECORDS = [
    record(cell("iris", "pwp", 19, 18), "too_small", gate=GATE),
    record(cell("iris", "zero", 7, 6), "not_gated"),
    record(cell("iris", "p", 15, 11), "worse"),
    record(
        cell("iris", "w", refused="step w after zero: 3 of 60 program runs passed the metric"),
        "refused",
        reason="seed 0: step w after zero: 3 of 60 program runs passed the metric",
    ),
    record(cell("sums", "pwp", 13, 13, n=30), paid=Paid(Usage(7, 8, 9), 3, 1.5)),
    record(cell("sums", "wpw", 13, 13, n=30)),
    CellRecord("sums", "tiny", "p", "invalid", "ProgramError: forward raised KeyError('x') on example 'e1'"),
    CellRecord("sums", "tiny", "w", "skipped"),
    record(cell("iris", "zero", 0, 20, model="other"), "not_gated"),
]


def test_the_table_is_as_agreed():
    text = "\n".join(lines(build(RECORDS))) + "\n"
    assert text == (GOLDEN / "report.txt").read_text(encoding="utf-8")


def test_it_does_not_depend_on_the_order_of_arrival():
    assert list(lines(build(RECORDS))) == list(lines(build(RECORDS[::-1])))


def test_verbose_shows_the_seeds_behind_each_mean():
    shown = list(lines(build(RECORDS), Style(width=120, verbosity=1)))
    assert "iris[tiny-pwp] seed 0: 95.0, seed 1: 90.0, standard deviation 3.5, 0 unparsable" in shown


def test_it_can_do_without_unicode():
    text = "\n".join(lines(build(RECORDS), Style(ASCII)))
    assert text.isascii()
    assert UNICODE.fit("utf-8")
    assert not UNICODE.fit("ascii")


def test_steps_that_strategies_share_are_counted_once():
    once = list(lines(build([record(cell("iris", "pwp", 19))]), Style(width=500)))
    shared = list(lines(build([record(cell("iris", each, 19)) for each in ("pwp", "pw", "p")]), Style(width=500)))
    once, shared = ([line for line in said if "training step" in line or "LM calls" in line] for said in (once, shared))
    assert once[0] == shared[0] == "2 prompt steps, 1 weight step, 40 training steps"
    assert once[1].startswith("320 LM calls, ")
    assert shared[1].startswith("360 LM calls, ")


def test_two_tests_of_one_cell_are_one_entry_and_the_graver_end_shows():
    good, bad = record(cell("iris", "p", 15)), record(cell("iris", "p", 15), "failed")
    assert [each.status for each in in_order([good, bad, good])] == ["failed"]


def test_a_cell_that_got_nothing_right_shows_what_was_said():
    result = cell("iris", "p", 0)
    (seed,) = result.seeds
    examples = tuple(replace(each, said={"kind": "answer: rose\x1b[31m"}) for each in seed.examples)
    shown = list(lines(build([record(replace(result, seeds=(replace(seed, examples=examples),)))])))
    assert "iris[tiny-p] got nothing right; on example '0' it said kind: 'answer:" in shown
    assert "  rose\\x1b[31m'" in shown


def test_weight_steps_whose_traces_all_agree_are_warned_of():
    def agreeing(strategy):
        result = cell("iris", strategy, 15)
        (seed,) = result.seeds
        steps = tuple(replace(step, distinct_outputs=1, train_rows=9 * ("w" in step.path)) for step in seed.steps)
        return record(replace(result, seeds=(replace(seed, steps=steps),)))

    said = lines(build([agreeing("w"), agreeing("pw"), agreeing("p")]), Style(width=500))
    warnings = [line for line in said if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: iris on tiny: all traces that w, pw trained on had one output")


RUN = {
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 1.5,
    "version": "0",
    "python": "3",
    "platform": "p",
    "commit": "",
    "arguments": [],
}


def test_the_json_document_keeps_to_its_schema():
    schema = json.loads((Path(document.__code__.co_filename).parent / "schema-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    made = json.loads(json.dumps(document(build(RECORDS, RUN))))
    jsonschema.validate(made, schema)
    assert [each["id"] for each in made["cells"]][:3] == ["iris[other-zero]", "iris[tiny-zero]", "iris[tiny-p]"]
    by_id = {each["id"]: each for each in made["cells"]}
    assert by_id["iris[tiny-pwp]"]["score"] == 37 / 40
    assert by_id["iris[tiny-w]"]["score"] is None
    assert by_id["sums[tiny-p]"]["reason"].startswith("ProgramError")
    assert by_id["sums[tiny-pwp]"]["cost"]["paid_now"]["lm_calls"] == 7


def test_markdown_is_as_agreed_and_takes_no_markup_from_others():
    hostile = replace(RECORDS[6], reason="<script>`x`</script> | a * b")
    text = markdown(build([*RECORDS[:6], hostile, *RECORDS[7:]]))
    assert text == (GOLDEN / "report.md").read_text(encoding="utf-8")


def test_records_go_to_json_and_back():
    for each in RECORDS:
        assert CellRecord.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_a_table_that_is_too_wide_is_several():
    many = [record(cell(f"a-task-with-a-long-name-{i}", "p", 15)) for i in range(5)]
    assert max(map(len, lines(build(many)))) <= 80
    narrow = list(lines(build(many), Style(width=50)))
    assert max(map(len, narrow)) <= 50
    assert sum(line.startswith("tiny ") for line in narrow) == 5


def test_colour_is_extra_and_quiet_is_short():
    painted = list(lines(build(RECORDS), Style(paint=lambda text, meaning: f"<{meaning}>{text}</>")))
    assert any("<best>*</>" in line for line in painted)
    assert any("<bad>✗</>" in line for line in painted)
    quiet = list(lines(build(RECORDS), Style(verbosity=-1)))
    assert not any("best of its column" in line or "LM calls" in line for line in quiet)
    assert "iris[tiny-w] refused: seed 0: step w after zero: 3 of 60 program runs passed the" in quiet


def test_what_cannot_be_told_from_the_best_is_marked():
    cells = [record(cell("iris", strategy, right, n=100)) for strategy, right in (("p", 90), ("w", 88), ("pw", 60))]
    report = build(cells)
    assert {cell.title: cell.place for cell in report.cells} == {"p": "best", "w": "tied", "p → w": ""}
    assert any("88.0" in line and "≈" in line for line in lines(report))

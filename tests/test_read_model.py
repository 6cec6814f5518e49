"""The read model: made once, by one function; outlets print it. And what it says of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made import RUN, gate, hostile, made, recorded
from structure import ROOT, imports

from pytest_bettertogether.command.cli import main
from pytest_bettertogether.gate import intervals
from pytest_bettertogether.pipeline.steps import PROMPTS
from pytest_bettertogether.report import building
from pytest_bettertogether.report.building import build, view
from pytest_bettertogether.report.document import DocumentError, document, read
from pytest_bettertogether.report.github import annotations
from pytest_bettertogether.report.html import html
from pytest_bettertogether.report.markdown import markdown, step_summary
from pytest_bettertogether.report.redaction import without_secrets
from pytest_bettertogether.report.samples import samples
from pytest_bettertogether.report.text import Style, lines
from pytest_bettertogether.results.cell_records import CellRecord, Paid
from pytest_bettertogether.results.cell_results import Usage

OUTLETS = (
    *("text", "markdown", "html", "charts", "payload", "document", "github", "samples"),
    *("summary", "side_effects", "comparison_text"),
)
STRATEGIES = ("zero", "p", "w", "pp", "ww", "pw", "wp", "pwp")


@pytest.mark.parametrize("name", OUTLETS)
def test_no_outlet_knows_statistics(name):
    used = set(imports(ROOT / "report" / f"{name}.py"))
    assert not {module for module in used if module.startswith("pytest_bettertogether.gate")}
    assert not {module.split(".")[0] for module in used} & {"statistics", "math", "numpy", "scipy"} - (
        {"math"} if name == "comparison_text" else set()  # it asks whether a p-value is one
    )


def test_all_outlets_of_24_cells_cost_24_intervals(monkeypatch):
    asked = []

    def counted(outcomes, clusters=None):
        asked.append(outcomes)
        return interval(outcomes, clusters)

    interval = intervals.mean_interval
    monkeypatch.setattr(intervals, "mean_interval", counted)
    monkeypatch.setattr(building, "mean_interval", counted)
    cells = [
        recorded(made(task, strategy=strategy, n=6, text="x")) for task in ("a", "b", "c") for strategy in STRATEGIES
    ]
    cells[0] = replace(cells[0], status="worse", gate=gate(6))
    report = build(cells, RUN)
    for outlet in (lines, markdown, step_summary, html, document, annotations, samples):
        made_of = outlet(report)
        assert list(made_of)
    assert len(asked) == 24


def test_a_cell_by_itself_is_shown_as_among_others():
    record = recorded(made(text="x"), gate=gate(40))
    (among,) = build([record]).cells
    assert replace(among, place="") == view(record)


def said(records, **style):
    return "\n".join(lines(build(records), Style(**{"width": 1000, **style})))


def test_calls_that_cells_share_are_not_called_replayed():
    """On an empty journal, two cells ask a model the same thing, and it is asked once."""
    first = recorded(made(strategy="p", text="x"), paid=Paid(Usage(240, 1, 1)))
    second = recorded(made(strategy="zero", text="x"), paid=Paid(Usage(1, 1, 1)))
    text = said([first, second])
    assert "280 LM calls" in text
    assert "shared or replayed: 39 calls; made now: 241 calls" in text
    assert "\nreplayed" not in text


def test_an_interrupted_run_does_not_say_that_it_took_nothing():
    stopped = CellRecord("qa", "tiny", "pwp", "stopped", "interrupted", paid=Paid(Usage(761, 1, 1)))
    text = said([stopped])
    assert "made now: 761 calls, 761 of them in cells without a result" in text
    assert "0 LM calls" not in text
    text = said([stopped, recorded(made(strategy="zero", text="x"), paid=Paid(Usage(40, 1, 1)))])
    assert "40 LM calls" in text
    assert "shared or replayed: 0 calls; made now: 801 calls, 761 of them in cells without a result" in text


def test_a_refused_step_is_no_step_that_was_done():
    result = made(strategy="w", text="x", seeds=(0, 1))
    seeds = tuple(replace(seed, examples=(), refused="3 of 60 runs passed") for seed in result.seeds)
    text = said([recorded(replace(result, seeds=seeds), "refused")])
    assert "0 prompt steps, 0 weight steps (2 more refused), 0 training steps" in text


def test_a_failed_cell_is_not_the_best_of_its_column():
    top = made(strategy="pwp", text="x")
    low = made(strategy="p", text="x")
    (seed, *_) = low.seeds
    low = replace(low, seeds=(replace(seed, examples=tuple(replace(one, score=0.0) for one in seed.examples)),))
    for status in ("failed", "worse", "stopped"):
        places = {cell.title: cell.place for cell in build([recorded(top, status), recorded(low)]).cells}
        assert places == {"p": "best", "p → w → p": ""}


def scored(right, n, seeds=1):
    result = made(n=n, seeds=range(seeds), text="x")
    changed = []
    for seed in result.seeds:
        examples = tuple(replace(one, score=float(i < right)) for i, one in enumerate(seed.examples))
        changed.append(replace(seed, examples=examples))
    return recorded(replace(result, seeds=tuple(changed)))


@pytest.mark.parametrize(
    ("right", "n", "shown"),
    [
        (0, 5, "0.0 [ 0.0, 43.4]"),
        (196, 200, "98.0 [95.0, 99.2]"),
        (200, 200, "100.0 [98.1, 100.0]"),
        (100, 200, "50.0 ±  6.9"),
    ],
)
def test_an_interval_is_shown_as_it_is(right, n, shown):
    assert shown in said([scored(right, n)])


def test_one_report_shows_all_intervals_in_one_form():
    even, skewed = scored(100, 200), replace(scored(196, 200), task="other")
    text = said([even, skewed])
    assert "[its 95 % interval]" in text
    assert "±" not in text
    assert "± half its 95 % interval" in said([even])


def test_files_in_json_are_named_relative_to_the_root(tmp_path):
    file = tmp_path / "suites" / "baselines" / "qa.json"
    record = recorded(made(text="x"), baselines=str(file))
    run = {**RUN, "arguments": [f"--bt-report=json:{tmp_path}/out/r.json"]}
    text = json.dumps(document(build([record], run, tmp_path)))
    assert str(tmp_path) not in text
    assert '"suites/baselines/qa.json"' in text
    elsewhere = json.loads(json.dumps(document(build([record], run, tmp_path / "other"))))
    assert elsewhere["cells"][0]["baselines"] == str(file)


SECRETS = [
    "--bt-retrieval=http://user:hunter2@host:8893/api?token=hunter2",
    "--bt-retrieval=http://user:hun/ter2hunter2@host/",
    "--bt-retrieval=http://user:hunter2#x@host/?a=b@c",
    "--bt-model=https://host/v1?key=hunter2#name",
    "--dsn=postgres://me:hunter2@db/x#access_token=hunter2",
    "--proxy=me:hunter2@host:8080",
    "--other-api-key=hunter2",
    "--bt-engine=hf_token=hunter2",
    "--bt-engine=headers=Authorization: Bearer hunter2",
    "--githubToken=hunter2",
    "-oapi_password=hunter2",
]


@pytest.mark.parametrize("argument", SECRETS)
def test_no_secret_of_the_command_line_is_in_a_report(argument):
    report = build([recorded(made(text="x"))], {**RUN, "arguments": ["suites/", argument]})
    assert "hunter2" not in json.dumps(document(report))
    assert "hunter2" not in html(report)
    assert "suites/" in html(report)


def test_what_is_no_secret_stays():
    kept = [
        *("suites/test_key.py::test_token[tiny-p]", "-k", "token and not key", "--bt-max-tokens=5"),
        *("--bt-model=http://host:8000/v1#name", "--bt-set=lora.rank=8", "--bt-engine=max_num_batched_tokens=9"),
    ]
    assert without_secrets(kept) == kept
    assert without_secrets(["--my-secret", "hunter2", "--lf"]) == ["--my-secret", "***", "--lf"]
    assert without_secrets(SECRETS) == without_secrets(without_secrets(SECRETS))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["cells"][0]["seeds"][0]["examples"].clear(),
        lambda data: data["cells"][0]["seeds"][0]["examples"][0].update(score="1"),
        lambda data: data["cells"][0].update(status="fine"),
        lambda data: data.update(run=5),
        lambda data: data["run"].update(arguments=5),
    ],
)
def test_a_damaged_document_is_refused_in_one_line(damage, tmp_path, capsys):
    data = json.loads(json.dumps(document(build(hostile(), RUN))))
    damage(data)
    with pytest.raises(DocumentError, match="not a whole report"):
        read(data, "r.json")
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert main(["report", str(tmp_path / "r.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_document_that_an_older_version_wrote_is_read():
    data = json.loads((Path(__file__).parent / "golden" / "schema-1.json").read_text(encoding="utf-8"))
    report = read(data, "schema-1.json")
    assert [cell.record.gate.verdict for cell in report.cells if cell.gate] == ["too_small"]
    assert "too small to tell" in "\n".join(lines(report))


def test_a_document_that_does_not_describe_a_step_it_names_is_none():
    data = json.loads(json.dumps(document(build([recorded(made(text="x"))], RUN))))
    (cell, *_) = data["cells"]
    cell["strategy"] = "qw"
    with pytest.raises(DocumentError, match="does not describe step 'q'"):
        read(data, "a.json")
    kind = {**PROMPTS.to_json(), "letter": "q", "name": "quiz"}
    assert read({**data, "steps": [kind]}, "a.json").kinds["q"].name == "quiz"
    for broken in ({**kind, "colours": ["url(//x)", "#000000"]}, {**kind, "letter": "p"}, {"letter": "q"}, "q", None):
        with pytest.raises(DocumentError, match="not a whole report"):
            read({**data, "steps": [broken]}, "a.json")

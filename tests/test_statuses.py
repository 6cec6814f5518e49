"""One table of statuses: it is whole, it is the only one, and what older versions wrote is read."""

import ast
import json
from dataclasses import fields
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from made import RUN, gate, made, recorded

from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.cells import in_order
from pytest_bettertogether.report.document import DocumentError, document, read
from pytest_bettertogether.report.github import annotations
from pytest_bettertogether.report.html import html
from pytest_bettertogether.report.markdown import step_summary
from pytest_bettertogether.report.text import ASCII, Style, lines
from pytest_bettertogether.results.cell_records import CellRecord
from pytest_bettertogether.results.side_effects import SideEffect, SideEffectGate
from pytest_bettertogether.results.statuses import (
    STATUSES,
    VERDICT_WORDS,
    Mode,
    PytestOutcome,
    Status,
    StatusFacts,
    Verdict,
    gravest,
)

ROOT = Path(__file__).parent.parent / "pytest_bettertogether"
PYTESTS_OWN = set(get_args(PytestOutcome))
"""pytest's words for how a test ended; a list of these alone is no table of statuses."""
SCHEMA = json.loads((ROOT / "report" / "schema-1.json").read_text(encoding="utf-8"))


def test_each_status_has_an_entry_and_each_entry_all_that_is_asked():
    assert tuple(STATUSES) == get_args(Status), "one order, the gravest first"
    assert SCHEMA["$defs"]["cell"]["properties"]["status"]["enum"] == list(STATUSES)
    assert SCHEMA["$defs"]["gate"]["properties"]["mode"]["enum"] == list(get_args(Mode))
    assert SCHEMA["$defs"]["gate"]["properties"]["verdict"]["enum"] == list(get_args(Verdict))
    for status, facts in STATUSES.items():
        assert facts.word
        assert facts.meaning[0].isupper()
        assert facts.meaning.endswith(".")
        assert facts.counted in PYTESTS_OWN
        assert len(facts.letter) == 1
        assert len(facts.sign) == len(facts.ascii) <= 1, "signs are exchanged one by one"
        assert facts.ascii.isascii()
        if facts.counted == "failed":
            assert (facts.colour, facts.annotation, facts.recordable, facts.held) == ("bad", "error", False, False), (
                status
            )
    letters = [facts.letter for facts in STATUSES.values()]
    assert len(set(letters)) == len(letters)
    assert set(VERDICT_WORDS) == set(get_args(Verdict))


def test_a_status_that_forgets_something_cannot_be_made():
    needed = {field.name: "x" for field in fields(StatusFacts)}
    for name in needed:
        with pytest.raises(TypeError, match=name):
            StatusFacts(**{key: value for key, value in needed.items() if key != name})


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_spells_a_table_of_statuses(path):
    if path == ROOT / "results" / "statuses.py":
        return
    assert list(tables(path.read_text(encoding="utf-8"))) == []


def test_that_test_finds_each_form_of_a_table():
    spelled = (
        'A = ("worse", "failed")',
        'A = {"too_small": 1, "not_gated": 2}',
        'A = Literal["holds", "worse", "too small"]',
        'if status in ["invalid", "stopped"]: pass',
        'A = {"refused", "skipped"}',
        'match a:\n    case "worse" | "invalid": pass',
    )
    assert all(list(tables(text)) for text in spelled)
    assert not list(tables('A = ("passed", "failed", "skipped"); B = ("worse", "lost"); C = f(a="worse", b="failed")'))


def tables(text):
    """Collections of a module that name two statuses or more, and not only pytest's own words."""
    known = {spelling for name in (*STATUSES, *get_args(Verdict)) for spelling in (name, name.replace("_", " "))}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts
        elif isinstance(node, ast.Dict):
            parts = node.keys
        elif isinstance(node, ast.MatchOr):
            parts = [pattern.value for pattern in node.patterns if isinstance(pattern, ast.MatchValue)]
        else:
            continue
        named = {part.value for part in parts if isinstance(part, ast.Constant) and part.value in known}
        if len(named) > 1 and not named <= PYTESTS_OWN:
            yield sorted(named)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("scored", [True, False])
def test_every_outlet_shows_a_status_by_its_one_sign_and_word(status, scored):
    facts = STATUSES[status]
    record = recorded(made(text="plain"), status, reason="the reason")
    if not scored:
        record = CellRecord("qa", "tiny", "pwp", status, "the reason")
    other = recorded(made(strategy="p", text="plain"), "not_gated")  # as good, so that neither is the best alone
    report = build([record, other], RUN)
    for style, sign in ((Style(), facts.sign), (Style(ASCII), facts.ascii)):
        row = next(line for line in lines(report, style) if line.startswith(("p → w → p", "p -> w -> p")))
        if facts.colour == "bad" or not scored:
            none = STATUSES["skipped"].ascii if style.marks is ASCII else STATUSES["skipped"].sign
            assert row.split()[-1] == (sign or none)
    page = html(report)
    square = page[page.index("p → w → p") :][:400]
    assert facts.sign in square
    assert facts.word in square
    assert facts.meaning in page
    levels = [line.split()[0] for line in annotations(build([record]))]
    assert levels == ([f"::{facts.annotation}"] if facts.annotation else [])
    assert (facts.word in step_summary(build([record])).splitlines()[0]) == (facts.annotation == "error")
    assert json.loads(json.dumps(document(build([record], RUN))))["cells"][0]["status"] == status


def test_of_two_tests_of_a_cell_the_graver_end_is_shown():
    result = made()
    for graver, milder in zip(STATUSES, [*STATUSES][1:], strict=False):
        both = [recorded(result, milder), recorded(result, graver)]
        assert in_order(both)[0].status == in_order(both[::-1])[0].status == graver


def test_the_gravest_verdict_counts():
    assert gravest(["holds", "too_small"]) == "too_small"
    assert gravest(["worse", "refused", "too_small"]) == "refused"
    assert gravest([]) is None


def test_a_report_that_an_older_version_wrote_is_read_and_written_in_todays_spelling():
    known = SideEffectGate("base", "too_small", 0.5, -0.1, (-0.2, 0.0), 0.3, 0.05, 0.01, None, "a test")
    ability = SideEffect("arc", "acc,none", ("0",), ((1.0,),), ((0.0,),), {}, {}, (known,))
    records = [recorded(made(), "too_small", gate=gate(40, "too_small"), side_effects=(ability,))]
    today = json.loads(json.dumps(document(build(records, RUN))))
    jsonschema.validate(today, SCHEMA)
    old = json.loads(json.dumps(today))
    old["cells"][0]["gate"].update(mode="not gated", verdict="too small")
    old["cells"][0]["abilities"][0]["gates"][0]["verdict"] = "too small"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(old, SCHEMA)
    (cell,) = read(old, "old.json").cells
    record = cell.record
    assert (record.gate.mode, record.gate.verdict) == ("not_gated", "too_small")
    assert record.side_effects == (ability,)
    jsonschema.validate(json.loads(json.dumps(document(build([record], RUN)))), SCHEMA)


@pytest.mark.parametrize(("place", "value"), [("status", "fine"), ("mode", "sometimes"), ("verdict", ["worse"])])
def test_a_report_with_a_status_of_nobodys_is_refused(place, value):
    data = json.loads(json.dumps(document(build([recorded(made(), "worse", gate=gate(40))], RUN))))
    (data["cells"][0] if place == "status" else data["cells"][0]["gate"])[place] = value
    with pytest.raises(DocumentError, match=r"x\.json: not a whole report"):
        read(data, "x.json")

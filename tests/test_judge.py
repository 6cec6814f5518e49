"""One judge: the cell gate, the gate on side effects and the comparison of two runs decide alike."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bettertogether.gate.baselines import Recorded, RecordedSideEffect
from pytest_bettertogether.gate.failure_texts import explain
from pytest_bettertogether.gate.judge import Terms, judge
from pytest_bettertogether.gate.side_effects import SideEffects
from pytest_bettertogether.gate.statistics import Comparison
from pytest_bettertogether.gate.verdict import Baseline
from pytest_bettertogether.pipeline.errors import BaselineError
from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.comparison import pairs
from pytest_bettertogether.report.comparison_text import comparison_lines
from pytest_bettertogether.report.text import Style
from pytest_bettertogether.results.cell_records import CellRecord
from pytest_bettertogether.results.cell_results import CellResult, ExampleScore, SeedResult, Usage
from pytest_bettertogether.results.side_effects import SideEffect, base_model


def result(scores, strategy="pwp"):
    examples = tuple(ExampleScore(f"e{i}", score) for i, score in enumerate(scores))
    seed = SeedResult(0, examples, Usage(), 0.0, ())
    return CellResult("qa", "tiny", strategy, (seed,), {"identity": {"test": "t"}})


def baseline(scores, terms, mode="gated", **details):
    measured = {"arc": RecordedSideEffect((tuple(scores),), {})}
    recorded = Recorded({0: tuple(scores)}, "", {}, {}, True, measured)
    return Baseline("tiny-pwp", Path("qa.json"), mode, terms, "pytest", "qa.json", recorded=recorded, **details)


def verdicts(before, now, terms):
    """The verdict of each of the callers, and whether an assertion of it holds where there is one."""
    held = baseline(before, terms)
    cell = (held.record(result(now)).verdict, result(now) >= held)
    ids = tuple(map(str, range(len(now))))
    noted = []
    measured = SideEffect("arc", "acc,none", ids, (tuple(before),), (tuple(now),), {}, {})
    beside = SideEffects((measured,), terms, note=noted.extend)
    assertions = [beside >= held, beside >= base_model(within=100 * terms.margin)]
    (base,) = (gate.verdict for gate in noted[-1].gates if gate.against == "base")
    (recorded,) = (gate.verdict for gate in noted[0].gates if gate.against == "baseline")
    old, new = (CellRecord("qa", "tiny", "pwp", "passed", result=result(scores)) for scores in (before, now))
    (pair,) = pairs(build([old]), build([new]), terms.alpha, terms.margin)
    compared = (pair.comparison.verdict, pair.outcome != "worse")
    return {"cell": cell, "baseline": (recorded, assertions[0]), "base": (base, assertions[1]), "compare": compared}


@pytest.mark.parametrize(
    ("margin", "n", "lost", "verdict"),
    [
        (0.08, 2000, 0, "holds"),  # a drop of 18 points is found, and no more is wanted
        (0.0, 2000, 0, "holds"),
        (0.08, 40, 0, "too_small"),
        (0.0, 40, 0, "too_small"),
        (0.0, 40, 20, "worse"),
        (0.08, 2000, 400, "worse"),
        (0.08, 2000, 140, "holds"),  # 7 points, of which 8 may be lost
    ],
)
def test_all_callers_give_one_verdict_and_count_what_may_be_lost_once(margin, n, lost, verdict):
    before = [1.0] * (n - n // 10) + [0.0] * (n // 10)
    now = [0.0] * lost + before[lost:]
    assert verdicts(before, now, Terms(0.05, margin)) == dict.fromkeys(
        ("cell", "baseline", "base", "compare"), (verdict, verdict != "worse")
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30), st.sampled_from([0.0, 0.05, 0.3]))
@settings(max_examples=30)
def test_no_scores_make_the_callers_disagree(outcomes, margin):
    before, now = ([float(side) for side in sides] for sides in zip(*outcomes, strict=True))
    assert len(set(verdicts(before, now, Terms(0.05, margin)).values())) == 1


def test_the_sentence_on_a_test_that_is_too_small_names_the_drop_that_is_wanted():
    before = [1.0] * 36 + [0.0] * 4
    held = baseline(before, Terms(0.05, 0.08, too_small_fails=True))
    assert not result(before) >= held
    assert "would miss a drop of 18 points" in explain(result(before), held)[0]


def test_compare_says_where_it_could_not_have_seen_a_drop():
    record = CellRecord("qa", "tiny", "pwp", "passed", result=result([1.0] * 18 + [0.0] * 2))
    found = pairs(build([record]), build([record]))
    assert [pair.outcome for pair in found] == ["same"]
    assert any(line.endswith("too small to tell") for line in comparison_lines(found, 0.05, Style(width=200)))


@pytest.mark.parametrize("p_value", [0.04, 0.06, 1.0])
@pytest.mark.parametrize("difference", [-0.2, 0.0, 0.2])
@pytest.mark.parametrize("drop", [0.05, 0.18, 0.2, math.nan])
def test_another_test_can_stand_behind_it(p_value, difference, drop):
    class Found(Comparison):
        def detectable(self, alpha, wanted=0.8):
            assert alpha == 0.05
            return drop

    def test(now, before, clusters=None, margin=0.0):
        assert margin == 0.08
        return Found(0.5 + difference, 0.5, len(now[0]), p_value, (-1.0, 1.0), (1,), (0,), "mine", None, margin)

    found = judge([[1.0, 0.0]], [[0.0, 1.0]], Terms(0.05, 0.08), test=test)
    worse = p_value <= 0.05 and difference < 0
    seen = not math.isnan(drop) and drop <= 0.18
    assert found.verdict == ("worse" if worse else "holds" if seen else "too_small")
    assert (found.test, found.broken, found.fixed) == ("mine", (1,), (0,))
    assert found.detectable == (None if math.isnan(drop) else drop)
    assert found.holds == (not worse)


def test_sides_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        judge([[1.0, 0.0]], [[1.0]], Terms(0.05))


WRONG = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<=": lambda left, right: left <= right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
}


@pytest.mark.parametrize("mode", ["gated", "not_gated", "recording"])
@pytest.mark.parametrize("operator", WRONG)
def test_any_other_comparison_with_a_baseline_is_an_error_that_says_what_to_write(operator, mode):
    held = baseline([1.0, 0.0], Terms(0.05), mode)
    said = rf"better_together\(\) {operator} bt_baseline is not defined.*assert better_together\(\) >= bt_baseline"
    with pytest.raises(TypeError, match=said):
        WRONG[operator](result([1.0, 0.0]), held)
    with pytest.raises(TypeError, match=rf"float {operator} bt_baseline"):
        WRONG[operator](result([1.0, 0.0]).score, held)


def test_a_score_against_a_baseline_is_an_error_too():
    with pytest.raises(TypeError, match=r"float >= bt_baseline is not defined"):
        assert result([1.0, 0.0]).score >= baseline([1.0, 0.0], Terms(0.05))


def test_both_ways_of_writing_the_one_comparison_hold_and_are_noted():
    noted = []
    held = baseline([1.0, 0.0], Terms(0.05), compared=noted.append)
    assert held <= result([1.0, 0.0])
    assert result([1.0, 0.0]) >= held
    assert noted == [True, True]
    assert held == held
    assert held is not None
    assert held != None  # noqa: E711 - as some write it
    assert len({held, replace(held)}) == 2


@pytest.mark.parametrize("mode", ["gated", "not_gated", "recording"])
def test_another_strategys_result_is_not_held_against_this_cells_baseline(mode):
    noted = []
    held = baseline([1.0, 0.0], Terms(0.05), mode, compared=noted.append)
    with pytest.raises(BaselineError, match="of tiny-pwp, and the result is that of tiny-zero: gate a strategy"):
        assert result([1.0, 0.0], "zero") >= held
    assert not noted

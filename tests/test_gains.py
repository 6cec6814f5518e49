"""The summaries: the paper's own, fed with the paper's table, and the factorial read-out."""

from dataclasses import replace

import pytest
from made import made

from pytest_bettertogether.gate.intervals import contrast_interval
from pytest_bettertogether.pipeline.steps import KINDS, PROMPTS, catalogue
from pytest_bettertogether.report.factorial import factorials
from pytest_bettertogether.report.gains import Scored, gains, known
from pytest_bettertogether.report.summary import gain_sentences, gain_table, note

STRATEGIES = ["zero", "p", "w", "pp", "ww", "pw", "wp", "pwp"]
MODELS = ["mistral", "llama-2", "llama-3"]
PAPER = {
    "HotPotQA": """17.2 13.2 31.6  33.8 33.3 46.9  22.9 12.2 34.8  33.8 32.6 46.5
                   24.0 13.0 34.4  36.3 32.7 42.8  33.0 34.2 43.6  37.6 34.8 46.7""",
    "GSM8K": """40.3 24.0 72.7  46.4 26.0 77.9  40.7 24.0 75.1  47.7 24.7 77.6
                42.8 24.1 44.1  47.3 27.3 77.6  48.3 26.6 78.9  46.8 26.3 77.0""",
    "Iris": """26.0 0.0 48.0  57.3 56.7 79.3  29.3 - 37.3  59.3 64.0 82.0
               38.0 - 39.3  30.7 26.7 44.0  66.7 - 78.7  52.7 65.3 79.3""",
}
"""Table 1 of arXiv 2407.10930 (test accuracy in %, mean of three seeds), strategy by strategy."""


def paper():
    for task, text in PAPER.items():
        for i, score in enumerate(text.split()):
            if score != "-":
                yield Scored(task, MODELS[i % 3], STRATEGIES[i // 3], float(score) / 100)


@pytest.mark.parametrize(
    ("over", "doubled", "percent"),
    [
        ("p", True, {"HotPotQA": 5.1, "GSM8K": 2.5, "Iris": 3.7}),
        ("w", True, {"HotPotQA": 86.2, "GSM8K": 10.4, "Iris": 88.7}),
        ("p", False, {"HotPotQA": 5.1, "GSM8K": 3.5, "Iris": 10.5}),
    ],
)
def test_the_papers_table_gives_the_papers_gains(over, doubled, percent):
    found = {each.task: each for each in gains(list(paper())) if (each.over.letter, each.doubled) == (over, doubled)}
    assert {task: round(100 * each.percent, 1) for task, each in found.items()} == percent
    assert len(found["Iris"].models) == (2 if over == "w" else 3)  # llama-2 has no weight step
    assert all(each.picked_on == "test" and each.points_interval is None for each in found.values())


def test_points_are_given_beside_percent():
    alone = {each.task: each.points for each in gains(list(paper())) if each.over.letter == "p" and not each.doubled}
    assert {task: round(100 * points, 1) for task, points in alone.items()} == {
        "HotPotQA": 1.7,
        "GSM8K": 1.4,
        "Iris": 6.0,
    }


def test_a_winner_is_picked_on_dev_where_dev_is_known():
    cells = [
        Scored("t", "m", "p", 0.5, dev=0.5),
        Scored("t", "m", "pw", 0.9, dev=0.4),
        Scored("t", "m", "wp", 0.6, dev=0.7),
    ]
    on = {each.picked_on: each for each in gains(cells) if not each.doubled}
    assert on["test"].models == (("m", "pw", "p"),)
    assert on["dev"].models == (("m", "wp", "p"),)
    assert on["dev"].percent == pytest.approx(0.2)
    assert not [
        each for each in gains([*cells, Scored("t", "m", "w", 0.0)]) if each.over.letter == "w"
    ]  # nothing over 0


def test_outcomes_give_intervals_and_the_words_say_who_was_compared():
    cells = [made(strategy=each, text="x") for each in ("p", "pwp")]
    (gain, *_) = found = list(gains(known(cells)))
    assert gain.points == 0.0
    assert gain.points_interval[0] < 0 < gain.points_interval[1]
    assert gain.percent_interval[0] < 0 < gain.percent_interval[1]
    assert next(iter(gain_sentences(found))).endswith("n = 1 (tiny: p → w → p against p)")
    assert any(line.startswith("qa") for line in gain_table(found, KINDS))
    assert gain_table([], KINDS) == []


def outcome(strategy, *seeds):
    result = made(strategy=strategy, n=len(seeds[0]), text="x")
    scored = tuple(
        replace(seed, examples=tuple(replace(e, score=s) for e, s in zip(seed.examples, scores)))
        for seed, scores in zip(result.seeds, seeds)
    )
    return replace(result, seeds=scored)


def test_main_effects_and_interaction_are_those_of_the_four_cells():
    n = 100
    rows = {"zero": 20, "p": 50, "w": 60, "pwp": 70}
    cells = [outcome(name, *[[float(i < right) for i in range(n)]] * 2) for name, right in rows.items()]
    (found,) = factorials(cells)
    assert found.effects[0][0] == pytest.approx((0.3 + 0.1) / 2)
    assert found.effects[1][0] == pytest.approx((0.4 + 0.2) / 2)
    assert found.interaction[0] == pytest.approx(-0.2)
    assert found.interaction[2] < 0
    assert "20.0 points less than the sum" in found.sentence()
    assert found.sentence().endswith("what they teach overlaps.")
    assert list(factorials(cells[:3])) == []


def test_a_contrast_is_never_certain():
    mean, low, high = contrast_interval([[0.0] * 30, [0.0] * 30])
    assert mean == 0
    assert low < 0 < high
    wide = contrast_interval([[0.0] * 30, [1.0] * 30])
    assert wide[1] < low - 1  # two seeds that disagree tell little


INSTRUCTIONS = replace(
    PROMPTS, letter="i", name="instructions", noun="instruction step", plural="instruction steps", mark="cross"
)
THREE = catalogue((*KINDS.values(), INSTRUCTIONS))


def test_a_third_kind_of_step_has_gains_and_factorials_of_its_own():
    cells = [Scored("t", "m", name, score) for name, score in {"i": 0.4, "w": 0.5, "iw": 0.6, "pw": 0.9}.items()]
    found = {gain.over.letter: gain for gain in gains(cells, THREE) if not gain.doubled}
    assert {letter: gain.models for letter, gain in found.items()} == {
        "w": (("m", "pw", "w"),),
        "i": (("m", "iw", "i"),),  # what p adds to w is no gain over i
    }
    table, sentence = gain_table(list(found.values()), THREE), note(list(found.values()), THREE)
    assert table[0].startswith("gain of p with w with i")
    assert "several steps over the best with p only (p; pp too), w only (w; ww too) and i only (i; ii too)" in sentence
    rows = {"zero": 20, "w": 50, "i": 60, "wiw": 70, "p": 10, "pwp": 20}
    results = [outcome(name, *[[float(n < right) for n in range(100)]] * 2) for name, right in rows.items()]
    pairs = {tuple(kind.letter for kind in each.kinds): each for each in factorials(results, THREE)}
    assert set(pairs) == {("p", "w"), ("w", "i")}
    assert pairs["w", "i"].effects[0][0] == pytest.approx((0.3 + 0.1) / 2)
    assert "weight steps add +20.0 points" in pairs["w", "i"].sentence()
    assert "and instruction steps +30.0 points" in pairs["w", "i"].sentence()

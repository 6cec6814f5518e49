"""The comparison as text."""

from pathlib import Path

from pytest_bettertogether.report.text import ASCII, UNICODE, Entry, lines
from pytest_bettertogether.results import CellResult, ExampleScore, SeedResult, StepRecord, Usage

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


ENTRIES = [
    Entry(cell("iris", "pwp", 19, 18)),
    Entry(cell("iris", "zero", 7, 6)),
    Entry(cell("iris", "p", 15, 11), worse=True),
    Entry(cell("iris", "w", refused="step w after zero: 3 of 60 program runs passed the metric")),
    Entry(cell("sums", "pwp", 13, 13, n=30)),
    Entry(cell("sums", "wpw", 13, 13, n=30)),
    Entry(cell("iris", "zero", 0, 20, model="other")),
]


def test_the_table_is_as_agreed():
    text = "\n".join(lines(ENTRIES, UNICODE)) + "\n"
    assert text == (GOLDEN / "report.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 110


def test_it_does_not_depend_on_the_order_of_arrival():
    assert list(lines(ENTRIES, UNICODE)) == list(lines(ENTRIES[::-1], UNICODE))


def test_verbose_shows_the_seeds_behind_each_mean():
    shown = list(lines(ENTRIES, UNICODE, verbose=True))
    assert "iris[tiny-pwp] seed 0: 95.0, seed 1: 90.0, standard deviation 3.5, 0 unparsable" in shown


def test_it_can_do_without_unicode():
    text = "\n".join(lines(ENTRIES, ASCII))
    assert text.isascii()
    assert UNICODE.fit("utf-8")
    assert not UNICODE.fit("ascii")


def test_steps_that_strategies_share_are_counted_once():
    once = list(lines([Entry(cell("iris", "pwp", 19))], UNICODE))[-1]
    shared = list(
        lines([Entry(cell("iris", "pwp", 19)), Entry(cell("iris", "pw", 19)), Entry(cell("iris", "p", 9))], UNICODE)
    )[-1]
    assert once.startswith("2 prompt steps, 1 weight steps, 320 LM calls")
    assert shared.startswith("2 prompt steps, 1 weight steps, 360 LM calls")

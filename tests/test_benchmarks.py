"""The benchmark's own arithmetic, and that docs/speed.md shows its results file; what it measures is no test."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks import measure, table, work  # noqa: E402
from benchmarks.measure import Figure, Report, alternate, read  # noqa: E402

MACHINE = {"date": "2026-01-01", "cpu": "a | b", "cores": 2, "load": 0.5, "sizes": "full", "versions": {"torch": "2"}}
FASTER = Figure(
    "a", "items | <s>", "items/s", (30.0, 40.0, 50.0), "peer", (10.0, 10.0, 10.0), True, "≥ 3", True, ("so",)
)
SLOWER = Figure("d", "overhead", "ms", (4.0, 2.0), "peer", (2.0, 1.0), required="≤ 1", met=False)


def test_sides_take_turns_and_each_begins_a_round():
    order = []
    sides = [lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0]
    assert alternate(sides, 3) == [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)]
    assert "".join(order) == "abbaab"


def test_a_ratio_above_one_means_that_we_are_better():
    assert FASTER.ratio == 4.0
    assert SLOWER.ratio == 0.5
    assert Figure("g", "alone", "s", (1.0,)).ratio is None
    noisy = (-1.0, 2.0, 3.0)
    assert Figure("e", "tax", "ms", noisy, "peer", (6.0, 8.0, 1.0)).ratio == 3.0
    assert Figure("e", "tax", "ms", (-3.0, -2.0, 1.0), "peer", noisy).ratio is None


def test_results_go_to_json_and_back_and_keep_the_lines_that_were_not_measured(tmp_path, capsys):
    path = tmp_path / "results.json"
    report = Report([FASTER, SLOWER], machine=MACHINE)
    report.skip("f", "vllm", "not here")
    report.merge(path).write(path)
    assert read(path) == report
    again = Report([Figure("d", "overhead", "ms", (1.0,))], machine=MACHINE).merge(path)
    assert [each.what for each in again.figures] == ["items | <s>", "overhead"]
    assert again.figures[1].ours == (1.0,)
    assert [each["line"] for each in again.skipped] == ["f"]
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(ValueError, match="schema 99, this reads 1"):
        read(path)


def test_the_table_shows_losses_like_wins_and_escapes_what_it_is_told(tmp_path):
    report = Report([FASTER, SLOWER], [{"line": "f", "what": "vllm", "why": "not here"}], MACHINE)
    shown = table.table(report).splitlines()
    assert shown[2] == "| a | items \\| &lt;s> | 40 [30, 50] items/s | peer: 10 items/s | 4.00 | ≥ 3: met |"
    assert shown[3].endswith("| 0.50 | ≤ 1: **missed** |")
    assert shown[4] == "| f | vllm | – | – | – | not measured: not here |"
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.put(report, page)
    assert page.read_text() == f"before\n{table.BEGIN}\n{table.table(report)}\n{table.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="are missing"):
        table.put(report, page)


def test_the_page_shows_the_results_file_and_nothing_else():
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    shown = text.split(table.BEGIN)[1].split(table.END)[0].strip()
    assert shown == table.table(read(ROOT / "tests" / "benchmarks" / "results.json")).strip()


def test_the_work_is_the_same_each_time():
    assert work.chats("reason", 3) == work.chats("reason", 5)[:3]
    assert len(work.chats("sort", 1, shots=8)[0]) == 18
    contexts = [context for context, _ in work.choices(3)]
    assert len(contexts) == 12
    assert len(set(contexts)) == 3


def test_numbers_are_shown_with_the_digits_that_count():
    assert [measure.number(each) for each in (1234.5, 12.345, 0.012345, 3.0)] == ["1,234", "12.3", "0.0123", "3"]

"""Line (g): report and gate with 10 to 10,000 cells, the journal with 10,000 to a million rows: linear at most?"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from pytest_bettertogether.gate.baselines import parse, write
from pytest_bettertogether.gate.judge import Terms
from pytest_bettertogether.gate.verdict import Baseline
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.document import document
from pytest_bettertogether.report.markdown import markdown
from pytest_bettertogether.report.text import lines
from pytest_bettertogether.results.cell_records import CellRecord
from pytest_bettertogether.results.cell_results import CellResult, ExampleScore, SeedResult, Usage

from .measure import Figure, Report, timed

STRATEGIES = ["zero", "p", "w", "pp", "ww", "pw", "wp", "pwp"]
EXAMPLES = 50


def _cells(count: int) -> list[CellRecord]:
    random = Random(count)
    records = []
    for n in range(count):
        scores = tuple(
            ExampleScore(str(i), float(random.random() < 0.7), said={"answer": "yes"}) for i in range(EXAMPLES)
        )
        seed = SeedResult(0, scores, Usage(50, 5000, 300), 1.0, (), selected=STRATEGIES[n % 8])
        result = CellResult(f"task{n // 32:04}", f"model{n // 8 % 4}", STRATEGIES[n % 8], (seed,), {"identity": {}})
        records.append(CellRecord(result.task, result.model, result.strategy, "passed", result=result))
    return records


def run(report: Report, rounds: int, quick: bool) -> None:
    """Per-unit times at growing sizes."""
    sizes = [10, 100, 1000] if quick else [10, 100, 1000, 10_000]
    records = {size: _cells(size) for size in sizes}

    def reported(size: int) -> None:
        report = build(records[size])
        list(lines(report))
        markdown(report)
        json.dumps(document(report))

    def gated(size: int) -> None:
        results = [each.result for each in records[size] if each.result]
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "baseline.json"
            write(
                path,
                "task",
                [(replace(each, task="task", model=f"{each.task}-{each.model}"), True) for each in results],
                {},
            )
            kept = parse(path.read_text(), "baseline.json")
            for result in results:
                name = f"{result.task}-{result.id}"
                Baseline(name, path, "gated", Terms(0.05 / size), "", "", recorded=kept[name]).record(result)

    _grow(report, "report (text, Markdown, JSON) of {} cells", sizes, reported, rounds)
    _grow(report, "baselines written, read and compared, {} cells", sizes, gated, rounds)
    rows = [10_000, 100_000] if quick else [10_000, 100_000, 1_000_000]
    with tempfile.TemporaryDirectory() as name:
        journals = {size: _journal(Path(name) / str(size), size) for size in rows}
        keys = {size: [f"{n:064x}" for n in Random(0).sample(range(size), 1000)] for size in rows}

        def looked_up(size: int) -> None:
            for key in keys[size]:
                assert journals[size].get(key)

        _grow(report, "1,000 look-ups in a journal of {} rows", rows, looked_up, rounds, per_unit=False)
        for journal in journals.values():
            journal.close()


def _journal(folder: Path, size: int) -> Journal:
    journal, order = Journal(folder), list(range(size))
    Random(1).shuffle(order)  # real keys are digests
    journal._connection.execute("BEGIN")
    for n in order:
        journal.put(f"{n:064x}", [["answer: setosa", 300, 5, False]])
    journal._connection.execute("COMMIT")
    return journal


def _grow(
    report: Report, what: str, sizes: list[int], work: Callable[[int], None], rounds: int, per_unit: bool = True
) -> None:
    """The largest size's time, per unit, against the next smaller one's: 1 is linear (or, of look-ups, constant)."""
    work(sizes[0])
    times = {size: [timed(lambda size=size: work(size)) for _ in range(rounds)] for size in sizes}  # type: ignore[misc]
    middle = {size: sorted(each)[len(each) // 2] / (size if per_unit else 1) for size, each in times.items()}
    growth = middle[sizes[-1]] / middle[sizes[-2]]
    most = 1.2 if per_unit else sizes[-1] / sizes[-2]
    steps = ", ".join(f"{size:,}: {1e6 * (each if per_unit else each / 1000):.0f} µs" for size, each in middle.items())
    report.add(
        Figure(
            "g",
            what.format(f"{sizes[-1]:,}"),
            "s",
            tuple(times[sizes[-1]]),
            required="at most linear",
            met=growth <= most,
            notes=(f"each one: {steps}",),
        )
    )

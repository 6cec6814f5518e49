"""What the journal costs: `python tests/journal_cost.py` prints a Markdown table; about three minutes on one CPU core.

Uncached runs of Iris, step p, on the embedded model, with the journal on disk and without one, in turn in one process;
bytes that completions take; the time of a look-up among a million rows.
"""

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "suites"))

from test_iris import TASK

from pytest_bettertogether.cells import engines_in_use as engines_module
from pytest_bettertogether.cells.cells import Cells
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.pipeline.suite import Suite

PAIRS = 3
ROWS = 1_000_000
LOOKUPS = 2_000


class NoJournal(Journal):
    """Keeps nothing."""

    def get(self, key, kind="entry"):
        return None

    def put(self, key, value):
        return None


def run(journal):
    """Seconds that an uncached cell takes, and its LM calls."""
    chosen = (Strategy.parse("p"),)
    suite = Suite("iris", TASK, Path("iris.json"), chosen, chosen, ())
    cells = Cells(journal)
    began = time.perf_counter()
    cells.run(suite, TINY, chosen[0], [0])
    seconds = time.perf_counter() - began
    calls = cells.engines.paid().usage.lm_calls
    cells.close()
    return seconds, calls


def uncached(folder):
    """Median seconds with and without a journal, LM calls of a run, and bytes of its data base."""
    engine = load(TINY, folder / "adapters")
    engines_module.load = lambda *_: engine  # the loading is not what is measured
    run(NoJournal(folder / "warm"))
    times = {Journal: [], NoJournal: []}
    for n in range(PAIRS):
        for kind in (Journal, NoJournal) if n % 2 else (NoJournal, Journal):
            seconds, calls = run(kind(folder / f"{kind.__name__}{n}"))
            times[kind].append(seconds)
    size = (folder / "Journal0" / "journal.sqlite").stat().st_size
    return statistics.median(times[Journal]), statistics.median(times[NoJournal]), calls, size


def lookups(folder):
    """Median and 99th percentile, in seconds, of a look-up among ROWS entries; bytes of the data base."""
    journal = Journal(folder)
    keys = [f"{n:064x}" for n in range(ROWS)]
    draw = random.Random(0)
    draw.shuffle(keys)  # real ones are digests
    journal._connection.execute("BEGIN")
    for key in keys:
        journal.put(key, [["answer: setosa", 300, 5, False]])
    journal._connection.execute("COMMIT")
    journal.close()
    journal = Journal(folder)
    times = []
    for key in draw.sample(keys, LOOKUPS):
        began = time.perf_counter()
        assert journal.get(key)
        times.append(time.perf_counter() - began)
    journal.close()
    times.sort()
    return statistics.median(times), times[LOOKUPS * 99 // 100], (folder / "journal.sqlite").stat().st_size


def main():
    with tempfile.TemporaryDirectory(prefix="bettertogether-cost-") as name:
        folder = Path(name)
        kept, off, calls, size = uncached(folder)
        median, slow, whole = lookups(folder / "million")
    table = {
        f"uncached run with the journal ({calls:,} LM calls)": f"{kept:.2f} s",
        "without": f"{off:.2f} s",
        "ratio": f"{kept / off:.3f}",
        "bytes per 1,000 completions": f"{1000 * size / calls:,.0f}",
        f"look-up among {ROWS:,} rows, median": f"{1e6 * median:.0f} µs",
        "99th percentile": f"{1e6 * slow:.0f} µs",
        "size of that data base": f"{whole / 1e6:,.0f} MB",
    }
    sys.stdout.write("| | |\n|---|---:|\n" + "".join(f"| {name} | {value} |\n" for name, value in table.items()))


if __name__ == "__main__":
    main()

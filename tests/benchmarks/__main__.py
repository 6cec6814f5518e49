"""`tox -e bench`: measure, print, and write JSON; `--docs` puts the table into docs/speed.md.

Or, in tests/, `python -m benchmarks`.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: both sides compute with one thread
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

from .measure import Report, machine, read, say
from .table import put

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "tests" / "benchmarks" / "results.json"

LINES = {
    "a": "generation against lm-eval's hf model",
    "b": "multiple choice against the same",
    "c": "random search and the grid against DSPy",
    "d": "overhead per example against DSPy, lm-eval, inspect_ai",
    "e": "plugin tax against deepeval, pytest-evals, pytest-benchmark",
    "f": "our vLLM backend against raw vLLM",
    "g": "growth of report, gate and journal",
    "s": "start-up",
    "t": "training against a bare peft loop; switching adapters",
}


def main() -> None:
    """Measure the lines asked for; those of an earlier run that were not asked for are kept."""
    listed = "; ".join(f"{name}: {what}" for name, what in LINES.items())
    parser = argparse.ArgumentParser(prog="tox -e bench", description=__doc__)
    parser.add_argument("lines", nargs="?", default="".join(LINES), help=f"letters of the lines to measure ({listed})")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; figures mean nothing")
    parser.add_argument("--json", type=Path, default=RESULTS, help="results file (default: results.json beside this)")
    parser.add_argument(
        "--docs", action="store_true", help="measure nothing; put the results file's table into docs/speed.md"
    )
    args = parser.parse_args()
    unknown = set(args.lines) - set(LINES)
    if unknown:
        parser.error(f"no line {', '.join(sorted(unknown))}; there are {', '.join(LINES)}")
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not args.docs:
        report = Report(machine={**machine(), "sizes": "small (--quick)" if args.quick else "full"})
        say(f"load {report.machine['load']:.2f} on {report.machine['cores']} cores: {report.machine['cpu']}")
        for name in LINES:
            if name in args.lines:
                _measure(name, args.lines, report, args.rounds, args.quick)
        report.machine["load_after"] = os.getloadavg()[0]
        report.merge(args.json).write(args.json)
    if args.json == RESULTS and not args.quick:
        put(read(RESULTS), ROOT / "docs" / "speed.md")


def _measure(name: str, wanted: str, report: Report, rounds: int, quick: bool) -> None:
    from . import against_vllm, generation, growth, overhead, search, training

    if name == "b" and "a" in wanted:
        return  # measured with a: one model is loaded for both
    say(f"({name}) {LINES[name]}")
    began = time.perf_counter()
    match name:
        case "a" | "b":
            generation.run(report, rounds, quick, wanted)
        case "c":
            search.run(report, rounds)
        case "d":
            overhead.examples(report, rounds, quick)
        case "e":
            overhead.tax(report, rounds, quick)
        case "f":
            against_vllm.run(report, rounds, quick)
        case "g":
            growth.run(report, rounds, quick)
        case "s":
            training.startup(report, rounds)
        case "t":
            training.training(report, rounds, quick)
    say(f"  {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

"""The subcommands `bettertogether report` and `bettertogether compare`: from JSON reports, without pytest."""

import argparse
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..pipeline.extras import missing_for_report
from ..pipeline.json_file import JsonFileError, read_json
from ..report.comparison import BAD, pairs
from ..report.comparison_text import comparison_lines
from ..report.document import DocumentError, read
from ..report.model import Report
from ..report.text import ASCII, UNICODE, Style, lines
from . import arguments
from .publishing import publish

KINDS = {"html": "one file that opens offline", "md": "Markdown", "json": "JSON, and a folder of samples beside it"}


def add_reporting(commands: Any) -> None:
    """Add the subcommands to argparse's."""
    report = commands.add_parser(
        "report",
        help="show or write again the report of a run",
        description="Reads what --bt-report=json:PATH wrote. Without an option the tables are printed.",
    )
    report.add_argument("results", type=Path, metavar="RESULTS.json")
    for kind, what in KINDS.items():
        report.add_argument(f"--{kind}", type=Path, metavar="PATH", help=f"write it as {what}")
    report.add_argument("-v", "--verbose", action="store_true", help="print each seed and each gain too")
    compare = commands.add_parser(
        "compare",
        help="compare two runs, cell by cell",
        description="Paired by example, as the gate does. Exit code 1 if a cell got significantly worse, lost its "
        "score, or cannot be compared since its test split or metric changed; 2 if there is nothing to compare.",
    )
    compare.add_argument("before", type=Path, metavar="A.json")
    compare.add_argument("now", type=Path, metavar="B.json")
    compare.add_argument(
        "--alpha",
        type=arguments.share,
        default=0.05,
        metavar="P",
        help="chance of a false alarm over all cells (default: 0.05)",
    )
    compare.add_argument(
        "--min-effect",
        type=arguments.points,
        default=0.0,
        metavar="POINTS",
        help="points that a cell may lose (default: 0)",
    )


def render(options: argparse.Namespace) -> int:
    """`bettertogether report`."""
    report = _read(options.results)
    wanted = [(kind, path) for kind in KINDS if (path := getattr(options, kind))]
    for kind, path in wanted:
        lacking = missing_for_report(kind)
        if lacking:
            raise DocumentError(lacking)
        try:
            _say(publish(kind, path, report))
        except OSError as error:
            raise DocumentError(f"cannot write {path}: {error}") from None
    if not wanted:
        _say(lines(report, _style(1 if options.verbose else 0)))
    return 0


def comparison(options: argparse.Namespace) -> int:
    """`bettertogether compare`."""
    before, now = _read(options.before), _read(options.now)
    found = pairs(before, now, options.alpha, options.min_effect / 100)
    if not any(pair.comparison for pair in found) and not any(pair.outcome in BAD for pair in found):
        raise DocumentError(f"{options.before} and {options.now} have no cell with a score in common")
    _say(comparison_lines(found, options.alpha, _style(0)))
    return int(any(pair.outcome in BAD for pair in found))


def _read(path: Path) -> Report:
    try:
        data = read_json(path)
    except (OSError, JsonFileError) as error:
        raise DocumentError(f"{path}: cannot be read as JSON: {error}") from None
    return read(data, str(path))


def _style(verbosity: int) -> Style:
    marks = UNICODE if UNICODE.fit(sys.stdout.encoding or "ascii") else ASCII
    return Style(marks, shutil.get_terminal_size().columns, verbosity)


def _say(said: Iterable[str]) -> None:
    encoding = sys.stdout.encoding or "ascii"
    for line in said:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")

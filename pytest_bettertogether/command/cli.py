"""The console command `bettertogether`: reports and comparisons of runs, journals, optimised programs."""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from ..journal.repair import repair
from ..journal.upkeep import existing, find, line, listing, prune, verify
from ..pipeline.errors import BetterTogetherError
from ..pipeline.inert_text import block, plain
from .reporting import add_reporting, comparison, render

DAY = 86_400.0
SHOWN = 20
CLOSED_PIPE = 141
"""The exit code where the reader of the output has gone: 128 + SIGPIPE, as of a program that the signal ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0, 1 where something was found or a test failed, 2 for a wrong call."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command != "export":
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code = _run(options, rest)
        sys.stdout.flush()
        return code
    except BetterTogetherError as error:
        sys.stderr.write(f"bettertogether: {block(str(error))}\n")
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`). The interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE


def _run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    if options.command == "export":
        return _export(options, rest)
    return {"report": render, "compare": comparison, "journal": _journal}[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bettertogether", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('pytest-bettertogether')}")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser(
        "export",
        help="write the optimised programs of cells, replayed from the journal",
        description="Runs the cells with pytest, ungated, and writes each seed's program to "
        "DIR/<task>/<model>-<strategy>/seed<k>. What the journal holds is replayed. Further arguments go to pytest.",
    )
    example = "'suites/test_iris.py::test_iris[tiny-pwp]'"
    export.add_argument("cells", nargs="+", metavar="CELL", help=f"test ids, as in {example}")
    export.add_argument("--to", required=True, metavar="DIR", help="where to")
    add_reporting(commands)
    journal = commands.add_parser("journal", help="look after a journal")
    journal.add_argument("--dir", type=Path, default=Path(".bettertogether"), help="its folder (default: %(default)s)")
    actions = journal.add_subparsers(dest="action", required=True)
    ls = actions.add_parser("ls", help="what it holds")
    ls.add_argument("--all", action="store_true", help=f"list every entry (default: the {SHOWN} used last)")
    show = actions.add_parser("show", help="one entry, as JSON")
    show.add_argument("key", help="its key, or the beginning of it")
    actions.add_parser("verify", help="check every entry and adapter; exit code 1 if one is damaged")
    actions.add_parser("repair", help="save what is whole of a damaged data base; the damaged one is kept aside")
    pruning = actions.add_parser("prune", help="remove what has not been used for long")
    pruning.add_argument("--older-than", required=True, type=_seconds, metavar="AGE", help="as in 30d, 12h or 0d")
    return parser


def _journal(options: argparse.Namespace) -> int:
    if options.action == "repair":  # of what may not open at all
        return _print(repair(options.dir))
    journal = existing(options.dir)
    try:
        if options.action == "show":
            entry = find(journal, options.key)
            lines = [plain(entry.key), line(entry), json.dumps(entry.value, indent=1)]
        elif options.action == "verify":
            lines = list(verify(journal))
        elif options.action == "prune":
            lines = list(prune(journal, options.older_than))
        else:
            lines = list(listing(journal, sys.maxsize if options.all else SHOWN))
    finally:
        journal.close()
    _print(lines or ["everything is whole"])
    return int(options.action == "verify" and bool(lines))


def _print(lines: Iterable[str]) -> int:
    for text in lines:
        sys.stdout.write(f"{text}\n")
    return 0


def _export(options: argparse.Namespace, rest: Sequence[str]) -> int:
    import pytest

    return int(pytest.main([*options.cells, "--bt-gate=off", f"--bt-export={options.to}", *rest]))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([dh])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected days or hours, as in 30d or 12h")
    return int(found[1]) * (DAY if found[2] == "d" else 3600.0)

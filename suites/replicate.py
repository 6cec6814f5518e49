"""The paper's experiment in small: Iris, arithmetic and look-up x 8 strategies x 3 seeds, on the embedded model.

    python suites/replicate.py             writes suites/replication/: report.html, report.md, report.json and samples
    python suites/replicate.py --docs      and the section of docs/replication.md on it

Run it from the repository's root. Further arguments go to pytest. What the journal holds is replayed.
"""

import argparse
import json
import sys
from pathlib import Path
from textwrap import wrap

import pytest

from pytest_bettertogether.pipeline.strategy import PAPER
from pytest_bettertogether.report.document import read
from pytest_bettertogether.report.text import Style, lines

SUITES = ("iris", "arithmetic", "lookup")
OUT, PAGE = Path("suites/replication"), Path("docs/replication.md")
BEGIN, END = "<!-- replication: written by `tox -e replicate -- --docs` -->", "<!-- /replication -->"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help=f"write the section of {PAGE} anew")
    options, rest = parser.parse_known_args(arguments)
    files = [str(path) for name in SUITES if (path := Path(f"suites/test_{name}.py")).exists()]
    reports = [f"--bt-report={kind}:{OUT}/report.{kind}" for kind in ("html", "md", "json")]
    strategies = [f"--bt-strategy={each.id}" for each in PAPER]
    status = pytest.main([*files, "--bt-gate=off", "--bt-dev-scores", "--bt-seeds=0-2", *strategies, *reports, *rest])
    if status == 0 and options.docs:
        data = json.loads((OUT / "report.json").read_text(encoding="utf-8"))
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_section(page, read(data, "report.json")), encoding="utf-8")
    return int(status)


def with_section(text, report):
    """The page with its section written anew; raises ValueError where the markers are gone."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: the lines {BEGIN!r} and {END!r} mark where the section goes: put them back")
    return f"{before}{BEGIN}\n{section(report)}{END}{after}"


def section(report):
    """The transcript, and what it does and does not show."""
    table = [line.rstrip() for line in lines(report, Style(width=100))]
    made = sum(cell.record.paid.usage.lm_calls for cell in report.cells)
    took = f"In {report.run['seconds'] / 60:.0f} minutes on 2 CPU cores" if made else "Replayed from the journal"
    where = f"{took}, at commit {report.run['commit']}; the command leaves the whole page at {OUT}/report.html."
    parts = [wrap(each, 120) for each in (where, *_reading(report))]
    return (
        "\n".join(["", "```text", "$ tox -e replicate", *table, "```", *(f"\n{chr(10).join(each)}" for each in parts)])
        + "\n"
    )


def _reading(report):
    """In sentences, from the same numbers."""
    found = [each for each in report.gains if each.doubled]
    dev = [each for each in found if each.picked_on == "dev"]
    sure = [each for each in dev if each.points_interval and each.points_interval[0] > 0]
    over = {
        kind: sum(each.points > 0 for each in found if (each.over.letter, each.picked_on) == (kind, "test"))
        for kind in "pw"
    }
    below = [each for each in report.factorials if each.interaction[2] < 0]
    above = [each for each in report.factorials if each.interaction[1] > 0]
    tasks = len({task.task for task in report.tasks})
    yield (
        f"**What this shows.** With winners picked on the test split, the best combined strategy scored above the best "
        f"one with prompt steps only on {over['p']} of {tasks} tasks, and above the best one with weight steps only on "
        f"{over['w']}. With winners picked on dev, {len(sure)} of {len(dev)} such gains are larger than chance allows "
        f"(95 % interval above zero). What the two kinds of step teach overlaps on: {_names(below)}; they reinforce "
        f"each other on: {_names(above)}; elsewhere these data do not tell."
    )
    yield (
        "**What it does not show** is whether the paper's claim holds. This is one very small model, made for tasks of "
        "these kinds, with small test splits and three seeds; the paper has models of 7 to 8 billion parameters, other "
        "tasks and larger splits, so that neither scores nor gains can be compared with its own. It shows that the "
        "algorithm, the statistics and the reports do what they say, end to end, with real weights and real training."
    )


def _names(found):
    return ", ".join(each.task for each in found) or "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Progress: what is said, and where it is shown."""

import os
import pty
import subprocess
import sys

import pytest
from parrot import CONFTEST, SUITE

from pytest_bettertogether.running.progress import Progress


def test_it_says_where_a_cell_is_and_how_long_that_will_take():
    said, time = [], iter(range(0, 1000, 2))
    progress = Progress(said.append, lambda: next(time))
    progress.cell = "iris[tiny-pwp] seed 0"
    progress.begin("pw", 100)
    progress.detail("traces")
    progress.generated(600)
    progress.advance(25)
    assert said == [
        "iris[tiny-pwp] seed 0, pw: 0/100 runs",
        "iris[tiny-pwp] seed 0, pw: traces, 0/100 runs",
        "iris[tiny-pwp] seed 0, pw: traces, 0/100 runs, 100 tokens/s",
        "iris[tiny-pwp] seed 0, pw: traces, 25/100 runs, 75 tokens/s, 24 s left",
    ]


OFTEN = "\nfrom pytest_bettertogether.plugin import terminal\n\nterminal.IN_PLACE = terminal.PLAIN = 0.0\n"
"""For the end of a conftest.py: each change is shown, however fast the machine is."""


@pytest.fixture
def watched(pytester):
    pytester.makeconftest(CONFTEST + OFTEN)
    pytester.makepyfile(test_parity=SUITE)
    return pytester


COMMAND = [sys.executable, "-m", "pytest", "--bt-model=parrot", "--bt-strategy=p", "--bt-gate=off", "--bt-seeds=0,1"]


def on_a_terminal(folder, *args):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *args], cwd=folder, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux: the other end is gone
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def drawn(line):
    """A line as a terminal shows it in the end."""
    cells, at = [], 0
    for character in line:
        if character == "\b":
            at -= 1
        else:
            cells[at : at + 1] = character
            at += 1
    return "".join(cells).rstrip()


def test_on_a_terminal_it_is_shown_in_place_and_taken_away(watched):
    shown = on_a_terminal(watched.path, "--color=no")
    assert "parity[parrot-p] seed 0, p: candidate" in shown
    (line,) = (drawn(line) for line in shown.splitlines() if line.startswith("test_parity.py"))
    assert line.split() == ["test_parity.py", "n", "[100%]"]


def test_quiet_shows_none(watched):
    assert "seed 0" not in on_a_terminal(watched.path, "-q")


def test_elsewhere_it_is_plain_lines_now_and_then(watched):
    result = watched.run(*COMMAND)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["parity[[]parrot-p] seed 0, p: candidate * of 9, */*"])
    assert "\b" not in result.stdout.str()

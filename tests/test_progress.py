"""Progress: what is said, and where it is shown."""

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from parrot import CONFTEST, SUITE

from pytest_bettertogether.plugin import progress_words as words
from pytest_bettertogether.plugin.display import Display, OpenLine
from pytest_bettertogether.running.progress import Progress, Snapshot


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def watched():
    clock, told = Clock(), []
    return clock, told, Progress(told.append, clock, "iris[tiny-pw] seed 0")


TRACES = Snapshot("iris[tiny-pw] seed 0", "pw", "traces", 25, 100, rate=75.0, left=24.0)
TRAINING = Snapshot(
    "iris[tiny-pw] seed 0", "pw", "training on 64 rows", 45, 130, "steps", rate=1.93, loss=0.4123, left=44
)


def test_it_says_where_a_cell_is_and_how_long_that_will_take():
    clock, told, progress = watched()
    progress.begin("pw", 100)
    progress.detail("traces")
    clock.now = 8.0
    progress.generated(600)
    assert told[-1].left is None  # of what nothing is done yet, nothing tells
    progress.advance(25)
    assert told[-1] == TRACES
    progress.begin("test", 50)
    assert (told[-1].done, told[-1].rate, told[-1].left, told[-1].detail) == (0, 0.0, None, "")


def test_a_training_is_timed_from_its_first_step_that_was_heard_of_and_not_by_what_came_before():
    clock, told, progress = watched()
    progress.begin("pw", 100)
    clock.now = 500.0
    progress.detail("training on 64 rows")
    clock.now = 900.0
    progress.trained(61, 100, 0.5)  # the steps before it were in a checkpoint
    assert (told[-1].unit, told[-1].done, told[-1].total, told[-1].left) == ("steps", 61, 100, None)
    clock.now = 904.0
    progress.trained(63, 100, 0.25)
    assert (told[-1].rate, told[-1].left, told[-1].loss) == (0.5, 74.0, 0.25)
    progress.begin("test", 50)
    assert (told[-1].unit, told[-1].loss, told[-1].left) == ("runs", None, None)


def test_an_estimate_grows_old_and_what_has_run_out_is_not_said():
    assert words.aged(TRACES, 20).left == 4
    for late in (24, 1000):
        assert words.aged(TRACES, late).left is None
    assert "left" not in words.alone(words.aged(TRACES, 24), words.Cells(8), 1, 80)[1]


CELLS = words.Cells(8, 3, [10.0, 95.0, 40.0])


def test_80_columns_show_what_matters_and_nothing_is_cut():
    assert words.alone(TRAINING, CELLS, 145, 80) == [
        "cell 4 of 8: iris[tiny-pw] seed 0, 4 more like these: 40 s to 6:20 min",
        "  pw: training on 64 rows, step 45 of 130, loss 0.412, 44 s left, 1.9 steps/s",
    ]
    assert words.alone(TRAINING, CELLS, 145, 120)[0] == (
        "cell 4 of 8: iris[tiny-pw] seed 0, 2:25 min passed, 4 more like these: 40 s to 6:20 min"
    )
    search = replace(TRACES, detail="candidate 3 of 9", at_most=True, total=330, left=4020)
    assert words.alone(search, CELLS, 145, 80)[1] == (
        "  pw: candidate 3 of 9, 25 of up to 330 runs, up to 1:07 h left, 75 tokens/s"
    )


@pytest.mark.parametrize("width", range(1, 200))
def test_every_line_fits_and_consists_of_whole_parts(width):
    whole = words.alone(TRAINING, CELLS, 145, 1000)
    for line, full in zip(words.alone(TRAINING, CELLS, 145, width), whole, strict=True):
        assert len(line) <= max(1, width - 1)
        first = full.split(", ")[0]
        assert line == full[: len(line)] if len(line) < len(first) else set(line.split(", ")) <= set(full.split(", "))


def test_time_left_of_the_session_is_said_when_there_is_something_to_go_by():
    assert words.Cells(8, 1, [10.0]).left() is None
    assert words.Cells(3, 2, [10.0, 20.0]).left() is None  # the last one is running
    assert words.Cells(8, 5, [10.0, 20.0]).left() == (20.0, 40.0)  # three were skipped


def test_under_xdist_each_worker_has_a_line_and_many_are_counted():
    many = {f"gw{number}": TRAINING for number in range(9)}
    lines = words.together(many, CELLS, 145, 120)
    assert lines[0] == "3 of 8 cells done, 2:25 min passed"
    assert lines[1] == (
        "  gw0 iris[tiny-pw] seed 0, pw: training on 64 rows, step 45 of 130, loss 0.412, 44 s left, 1.9 steps/s"
    )
    assert lines[-1] == "  and 3 more workers"


OFTEN = "\nfrom pytest_bettertogether.plugin import display, distribution\n\ndisplay.IN_PLACE = display.PLAIN = 0.0\n"
OFTEN += "distribution.OFTEN = 0.0\n"
"""For the end of a conftest.py: each change is shown, however fast the machine is."""

TRAINS = '        with open("trainings", "a") as log:'
TELLS = "        for step in range(3):\n            self.watcher(step + 1, 3, 0.5)\n"
TELLING = CONFTEST.replace(TRAINS, TELLS + TRAINS).replace(
    "    def __init__(", "    watcher = None\n\n    def __init__("
)


@pytest.fixture
def shown(pytester):
    """A folder with one suite, whose progress is shown at each change."""
    pytester.makeconftest(CONFTEST + OFTEN)
    pytester.makepyfile(test_parity=SUITE)
    return pytester


COMMAND = [sys.executable, "-m", "pytest", "--bt-model=parrot", "--bt-strategy=p", "--bt-gate=off", "--bt-seeds=0,1"]


def on_a_terminal(folder, *args, columns=80, term="xterm"):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "24", "TERM": term}
    process = subprocess.Popen(
        [*COMMAND, *args], cwd=folder, stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux: the other end is gone
            break
        if not piece:
            break
        output += piece
    os.close(ours)
    assert process.wait() == 0
    return output.decode()


class Screen:
    """What a terminal shows of a text: letters, line ends, and the four cursor movements that are used."""

    def __init__(self):
        self.lines, self.row, self.column = [""], 0, 0

    def write(self, text):
        for movement, count, kind, character in re.findall(r"(\x1b\[(\d*)([A-Za-z]))|(.)", text, re.DOTALL):
            if kind == "A":
                self.row -= int(count)
                assert self.row >= 0
            elif kind == "C":
                self.column += int(count)
            elif kind == "J":
                assert count in ("", "0")
                self.lines[self.row :] = [self.lines[self.row][: self.column]]
            elif movement:
                assert kind == "m", movement
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self.row += 1
                self.lines += [""] * (self.row == len(self.lines))
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1


@pytest.mark.parametrize("options", [(), ("-v",), ("-n1",)])
def test_on_a_terminal_it_is_shown_below_the_open_line_and_taken_away(shown, options):
    output = on_a_terminal(shown.path, *options)
    worker = "gw0 " if "-n1" in options else ""
    assert f"{worker}parity[parrot-p] seed 1" in output
    assert "p: candidate 2 of 9, " in output
    screen = Screen()
    screen.write(output)
    left = "\n".join(screen.lines)
    assert "cell 1 of 1" not in left
    assert "candidate" not in left
    if not options:
        (line,) = (line for line in screen.lines if line.startswith("test_parity.py"))
        assert line.split() == ["test_parity.py", "n", "[100%]"]
    assert any(line.startswith("====") and " 1 passed in " in line for line in screen.lines)


def test_while_it_is_shown_the_letters_stay_and_no_line_is_wider_than_the_terminal(shown):
    output = on_a_terminal(shown.path, "--bt-strategy=zero", "--bt-strategy=w", columns=50)
    screen, seen = Screen(), set()
    for piece in re.split(r"(?<=A\r\x1b\[\d\dC)", output):
        screen.write(piece)
        seen.update(screen.lines)
    assert any(line.startswith("cell 2 of 3: parity[parrot-") for line in seen)
    assert any(line.rstrip() == "test_parity.py n" for line in seen)
    assert all(len(line) < 50 for line in seen if line.startswith(("cell", "  ")))


def test_quiet_shows_none_on_a_terminal(shown):
    assert "seed 0" not in on_a_terminal(shown.path, "-q")


@pytest.mark.parametrize(("options", "term"), [((), "dumb"), (("-s",), "xterm")])
def test_a_terminal_where_nothing_can_be_moved_gets_lines(shown, options, term):
    output = on_a_terminal(shown.path, "--color=no", *options, term=term)
    assert "\x1b[" not in output
    assert re.search(r"^cell 1 of 1: parity\[parrot-p\] seed 0, .*p: candidate 2 of 9", output, re.MULTILINE)


@pytest.mark.parametrize(("option", "there"), [("-v", True), ("-q", True), ("-qq", False)])
def test_elsewhere_it_is_plain_lines_now_and_then(shown, option, there):
    result = shown.run(*COMMAND, option)
    assert result.ret == 0
    found = re.search(r"^cell 1 of 1: parity\[parrot-p\] seed 0, \d+ s passed; p: candidate", str(result.stdout), re.M)
    assert bool(found) == there
    assert "\x1b" not in result.stdout.str()


def test_elsewhere_under_xdist_the_controller_says_it(shown):
    result = shown.run(*COMMAND, "-n1")
    result.stdout.fnmatch_lines(["0 of 1 cells done, *", "  gw0 parity[[]parrot-p] seed 0, p: candidate *"])


def test_a_training_is_shown_of_an_engine_that_tells_and_of_one_that_does_not(shown):
    result = shown.run(*COMMAND, "--bt-strategy=w")
    result.stdout.fnmatch_lines(["cell * w: training on * rows"])
    assert ", step " not in result.stdout.str()
    shown.makeconftest(TELLING + OFTEN)
    result = shown.run(*COMMAND, "--bt-strategy=w", "--bt-fresh")
    result.stdout.fnmatch_lines(["cell * w: training on * rows, step 3 of 3, loss 0.5*"])


def test_a_session_without_cells_leaves_pytests_writer_alone(pytester):
    pytester.makeconftest(
        "def pytest_runtest_setup(item):\n"
        "    assert not hasattr(item.config.pluginmanager.get_plugin('terminalreporter')._tw._file, 'below')\n"
    )
    pytester.makepyfile("def test_plain(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_what_others_are_quoted_with_is_inert_before_it_is_fitted_to_the_width():
    hostile = "HTTP 429: \x1b[2J\u202e\n::stop-commands::tok"
    open_line = OpenLine(io.StringIO())
    shown = Display(None, open_line, in_place=True, several=False, last=float("inf"))
    shown.stopped.set()  # no thread is to draw
    shown.show(Snapshot(f"iris[{hostile}-p]", "p", hostile, 25, 100))
    lines = shown._lines(0.0, 200)
    assert all("\x1b" not in line and "\u202e" not in line and "\n" not in line for line in lines)
    assert all("\\u003a:stop-commands" in line for line in lines)
    assert max(map(len, shown._lines(0.0, 80))) < 80

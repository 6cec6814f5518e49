"""Shows progress while cells run: below pytest's own line on a terminal, elsewhere (CI's logs) as lines now and then.

The library rich was tried for this, and pytest's writer forbids it. pytest leaves the line with a file's letters open
until the file is done, and rich's Live starts each frame with a carriage return and an erased line: no letter is left.
pytest's capture takes file descriptor 1 away while a test runs, which is when there is something to show. And rich
cannot know what pytest writes in between. tqdm and alive-progress do as rich does.

So what is shown is written below the open line, to a copy of the terminal's descriptor that capture does not touch; the
cursor is put back behind the last letter; and whatever pytest writes takes it away first. Terminals without cursor
movement (TERM=dumb) and `-s`, where tests print beside pytest, get the lines of a log. Letters that a terminal cannot
show become `?`.
"""

import os
import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import pytest

from ..pipeline.inert_text import plain
from ..running.progress import Snapshot
from . import progress_words as words
from .keys import DISPLAY

IN_PLACE, PLAIN = 0.2, 10.0
"""Seconds between two updates, on a terminal and elsewhere."""
TICK = 1.0
"""Seconds after which a terminal is brought up to date though nothing was heard: clocks go on."""


class OpenLine:
    """In place of the file that pytest's reporter writes to: knows how far the last line has come, and what is below.

    All that is written goes through one lock; the file itself is asked for everything else.
    """

    def __init__(self, file: TextIO) -> None:
        self.file, self.lock, self.column, self.below = file, threading.RLock(), 0, 0
        self.direct = _beside_capture(file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, text: str) -> int:
        """Write for pytest, at once, after taking away what is below."""
        with self.lock:
            self.draw(())
            written = self.file.write(text)
            self.file.flush()
            for line in text.splitlines(keepends=True):
                self.column = 0 if line[-1] in "\r\n" else self.column + _columns(line)
            return written

    def draw(self, lines: Sequence[str], width: int = 1 << 30) -> None:
        """Show `lines` below the open line, in place of those that are there; the cursor ends where it was."""
        with self.lock:
            if not (lines or self.below):
                return
            up, right = f"\x1b[{len(lines) or 1}A\r", f"\x1b[{self.column % width}C" if self.column % width else ""
            self.direct.write("\n\x1b[J" + "\n".join(lines) + up + right)
            self.direct.flush()
            self.below = len(lines)

    def print(self, lines: Sequence[str]) -> None:
        """Write lines of their own."""
        with self.lock:
            self.direct.write("\n" * bool(self.column) + "".join(f"{line}\n" for line in lines))
            self.direct.flush()
            self.column = 0


@dataclass
class Display:
    """What is known of the session's cells, and the line it is shown below.

    Attributes:
        reporter: pytest's terminal reporter.
        line: What is written to.
        in_place: Whether lines are shown below the open line, and replaced.
        several: Whether cells run in workers of pytest-xdist; `snapshots` has one for each that is at a cell.
    """

    reporter: Any
    line: OpenLine
    in_place: bool
    several: bool
    cells: words.Cells = field(default_factory=words.Cells)
    snapshots: dict[str, tuple[float, Snapshot]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def show(self, snapshot: Snapshot, worker: str = "") -> None:
        """Take note of where a cell is, and show it unless something was shown a moment ago: then it is shown soon."""
        # A detail may quote a server. Here and not when lines are made, for what is inert is longer.
        cell, stage, detail = (plain(text) for text in (snapshot.cell, snapshot.stage, snapshot.detail))
        snapshot = replace(snapshot, cell=cell, stage=stage, detail=detail)
        with self.line.lock:
            self.snapshots[worker] = (time.monotonic(), snapshot)
            if self.thread is None:
                self.thread = threading.Thread(target=self._tick, name="bettertogether-progress", daemon=True)
                self.thread.start()
            self._update()

    def over(self, worker: str = "") -> None:
        """Take away what is shown of a worker: it is at no cell any more."""
        with self.line.lock:
            self.snapshots.pop(worker, None)
            if not self.snapshots:
                self.line.draw(())

    def finished(self, seconds: float | None) -> None:
        """Count a cell that is done; `seconds` is what it took, of one that was run."""
        self.cells.done += 1
        if seconds is not None:
            self.cells.seconds.append(seconds)

    def close(self) -> None:
        """Show nothing more."""
        self.stopped.set()
        if self.thread:
            self.thread.join()
        with self.line.lock:
            self.line.draw(())
            if self.reporter._tw._file is self.line:
                self.reporter._tw._file = self.line.file
            if self.line.direct is not self.line.file:
                self.line.direct.close()

    def _tick(self) -> None:
        while not self.stopped.wait(TICK):
            with self.line.lock:
                self._update()

    def _update(self) -> None:
        now = time.monotonic()
        if not self.snapshots or now - self.last < (IN_PLACE if self.in_place else PLAIN):
            return
        self.last = now
        width = self.reporter._tw.fullwidth
        encoding = getattr(self.line.file, "encoding", None) or "ascii"
        lines = [line.encode(encoding, "replace").decode(encoding) for line in self._lines(now, width)]
        if self.in_place:
            self.line.draw(lines, width)
        else:
            self.reporter.currentfspath = None  # pytest names its file again before the next letter
            self.line.print(lines)

    def _lines(self, now: float, width: int) -> list[str]:
        known = {worker: words.aged(snapshot, now - at) for worker, (at, snapshot) in self.snapshots.items()}
        passed = now - self.began
        if self.several:
            return words.together(known, self.cells, passed, width)
        (snapshot,) = known.values()
        if self.in_place:
            return words.alone(snapshot, self.cells, passed, width)
        return [words.logged(snapshot, self.cells, passed)]


def open_display(config: pytest.Config, cells: int, several: bool = False) -> None:
    """Get ready to show the progress of a session with so many cells, where it is to be shown.

    To be called while pytest captures nothing. Under -q a terminal shows none, under -qq nothing does. A worker of
    pytest-xdist has no reporter: its controller shows what it says.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or DISPLAY in config.stash:
        return
    terminal = bool(reporter.isatty)
    if config.get_verbosity() < (0 if terminal else -1):
        return
    in_place = terminal and os.environ.get("TERM", "dumb") != "dumb" and config.option.capture != "no"
    reporter._tw._file = line = OpenLine(reporter._tw._file)
    config.stash[DISPLAY] = Display(reporter, line, in_place, several, words.Cells(cells))


def _beside_capture(file: TextIO) -> TextIO:
    """The same terminal or log, by a descriptor of its own; or the file itself, where it has none."""
    try:
        return os.fdopen(os.dup(file.fileno()), "w", encoding=file.encoding, errors="replace", newline="")
    except (OSError, ValueError, AttributeError):
        return file


def _columns(text: str) -> int:
    """The columns that a text takes on a terminal, colours aside."""
    count, escaped = 0, False
    for character in text:
        if escaped:
            escaped = not character.isalpha()
        elif character == "\x1b":
            escaped = True
        elif character.isprintable() and not unicodedata.combining(character):
            count += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return count

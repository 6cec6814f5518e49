"""What pytest's reporter shows of ours: the summary's style, and progress in place (elsewhere a line now and then)."""

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # tables are loaded when there is something to print
    from ..report.text import Style

IN_PLACE, PLAIN = 0.2, 10.0
"""Seconds between two updates, on a terminal and elsewhere."""


class ProgressLine:
    """Shows progress behind what pytest has written on the current line, and takes it away again."""

    def __init__(self, reporter: Any, capture: Any) -> None:
        self.reporter, self.capture = reporter, capture
        self.in_place = bool(reporter.isatty)
        self.shown, self.last = 0, time.monotonic()

    def show(self, line: str) -> None:
        """Show a line, unless one was shown a moment ago."""
        now = time.monotonic()
        if now - self.last < (IN_PLACE if self.in_place else PLAIN):
            return
        self.last = now
        with self.capture.global_and_fixture_disabled():
            if not self.in_place:
                self.reporter.write_line(line)
                return
            writer = self.reporter._tw
            room = max(0, writer.fullwidth - writer.width_of_current_line - 2)
            encoding = getattr(writer._file, "encoding", None) or "ascii"
            text = f" {line}"[:room].encode(encoding, "replace").decode(encoding)
            # Straight to the file: the writer must not count this as part of its own line.
            writer._file.write(self._erasing() + text)
            writer._file.flush()
            self.shown = len(text)

    def clear(self) -> None:
        """Take away what is shown."""
        if self.shown:
            with self.capture.global_and_fixture_disabled():
                self.reporter._tw._file.write(self._erasing())
                self.reporter._tw._file.flush()
            self.shown = 0

    def _erasing(self) -> str:
        return "\b" * self.shown + " " * self.shown + "\b" * self.shown


class NoLine:
    """Shows nothing."""

    def show(self, _line: str) -> None:
        """Look away."""

    def clear(self) -> None:
        """Nothing is shown."""


def progress_line(config: pytest.Config) -> ProgressLine | NoLine:
    """Where this session shows progress: nowhere under -q, or in an xdist worker."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or capture is None or config.get_verbosity() < 0 or hasattr(config, "workerinput"):
        return NoLine()
    return ProgressLine(reporter, capture)


def style_of(reporter: Any) -> "Style":
    """How the summary is to be printed here: width, colours and signs as pytest's own writer has them."""
    from ..report.text import ASCII, UNICODE, Style

    writer = reporter._tw
    encoding = getattr(writer._file, "encoding", None) or "ascii"
    colours = {"best": {"green": True}, "bad": {"red": True}, "dim": {"light": True}}

    def paint(text: str, meaning: str) -> str:
        return str(writer.markup(text, **colours[meaning]))

    return Style(UNICODE if UNICODE.fit(encoding) else ASCII, writer.fullwidth, reporter.verbosity, paint)

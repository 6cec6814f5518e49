"""How a fault reaches the user: with their own lines and without ours."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry, ReprExceptionInfo, ReprFileLocation, ReprTraceback

from ..pipeline.errors import BetterTogetherError
from ..pipeline.inert_text import block

OURS = str(Path(__file__).parent.parent)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
LEAVING = (pytest.skip.Exception, pytest.xfail.Exception, SystemExit)
"""How a task's code may try to leave its cell without an error; `leaves` knows one way more."""
BROKEN = (Exception, pytest.fail.Exception, *LEAVING)
"""Whatever breaks a cell. The `fail` of pytest is no Exception, and pytest-timeout uses it."""


def raise_for_user(error: BaseException) -> NoReturn:
    """End the test with `error`, shown as what the user can act on.

    If code of the user's took part, its own exception, with its lines and none of ours (so that
    --pdb lands there too) and with our words as a note. Else our words alone, if the error is
    one meant for the user; a mistake of ours keeps its whole traceback.
    """
    __tracebackhide__ = True
    meant = isinstance(error, BetterTogetherError)
    cause = error.__cause__ if meant and isinstance(error.__cause__, Exception) else error
    # Those of "<string>" are the constructors that dataclasses write.
    frames = [frame for frame in _walk(cause.__traceback__) if not _file(frame).startswith((OURS, "<"))]
    if any(not _file(frame).startswith(LIBRARIES) for frame in frames):
        if cause is not error:
            cause.add_note(block(str(error)))
        raise cause.with_traceback(_chained(frames)) from None
    if meant:
        raise pytest.fail.Exception(block(f"{type(error).__name__}: {error}"), pytrace=False) from None
    raise error


def make_inert(report: pytest.TestReport) -> None:
    """Make inert what pytest shows of a failure: an exception of the user's may quote a model, a server or a file."""
    shown = report.longrepr
    if isinstance(shown, str):
        report.longrepr = block(shown)
    elif isinstance(shown, ExceptionChainRepr):
        for traceback, crash, _ in shown.chain:
            _make_inert(traceback, crash)
    elif isinstance(shown, ReprExceptionInfo):
        _make_inert(shown.reprtraceback, shown.reprcrash)


def _make_inert(traceback: ReprTraceback, crash: ReprFileLocation | None) -> None:
    """Rewrite each text of one exception in place, for pytest's terminal, JUnit XML and xdist alike."""
    for entry in traceback.reprentries:
        entry.lines = [block(line) for line in entry.lines]
        if isinstance(entry, ReprEntry):
            locations = [entry.reprfileloc, crash]
            if entry.reprlocals:
                entry.reprlocals.lines = [block(line) for line in entry.reprlocals.lines]
            if entry.reprfuncargs:
                entry.reprfuncargs.args = [(name, block(str(value))) for name, value in entry.reprfuncargs.args]
        else:
            locations = [crash]
        for location in locations:
            if location:
                location.message = block(location.message)


def leaves(error: BaseException) -> bool:
    """Whether the error would let a cell go unreported in a green run: a skip, an expected failure, an end."""
    ended = isinstance(error, pytest.exit.Exception) and error.returncode == 0
    return ended or isinstance(error, LEAVING)


def users_line(error: BaseException) -> str:
    """Where the user's code was when it raised, as in `test_x.py:12`; empty if none of theirs took part."""
    theirs = [frame for frame in _walk(error.__traceback__) if not _file(frame).startswith((OURS, "<", *LIBRARIES))]
    return f"{Path(_file(theirs[-1])).name}:{theirs[-1].tb_lineno}" if theirs else ""


def _walk(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _file(traceback: TracebackType) -> str:
    return traceback.tb_frame.f_code.co_filename


def _chained(frames: list[TracebackType]) -> TracebackType | None:
    following: TracebackType | None = None
    for frame in reversed(frames):
        following = TracebackType(following, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return following

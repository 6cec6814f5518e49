"""How a fault reaches the user: with their own lines and without ours."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest

from .errors import BetterTogetherError

OURS = str(Path(__file__).parent)


def raise_for_user(error: BetterTogetherError) -> NoReturn:
    """End the test with `error`: as the exception of the user's own code that caused it, if one did, else in words.

    The user's exception keeps its type, points at the user's lines (so does --pdb) and
    carries our words as a note.
    """
    __tracebackhide__ = True
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else None
    frames = [each for each in _walk((cause or error).__traceback__) if not _is_ours(each)]
    if cause is None or not frames:
        pytest.fail(f"{type(error).__name__}: {error}", pytrace=False)
    cause.add_note(str(error))
    raise cause.with_traceback(_chained(frames)) from None


def _walk(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(OURS)


def _chained(frames: list[TracebackType]) -> TracebackType | None:
    following: TracebackType | None = None
    for each in reversed(frames):
        following = TracebackType(following, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return following

"""Saving what is whole out of a journal whose data base is damaged."""

import mmap
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ..pipeline.errors import JournalError
from ..pipeline.inert_text import plain
from .pages import Row, readings
from .store import Journal, is_time, is_whole

_SHARED, _SHARED_BYTES = 0x40000002, 510
"""The bytes of its file that SQLite locks while a connection is open."""


def repair(folder: Path) -> Iterator[str]:
    """Put a data base with all rows that are whole in place of the journal's, and keep the damaged one aside.

    Adapters are not touched: each is checked when it is used.

    Returns:
        A line for each entry that is lost, and what was saved and where the damaged data base is now.

    Raises:
        JournalError: There is no journal, another process uses it, or the new data base cannot be written.
    """
    file = folder / "journal.sqlite"
    if not file.is_file():
        raise JournalError(f"there is no journal in {folder}: name its folder with --dir")
    _refuse_if_used(file)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="repair-") as home:
            saved, lost = _save(file, Path(home))
            aside = _put_in_place(Path(home) / file.name, file)
    except OSError as error:
        raise JournalError(f"journal {folder} cannot be repaired: {error}: nothing of it was changed") from error
    for key in sorted(lost):
        yield f"entry {plain(key.decode(errors='backslashreplace'))} is lost: it will be computed again"
    yield f"{saved:,} entries are whole, {len(lost):,} are lost"
    yield f"the data base as it was is kept as {aside}: delete it when you miss nothing"


def _save(file: Path, home: Path) -> tuple[int, set[bytes]]:
    """Copy the rows of `file` that are whole into a journal in `home`; how many, and the keys of which none is."""
    newest: dict[bytes, int] = {}
    damaged: dict[int, Row] = {}
    keys: dict[bytes, int] = {}
    journal = Journal(home)
    try:
        with _content(file) as content, _content(Path(f"{file}-wal")) as log:
            for pages in readings(content, log):
                for row in pages.rows():
                    if not row.whole:
                        damaged[row.place] = row
                    elif isinstance(row.key, bytes) and row.place >= newest.get(row.key, -1):
                        newest[row.key] = row.place
                        _keep(journal, row.key, row)
                keys.update(pages.keys())
        places = set(newest.values())
        missing = {key for key, place in keys.items() if key not in newest and place not in places}
        for key in list(missing):
            found = damaged.get(keys[key])
            if found is not None and is_whole(key, found.checksum, found.value):  # only its key was damaged
                _keep(journal, key, found)
                newest[key] = found.place
        places = set(newest.values()) | set(keys.values())
        unnamed = {row.key for place, row in damaged.items() if place not in places and isinstance(row.key, bytes)}
        journal.query("PRAGMA journal_mode = DELETE")  # all of it is in the one file now, or this fails
    finally:
        journal.close()
    return len(newest), (missing | unnamed) - set(newest)


def _keep(journal: Journal, key: bytes, row: Row) -> None:
    used = row.used if isinstance(row.used, int) and is_time(row.used) else int(time.time())
    value = row.value if isinstance(row.value, bytes) else b""
    journal.restore(key.decode(), value.decode(), used)


def _put_in_place(new: Path, file: Path) -> str:
    """Rename the old file and its write-ahead log, and then the new one; the name that the old one has now."""
    names = (f"{file.name}.damaged{number}" for number in count(1))
    aside = next(file.with_name(name) for name in names if not file.with_name(name).exists())
    for ending in ("-wal", "-shm", ""):  # SQLite would play a log that is left behind into the new file
        old = Path(f"{file}{ending}")
        if old.exists():
            old.rename(f"{aside}{ending}")
    new.rename(file)
    return aside.name


@contextmanager
def _content(file: Path) -> Iterator[bytes]:
    """The bytes of a file, which need not fit into memory; of a file that is missing or empty, none."""
    if not file.is_file() or not file.stat().st_size:
        yield b""
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content  # type: ignore[misc]  # slices and lengths are those of bytes, and nothing else is asked of it


def _refuse_if_used(file: Path) -> None:
    """Raise JournalError if another process has the data base open: what it wrote later would go aside."""
    if sys.platform == "win32":
        return  # an open file cannot be renamed there
    import fcntl

    with file.open("r+b") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED)
        except OSError as error:
            raise JournalError(f"{file} is in use by another process: repair it when that has ended") from error

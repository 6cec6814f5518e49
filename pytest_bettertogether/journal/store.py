"""The journal: what has been paid for, completions and adapters, kept so that it can be replayed.

Nothing else is stored: searches, metrics and verdicts are computed again from these two,
so that a changed metric or parser never meets an old verdict.

    DIR/journal.sqlite      completions, and which adapter a training ended with
    DIR/adapters/<digest>/  safetensors + JSON
    DIR/training/           trainings under way: their checkpoints and locks
    DIR/indexes/            search indexes, made of a corpus and made again where they are missing

It belongs on a disk of this machine: SQLite's write-ahead log and file locks need one, and network file
systems are not supported.
"""

import errno
import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..pipeline.errors import JournalError

SCHEMA = 2
"""2: entries know when they were used last. Schema 1 is brought up to date where it lies."""

PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""


DAY = 86_400

_ALL = "SELECT key, used, checksum, value FROM entry"
_ONE = "SELECT used, checksum, value FROM entry WHERE key = ?"


_DATA_BASE = (sqlite3.Error, UnicodeDecodeError)
"""What a use of SQLite raises; the latter where its own message quotes a damaged name."""

_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG)
"""SQLITE_ERROR too: our statements are right, so that a table or column that it misses had its name damaged."""


@dataclass(frozen=True)
class Entry:
    """One row. `value` is None where it is damaged, and `size` is in bytes.

    `used` is a Unix time, to the day, and 0 where what is written there can be none.
    """

    key: str
    used: int
    size: int
    value: Any


class Journal:
    """A folder with a data base and a folder of adapters; several processes may share it.

    Every method raises JournalError where the folder or its data base cannot be used.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        self.adapters, self.training = folder / "adapters", folder / "training"
        self.indexes = folder / "indexes"
        self._damaged: set[tuple[str, str]] = set()
        try:
            for kept in (self.adapters, self.training):
                kept.mkdir(parents=True, exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists() or not ignore.stat().st_size:  # a full disk once left it empty
                ignore.write_text("*\n", encoding="utf-8")
            self._connection = sqlite3.connect(folder / "journal.sqlite", timeout=PATIENCE, isolation_level=None)
            self._connection.text_factory = bytes  # a damaged text may be no UTF-8, and costs its own row alone
            try:
                self._set_up()
            except BaseException:  # whatever it was goes on; an open connection must not be left to the collector
                self._connection.close()
                raise
        except (OSError, *_DATA_BASE) as error:
            raise self.unusable(error) from error

    def _set_up(self) -> None:
        """Make the table, or check that it is ours; several processes may be at it at once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # SQLite's own patience does not cover the switch to WAL: it fails at once while another opens.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        # With a write-ahead log a killed process loses nothing this way, and a power cut the last entries at most.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("BEGIN IMMEDIATE")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        used = f"used INTEGER NOT NULL DEFAULT {int(time.time())}"  # a constant: no row has to be written again
        if version == 0:
            self._connection.execute(f"CREATE TABLE entry (key TEXT PRIMARY KEY, checksum TEXT, value TEXT, {used})")
        elif version == 1:
            self._connection.execute(f"ALTER TABLE entry ADD COLUMN {used}")
        if version < SCHEMA:
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        self._connection.execute("COMMIT")
        if version > SCHEMA:
            raise JournalError(
                f"journal {self.folder} has schema {version}, this version reads {SCHEMA}: "
                "name another folder with --bt-journal, or delete this one"
            )

    def close(self) -> None:
        """Let go of the data base."""
        self._connection.close()

    def get(self, key: str, kind: str = "entry") -> Any:
        """The JSON value kept under `key`, or None; a damaged entry is counted as one of `kind`, and as good as none.

        What is damaged is an entry whose bytes are not those that were written. Damage to the data base around
        the entries is an error: what else it holds may be worth saving, and that is for its owner to say.
        """
        if self.fresh:
            return None
        rows = self.query(_ONE, key)
        if not rows:
            return None
        entry = _entry(key.encode(), *rows[0])  # by the key that was asked for, whatever SQLite took for it
        if entry.value is None:
            self.found_damaged(kind, key)
        elif entry.used < time.time() - DAY:
            with suppress(sqlite3.Error):  # a full disk must not keep anybody from reading
                self._connection.execute("UPDATE entry SET used = ? WHERE key = ?", (int(time.time()), key))
        return entry.value

    def entries(self) -> Iterator[Entry]:
        """All of them."""
        with self._errors(), closing(self._connection.execute(_ALL)) as rows:
            for row in rows:
                yield _entry(*row)

    def starting(self, start: str) -> list[Entry]:
        """Two entries at most whose keys begin so: enough to see whether it is one."""
        for column in ("key", "+key"):  # by the index, and where that is damaged, through all rows
            sql = f"{_ALL} WHERE {column} >= ? AND {column} < ? LIMIT 2"
            rows = self.query(sql, start, f"{start}\U0010ffff")
            if rows:
                break
        return [_entry(*row) for row in rows]

    def forget(self, before: float) -> int:
        """Remove the entries that were used last before this Unix time (known to the day); how many.

        An entry whose time can be none is as good as used now.
        """
        now = int(time.time())
        with self._errors():
            self._connection.execute(
                "UPDATE entry SET used = ? WHERE typeof(used) <> 'integer' OR used < 0 OR used > ?", (now, now + DAY)
            )
            return self._connection.execute("DELETE FROM entry WHERE used < ?", (before,)).rowcount

    def query(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows that SQLite answers with."""
        with self._errors(), closing(self._connection.execute(sql, parameters)) as found:
            return found.fetchall()

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value, in place of any that was there."""
        self.restore(key, json.dumps(value), int(time.time()))  # ASCII: UTF-8 holds no lone surrogates of a model

    def restore(self, key: str, text: str, used: int) -> None:
        """Keep a value that is JSON already, as used last at this Unix time."""
        with self._errors():
            self._connection.execute(
                "INSERT OR REPLACE INTO entry (key, checksum, value, used) VALUES (?, ?, ?, ?)",
                (key, _checksum(key.encode(), text.encode()), text, used),
            )

    def found_damaged(self, kind: str, key: str) -> None:
        """Note that what is kept under `key` is not what was once written; noted twice, it counts once."""
        self._damaged.add((kind, key))

    @property
    def damaged(self) -> Counter[str]:
        """What was found damaged, by kind."""
        return Counter(kind for kind, _ in self._damaged)

    def checkpoint(self, key: str) -> Path:
        """Where the training with this key keeps what it needs to go on; with `fresh` there is none yet."""
        path = self.training / f"{key}.safetensors"
        if self.fresh:
            path.unlink(missing_ok=True)
        return path

    @contextmanager
    def owning(self, key: str, waiting: Callable[[float], None]) -> Iterator[None]:
        """Be the one process that trains what has this key; `waiting` hears, once a second, for how many it has waited.

        The owner holds a lock of the operating system, which is free the moment its process is dead.
        """
        lock = FileLock(self.training / f"{key}.lock")
        began, patience = time.monotonic(), 0.0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=patience)
            except Timeout:
                waiting(time.monotonic() - began)
                patience = 1.0
            except OSError as error:
                raise self.unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _DATA_BASE as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> JournalError:
        """The words for an error of the disk or of SQLite: what it means, and what to do."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it
        number = error.errno if isinstance(error, OSError) else None
        if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return JournalError(
                f"journal {self.folder} cannot be written, the disk is full ({error}): free some space and run the "
                "same command again; what it holds already is unharmed"
            )
        if code in _DAMAGE or isinstance(error, UnicodeDecodeError):
            return JournalError(
                f"journal {self.folder} is damaged: {error}: save what is whole with `bettertogether journal --dir "
                f"{self.folder} repair`, or name another folder with --bt-journal"
            )
        return JournalError(f"journal {self.folder} cannot be used: {error}: name another folder with --bt-journal")


def damage_line(damaged: Mapping[str, int]) -> str:
    """`journal: 1 damaged completion entry and 2 damaged adapters were computed again`."""
    plural = {"entry": "entries"}
    counts = []
    for kind, count in sorted(damaged.items(), reverse=True):
        *first, noun = kind.split()
        counts.append(" ".join([str(count), "damaged", *first, noun if count == 1 else plural.get(noun, f"{noun}s")]))
    return f"journal: {' and '.join(counts)} {'was' if sum(damaged.values()) == 1 else 'were'} computed again"


def _entry(key: Any, used: Any, checksum: Any, value: Any) -> Entry:
    """A row as SQLite reads it; damage may have made anything of any column."""
    whole = is_whole(key, checksum, value)
    name = key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)
    size = len(value) if isinstance(value, bytes) else 0
    return Entry(name, used if is_time(used) else 0, size, json.loads(value) if whole else None)


def is_time(used: Any) -> bool:
    """Whether this can be when an entry was used: a time that has been, give or take the clocks of two machines."""
    return isinstance(used, int) and 0 < used < time.time() + DAY


def is_whole(key: Any, checksum: Any, value: Any) -> bool:
    """Whether these columns, read as bytes, are what was once written together."""
    return isinstance(key, bytes) and isinstance(value, bytes) and checksum == _checksum(key, value).encode()


def _checksum(key: bytes, value: bytes) -> str:
    return hashlib.sha256(key + b"\n" + value).hexdigest()[:16]

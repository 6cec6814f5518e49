"""Looking after a journal: what it holds, whether that is whole, and doing away with what is old."""

import heapq
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..pipeline.adapter import adapter_digest
from ..pipeline.errors import JournalError
from ..pipeline.inert_text import plain
from .store import Entry, Journal


def existing(folder: Path) -> Journal:
    """Open a journal that is there. Raises JournalError if none is."""
    if not (folder / "journal.sqlite").is_file():
        raise JournalError(f"there is no journal in {folder}: name its folder with --dir")
    return Journal(folder)


def listing(journal: Journal, most: int) -> Iterator[str]:
    """What it holds: totals, and the entries used last."""
    folders = [folder for folder in journal.adapters.iterdir() if folder.is_dir()]
    entries = batches = completions = 0

    def counted() -> Iterator[tuple[int, str, str]]:
        nonlocal entries, batches, completions
        for entry in journal.entries():
            entries += 1
            if isinstance(entry.value, list):
                batches, completions = batches + 1, completions + len(entry.value)
            yield -entry.used, entry.key, line(entry)

    latest = heapq.nsmallest(most, counted())  # of a million, all are looked at and few are held
    yield f"{journal.folder}: {_size(journal.folder):,} B"
    yield f"{completions:,} completions in {batches:,} batches"
    yield f"{len(folders):,} adapters, {sum(map(_size, folders)):,} B"
    yield f"{len(list(journal.training.glob('*.safetensors')))} trainings under way"
    yield from (text for *_, text in latest)
    if entries > most:
        yield f"and {entries - most:,} more: --all lists them"


def find(journal: Journal, start: str) -> Entry:
    """The one entry whose key begins so. Raises JournalError if there is none, or more than one."""
    found = journal.starting(start)
    if len(found) != 1:
        many = "several" if found else "no"
        raise JournalError(f"{many} entries have a key that begins with {start!r}: name one of them")
    return found[0]


def verify(journal: Journal) -> Iterator[str]:
    """A line for each fault; none if all is whole."""
    checked: set[str] = set()
    try:
        yield from _damaged_rows(journal, checked)
    except JournalError as error:  # the adapters are looked at all the same
        yield str(error)
    for folder in sorted(journal.adapters.iterdir()):
        if folder.name not in checked and adapter_digest(folder) != folder.name:
            yield f"adapters/{folder.name} is half written and belongs to nothing: prune removes it"


def _damaged_rows(journal: Journal, checked: set[str]) -> Iterator[str]:
    """A line for each fault of the data base; the adapters that its entries name are added to those `checked`."""
    for (finding,) in journal.query("PRAGMA integrity_check"):
        if finding != b"ok":
            yield f"data base: {plain(finding.decode(errors='backslashreplace'))}"
    for entry in journal.entries():
        if entry.value is None:
            yield f"entry {_shown(entry)} is damaged: it will be computed again"
        elif adapter := _adapter(entry):
            checked.add(adapter)
            if adapter_digest(journal.adapters / adapter) != adapter:
                yield f"adapter {adapter} is damaged or missing: it will be trained again"


def prune(journal: Journal, seconds: float) -> Iterator[str]:
    """Remove what was used last more than so many seconds ago, and what belongs to nothing; says what."""
    before = time.time() - seconds
    journal.query("PRAGMA wal_checkpoint(TRUNCATE)")  # what its log holds is no room that pruning frees
    size = _size(journal.folder)
    removed = journal.forget(before)
    kept = {_adapter(entry) for entry in journal.entries()}
    folders = [path for path in journal.adapters.iterdir() if path.name not in kept and _age(path) < before]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for index in journal.indexes.iterdir() if journal.indexes.is_dir() else ():
        if index.is_dir() and _age(index) < before:
            shutil.rmtree(index, ignore_errors=True)
    for file in _abandoned(journal):
        if _age(file) < before:
            file.unlink(missing_ok=True)
    in_use = "" if _compact(journal) else "; its data base keeps its size, as it is in use or the disk is full"
    entries = f"{removed:,} entr{'y' if removed == 1 else 'ies'}"
    adapters = f"{len(folders):,} adapter{'s' * (len(folders) != 1)}"
    yield f"removed {entries} and {adapters}, freed {max(0, size - _size(journal.folder)):,} B{in_use}"


def _compact(journal: Journal) -> bool:
    """Give unused room back to the disk; False where another process is in the way, or a full disk.

    All of the data base is written anew, so that this is left out where it has no unused page.
    """
    try:
        if journal.query("PRAGMA freelist_count") != [(0,)]:
            journal.query("VACUUM")
        ((blocked, *_),) = journal.query("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the log holds all of it twice
    except JournalError as error:
        if not isinstance(error.__cause__, sqlite3.OperationalError):
            raise
        return False
    return not blocked


def _abandoned(journal: Journal) -> list[Path]:
    """The files of trainings that no process is at; a checkpoint that was being written has a dot before its name."""
    held = {lock.stem for lock in journal.training.glob("*.lock") if _is_held(lock)}
    return [file for file in journal.training.iterdir() if file.name.lstrip(".").partition(".")[0] not in held]


def _is_held(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _adapter(entry: Entry) -> str:
    """The digest of the adapter that it names, or the empty string."""
    return str(entry.value.get("digest", "")) if isinstance(entry.value, dict) else ""


def line(entry: Entry) -> str:
    """An entry on one line: key, day of its last use, size, what it is."""
    when = datetime.fromtimestamp(entry.used, UTC).date().isoformat() if entry.used else "unknown"
    what = "an engine's description"
    if entry.value is None:
        what = "damaged"
    elif isinstance(entry.value, list):
        what = f"{len(entry.value)} completions"
    elif isinstance(entry.value, dict) and "passages" in entry.value:
        what = f"a search that found {len(entry.value['passages'])} passages"
    elif _adapter(entry):
        what = f"adapter {_adapter(entry)}, {entry.value['steps']} steps"
    return f"{_shown(entry):16}  {when:10}  {entry.size:>9,} B  {what}"


def _shown(entry: Entry) -> str:
    """The beginning of its key, by which it is found; damage may have put anything in there."""
    return plain(entry.key[:16])


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

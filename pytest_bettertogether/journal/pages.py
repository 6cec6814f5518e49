"""Rows out of the pages of a SQLite file, however damaged the pages around them are.

A page that holds rows says so itself, and each row of ours proves itself by its checksum. So each page is read on
its own, in no order and without the tree above it (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .store import is_whole

SIZE = 4096
"""Bytes of a page, where the file's own header cannot be believed: SQLite's default."""

SIZES = {512 << power for power in range(8)}
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 13, 10, 2
_LOG_HEADER, _FRAME_HEADER = 32, 24
_WIDTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""Bytes of a column by its serial type, where that is no text or blob."""

Column = bytes | int | None


@dataclass(frozen=True)
class Row:
    """A row of the table as it stands in the file: whole or not. A later row has a larger `place`."""

    place: int
    key: Column
    checksum: Column
    value: Column
    used: Column

    @property
    def whole(self) -> bool:
        """Whether it is what was once written."""
        return is_whole(self.key, self.checksum, self.value)


@dataclass(frozen=True)
class Pages:
    """One reading of a file: its pages have `size` bytes, of which `usable` hold content.

    `newer` says where in `log` the write-ahead log holds a page anew.
    """

    file: bytes
    size: int
    usable: int
    log: bytes = b""
    newer: Mapping[int, int] = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in the order of the pages; what cannot be read as a row is left out."""
        for page, start in self._all():
            if page[start] != _TABLE_LEAF:
                continue
            for at in _cells(page, start + 8, start):
                try:
                    size, after = _number(page, at)
                    place, after = _number(page, after)
                    columns = _columns(self._payload(page, after, size))
                except IndexError:
                    continue
                if len(columns) in (3, 4):  # of schema 1, rows have no time
                    key, checksum, value, *used = columns
                    yield Row(place, key, checksum, value, used[0] if used else None)

    def keys(self) -> Iterator[tuple[bytes, int]]:
        """The keys in the index of the table, each with its row's place."""
        for page, start in self._all():
            if page[start] not in (_INDEX_LEAF, _INDEX_INNER):
                continue
            inner = 4 * (page[start] == _INDEX_INNER)  # a page number, before each cell and in the page's head
            for at in _cells(page, start + 8 + inner, start):
                try:
                    size, after = _number(page, at + inner)
                    key, place = _columns(page[after : after + size])  # ours are too short to overflow
                except (IndexError, ValueError):
                    continue
                if isinstance(key, bytes) and isinstance(place, int):
                    yield key, place

    def _all(self) -> Iterator[tuple[bytes, int]]:
        """Each page, with the place where it begins to be one: the first page begins with the file's header."""
        for number in range(1, max(len(self.file) // self.size, *self.newer, 0) + 1):
            page = self._page(number)
            if len(page) == self.size:
                yield page, 100 * (number == 1)

    def _page(self, number: int) -> bytes:
        if number in self.newer:
            return self.log[self.newer[number] : self.newer[number] + self.size]
        return self.file[(number - 1) * self.size : number * self.size] if number > 0 else b""

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """The record of a table's cell, of which a long one goes on in a chain of pages.

        Raises IndexError where the chain breaks.
        """
        if size > len(self.file) + len(self.log):
            raise IndexError("the record would be larger than the file")
        most, least = self.usable - 35, (self.usable - 12) * 32 // 255 - 23
        if size <= most:
            return page[at : at + size]
        local = least + (size - least) % (self.usable - 4)
        local = local if local <= most else least
        parts, left, link = [page[at : at + local]], size - local, page[at + local : at + local + 4]
        while left > 0:
            following = self._page(int.from_bytes(link))
            if not following:
                raise IndexError("the chain of pages ends too early")
            parts.append(following[4 : min(self.usable, left + 4)])
            left -= self.usable - 4
            link = following[:4]
        return b"".join(parts)


def readings(file: bytes, log: bytes) -> Iterator[Pages]:
    """The ways to read a file whose header may be damaged, with its write-ahead log and without."""
    said = int.from_bytes(file[16:18])
    sizes = {SIZE, 65536 if said == 1 else said} & SIZES
    for size in sorted(sizes):
        reserved = file[20] if len(file) > 20 else 0
        for usable in sorted({size, size - reserved}):
            yield Pages(file, size, usable)
            newer = _newer(log, size)
            if newer:
                yield Pages(file, size, usable, log, newer)


def _newer(log: bytes, size: int) -> dict[int, int]:
    """Where a write-ahead log holds each page last. What an earlier turn of the log left behind has another salt."""
    frame = _FRAME_HEADER + size
    salts = {log[16:24], log[_LOG_HEADER + 8 : _LOG_HEADER + 16]}  # the first frame has it too, if one is damaged
    found = {}
    for at in range(_LOG_HEADER, len(log) - frame + 1, frame):
        if log[at + 8 : at + 16] in salts:
            found[int.from_bytes(log[at : at + 4])] = at + _FRAME_HEADER
    return {number: at for number, at in found.items() if number < 1 << 31}


def _cells(page: bytes, first: int, start: int) -> Iterator[int]:
    """Where the cells of a page begin, by the list of places at its head."""
    count = int.from_bytes(page[start + 3 : start + 5])
    for at in range(first, min(first + 2 * count, len(page) - 1), 2):
        yield int.from_bytes(page[at : at + 2])


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of one to nine bytes, and where it ends. Raises IndexError where the data end before."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 127
        if data[place] < 128:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _columns(record: bytes) -> list[Column]:
    """The columns of a record. Raises IndexError where it ends too early."""
    end, at = _number(record, 0)
    kinds = []
    while at < end:
        kind, at = _number(record, at)
        kinds.append(kind)
    columns: list[Column] = []
    for kind in kinds:
        width = _WIDTHS[kind] if kind in _WIDTHS else (kind - 12) // 2
        content = record[at : at + width]
        if width < 0 or len(content) < width:
            raise IndexError("the record ends too early")
        if kind >= 12:
            columns.append(content)
        else:
            columns.append({0: None, 7: None, 9: 1}.get(kind, int.from_bytes(content, signed=True)))
        at += width
    return columns

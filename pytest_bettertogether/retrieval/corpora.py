"""Passages to search, each one text: given in Python, a file, the paragraphs behind a data set, Wikipedia's of 2017."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..pipeline.data import digest
from ..pipeline.data_folder import POOL, WIKI, Where
from ..pipeline.errors import DataError
from ..pipeline.program import Searcher
from ..sources.files import files, read_rows
from ..sources.hub import fetched
from ..sources.tables import Row, Source
from .bm25 import BM25, Corpus
from .colbert import ColBERT


def passage(title: str, body: str | Iterable[str]) -> str:
    """One passage as programs see it; a body may be a list of sentences."""
    text = body if isinstance(body, str) else "".join(body)
    return f"{title} | {' '.join(text.split())}"


@dataclass(frozen=True)
class Passages:
    """A corpus in memory: `BM25(Passages(["The tutor of Anna is Ben.", {"title": "Ohrid", "text": "A lake."}]))`.

    A passage is a text, which is searched as it is, or a row with `title` and `text`, whose text may be a list of
    sentences. Raises DataError for anything else.
    """

    rows: Iterable[str | Mapping[str, Any]]

    def __post_init__(self) -> None:
        if isinstance(self.rows, str):
            raise DataError(f"Passages takes a list of passages, not one text: Passages([{self.rows[:40]!r}])")
        texts = tuple(_text(number, row) for number, row in enumerate(self.rows, 1))
        object.__setattr__(self, "rows", texts)  # a value, which later changes of a list do not change

    def identity(self, where: Where) -> str:
        """The digest of the passages, in their order."""
        return f"passages {digest(self.read(where))[:16]}"

    def read(self, where: Where) -> list[str]:  # noqa: ARG002 - no folder matters, unlike to other corpora
        """The passages as they are searched."""
        return [str(text) for text in self.rows]


def _text(number: int, row: object) -> str:
    if isinstance(row, str):
        return row
    if isinstance(row, Mapping) and isinstance(row.get("title"), str):
        body = row.get("text")
        if isinstance(body, str) or (isinstance(body, list | tuple) and all(isinstance(line, str) for line in body)):
            return passage(row["title"], body)
    raise DataError(f"Passages: passage {number} is {row!r:.60}, expected a text, or a row with title and text")


@dataclass(frozen=True)
class PassageFile:
    """A file of rows with `title` and `text`: JSON lines, CSV or Parquet, as `files` reads them."""

    path: str

    def identity(self, where: Where) -> str:
        """The digest of its bytes."""
        found = files(self.path).found(where)
        if len(found) != 1:
            raise DataError(
                f"--bt-retrieval={self.path}: expected {POOL}, {WIKI}, the URL of a ColBERT server, or one file "
                f"of passages in {where.data_dir or 'the data folder (--bt-data-dir)'} or {where.root.resolve()}"
            )
        with found[0].open("rb") as file:
            return f"file {found[0].name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"

    def read(self, where: Where) -> Iterator[str]:
        """Its passages. Raises DataError for a row without title or text."""
        for number, row in enumerate(read_rows(files(self.path).found(where)[0]), 1):
            if "title" not in row or "text" not in row:
                raise DataError(f"{self.path}: row {number} has {', '.join(row)}, expected title and text")
            yield passage(str(row["title"]), row["text"])


@dataclass(frozen=True)
class Pool:
    """The passages that a data set brings along for its questions: those of all splits, each title once."""

    source: Source
    of: Callable[[Row], Iterable[tuple[str, str | Iterable[str]]]]
    """The (title, body) pairs of a row, as the source has it."""

    def identity(self, where: Where) -> str:
        """The digest of the passages."""
        return f"pool {digest(self.read(where))[:16]}"

    def read(self, where: Where) -> list[str]:
        """Its passages, sorted by title; of two under one title, the first."""
        found: dict[str, str] = {}
        for rows in self.source.raw(where).values():
            for row in rows:
                for title, body in self.of(row):
                    found.setdefault(title, passage(title, body))
        return [found[title] for title in sorted(found)]


@dataclass(frozen=True)
class Wiki2017:
    """The first paragraphs of English Wikipedia, October 2017: HotPotQA's own corpus, about 5.2 million passages.

    Fetched once: about 0.5 GB packed. What an index of it needs is in suites/PAPER.md.
    """

    repo: str = "dspy/cache"
    file: str = "wiki.abstracts.2017.tar.gz"
    revision: str = "main"

    def identity(self, where: Where) -> str:
        """The digest of the packed file."""
        path = fetched(self.repo, self.revision, where, (self.file,), "search what is here: --bt-retrieval=pool")
        with (path / self.file).open("rb") as file:
            return f"wiki2017 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"

    def read(self, where: Where) -> Iterator[str]:
        """Its passages, out of the packed file: nothing is unpacked onto the disk."""
        path = fetched(self.repo, self.revision, where, (self.file,))
        with tarfile.open(path / self.file) as packed:
            for member in packed:
                stream = packed.extractfile(member) if member.name.endswith(".jsonl") else None
                for line in stream or ():
                    row: dict[str, Any] = json.loads(line)
                    yield passage(row["title"], row["text"])


@dataclass(frozen=True)
class Chosen:
    """What the user lets programs search (--bt-retrieval): `pool` by default, else another corpus or a server."""

    pool: Corpus

    def open(self, where: Where) -> Searcher:
        """Open what was chosen. Raises DataError that says what is missing."""
        chosen = where.retrieval
        if chosen.startswith(("http://", "https://")):
            return ColBERT(chosen).open(where)
        corpus: Corpus = self.pool if chosen == POOL else Wiki2017() if chosen == WIKI else PassageFile(chosen)
        return BM25(corpus).open(where)

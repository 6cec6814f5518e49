"""BM25 over a corpus, by bm25s: the index is built once, kept beside the journal and memory-mapped."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from filelock import FileLock

from ..pipeline.data import digest
from ..pipeline.data_folder import Where
from ..pipeline.errors import DataError
from ..pipeline.extras import missing

if TYPE_CHECKING:  # numpy is loaded when something is searched
    import numpy

SCHEMA = 1
"""Version of what an index's folder holds."""


class Corpus(Protocol):
    """Passages, as a value; read when an index is built."""

    def identity(self, where: Where) -> str:
        """What changes when a passage or their order does. Raises DataError if the corpus is not there."""
        ...

    def read(self, where: Where) -> Iterable[str]:
        """All passages, `title | body`."""
        ...


@dataclass(frozen=True)
class BM25:
    """Okapi BM25 (Lucene's form) of stemmed words without stop words, over the passages of `corpus`."""

    corpus: Corpus
    k1: float = 1.5
    b: float = 0.75

    def open(self, where: Where) -> "Index":
        """The index, built unless it is kept. Raises DataError where the corpus or the library is missing."""
        if lacking := missing("searching with BM25 needs", "data", "bm25s", "Stemmer"):
            raise DataError(lacking)
        versions = [version(package) for package in ("bm25s", "PyStemmer")]
        identity = f"bm25 k1={self.k1} b={self.b} {' '.join(versions)}: {self.corpus.identity(where)}"
        if where.kept is None:
            with tempfile.TemporaryDirectory() as aside:
                return _build(self, where, Path(aside), identity, mapped=False)
        home = where.kept / digest([SCHEMA, identity])[:16]
        where.kept.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_suffix(".lock")):  # one process builds, the others wait
            try:
                return _load(home, identity, mapped=True)
            except (OSError, EOFError, ValueError, KeyError):  # none yet, or not what it was
                shutil.rmtree(home, ignore_errors=True)
            aside = tempfile.mkdtemp(dir=where.kept, prefix="building-")
            try:
                _build(self, where, Path(aside), identity, mapped=True)
                Path(aside).rename(home)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            return _load(home, identity, mapped=True)


class Index:
    """An opened BM25 index."""

    remote = False

    def __init__(self, identity: str, bm25: Any, texts: "numpy.ndarray", ends: "numpy.ndarray", seconds: float) -> None:
        self.identity, self.seconds = identity, seconds
        """What the answers depend on, and what building took."""
        self._bm25, self._texts, self._ends = bm25, texts, ends

    def __len__(self) -> int:
        return len(self._ends)

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """At most `k` passages that share a word with the query, best first."""
        import bm25s

        if not queries:
            return []
        words = bm25s.tokenize(list(queries), stopwords="en", stemmer=_stemmer(), return_ids=False, show_progress=False)
        known = [[word for word in query if word in self._bm25.vocab_dict] for query in words]
        asked = [i for i, terms in enumerate(known) if terms]  # a query of unknown words alone finds nothing
        passages: list[list[str]] = [[] for _ in queries]
        if asked:
            found, scores = self._bm25.retrieve(
                [known[i] for i in asked],
                k=min(k, len(self)),
                show_progress=False,
                backend_selection="numpy",  # the same everywhere, whatever else is installed
            )
            for i, row, points in zip(asked, found, scores, strict=True):
                passages[i] = [self._passage(int(j)) for j, score in zip(row, points, strict=True) if score > 0]
        return passages

    def _passage(self, i: int) -> str:
        begin = int(self._ends[i - 1]) if i else 0
        return bytes(self._texts[begin : int(self._ends[i])]).decode()


def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


def _build(recipe: BM25, where: Where, folder: Path, identity: str, mapped: bool) -> Index:
    import bm25s
    import numpy

    began = time.perf_counter()
    texts = list(recipe.corpus.read(where))
    if not texts:
        raise DataError(f"there is no passage to search in the corpus ({identity})")
    words = bm25s.tokenize(texts, stopwords="en", stemmer=_stemmer(), show_progress=False)
    index = bm25s.BM25(k1=recipe.k1, b=recipe.b)
    index.index(words, show_progress=False)
    index.save(folder)
    encoded = [text.encode() for text in texts]
    numpy.save(folder / "ends.npy", numpy.cumsum([len(terms) for terms in encoded], dtype=numpy.int64))
    numpy.save(folder / "texts.npy", numpy.frombuffer(b"".join(encoded), dtype=numpy.uint8))
    about = {
        "schema": SCHEMA,
        "identity": identity,
        "passages": len(texts),
        "seconds": round(time.perf_counter() - began, 3),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return _load(folder, identity, mapped)


def _load(folder: Path, identity: str, mapped: bool) -> Index:
    import bm25s
    import numpy

    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    if about["identity"] != identity or about["schema"] != SCHEMA:
        raise ValueError(f"{folder}: another index")
    texts, ends = (numpy.load(folder / f"{name}.npy", mmap_mode="r" if mapped else None) for name in ("texts", "ends"))
    if len(ends) != about["passages"] or int(ends[-1]) != len(texts):
        raise ValueError(f"{folder}: cut short")
    return Index(identity, bm25s.BM25.load(folder, mmap=mapped), texts, ends, about["seconds"])

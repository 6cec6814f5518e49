"""The searches of a session: every retriever opened once, asked once per wave; what a server found is kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..journal.store import Journal
from ..pipeline.data_folder import Where
from ..pipeline.errors import ProgramError
from ..pipeline.program import Program, Retrieve, Retriever, Searcher, SearchFunction
from ..pipeline.source_code import named_by_source

KEYS = 1
"""Version of the form of the keys under which answers are kept."""


@dataclass(frozen=True)
class Function:
    """A user's own search function, known by its name and its source."""

    function: SearchFunction
    remote: bool = False

    @property
    def identity(self) -> str:
        """Name and digest of the source, so that a changed function is noticed."""
        return f"function {named_by_source(self.function)}"

    def search(self, queries: Sequence[str], k: int) -> Sequence[Sequence[str]]:
        """Whatever the function finds."""
        return self.function(queries, k)


@dataclass
class Searches:
    """Opens retrievers and asks them. Without a journal nothing is kept."""

    where: Where = field(default_factory=Where)
    journal: Journal | None = None
    _known: dict[Retriever, Searcher] = field(default_factory=dict)

    def open(self, retriever: Retriever | SearchFunction) -> Searcher:
        """The opened retriever. Raises DataError that says what is missing."""
        if not hasattr(retriever, "open"):
            return Function(retriever)
        if retriever not in self._known:
            self._known[retriever] = retriever.open(self.where)
        return self._known[retriever]

    def identities(self, program: Program) -> dict[str, str]:
        """What each search site of a program searches; opens them all, before anything is paid for."""
        return {name: f"k={site.k} {self.open(site.retriever).identity}" for name, site in program.retrievers().items()}

    def __call__(self, site: Retrieve, queries: Sequence[str]) -> list[list[str]]:
        """The passages of each query; equal ones are asked once. Raises ProgramError for answers that are none."""
        searcher = self.open(site.retriever)
        asked = list(dict.fromkeys(queries))
        # A model may well write an empty query: that finds nothing, and no server has to have an opinion on it.
        answers = {query: self._kept(searcher, query, site.k) if query.strip() else [] for query in asked}
        missing = [query for query in asked if answers[query] is None]
        found = searcher.search(missing, site.k) if missing else ()
        if len(found) != len(missing):
            raise ProgramError(f"{searcher.identity} answered {len(missing)} queries with {len(found)} lists")
        for query, passages in zip(missing, found, strict=True):
            if isinstance(passages, str) or not all(isinstance(passage, str) for passage in passages):
                raise ProgramError(
                    f"{searcher.identity} answered {query[:60]!r} with something else than a list of texts"
                )
            answers[query] = list(passages)[: site.k]
            if searcher.remote and self.journal:
                self.journal.put(_key(searcher, query, site.k), {"passages": answers[query]})
        return [list(answers[query] or ()) for query in queries]

    def _kept(self, searcher: Searcher, query: str, k: int) -> list[str] | None:
        if not (searcher.remote and self.journal):
            return None
        kept = self.journal.get(_key(searcher, query, k), "search entry")
        return None if kept is None else list(kept["passages"])


def _key(searcher: Searcher, query: str, k: int) -> str:
    return hashlib.sha256(json.dumps(["search", KEYS, searcher.identity, query, k]).encode()).hexdigest()

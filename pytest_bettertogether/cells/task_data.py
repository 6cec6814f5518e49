"""The tasks' data: read once a session, with all that a result says of the data and the program it was made of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..harness.offline import offline_mode
from ..journal.store import Journal
from ..pipeline.data import Splits, clusters, fingerprint
from ..pipeline.data_folder import Where
from ..pipeline.frozen import Frozen
from ..pipeline.metrics import metric_name
from ..pipeline.prompt import Form
from ..pipeline.suite import Suite
from ..results.traces import SAID, as_text
from ..retrieval.searching import Searches

Docs = tuple[dict[str, str], ...]


class TaskData:
    """The splits of every suite, and the retrievers that programs search; `limit` keeps the first examples of a split.

    Suites are told apart by their baseline files, since two may have tasks of one name.
    """

    def __init__(self, journal: Journal, where: Where | None = None, limit: int | None = None) -> None:
        where = where or Where()
        self.where = where if where.kept else replace(where, kept=journal.indexes)
        self.limit = limit
        self.searches = Searches(self.where, journal)
        self._splits: dict[Path, Splits] = {}
        self._docs: dict[Path, Docs] = {}

    def splits(self, suite: Suite) -> Splits:
        """The task's splits, read at the first call. Raises whatever the task's data function raises."""
        if suite.baselines not in self._splits:
            with offline_mode(self.where.offline):
                splits = suite.task.splits(self.where)
            self._splits[suite.baselines] = splits.first(self.limit) if self.limit else splits
        return self._splits[suite.baselines]

    def identity(self, suite: Suite, form: Form) -> dict[str, Any]:
        """What must be equal for two results to be compared: test split, metric, and the prompt form that asked.

        The program is no part of it: a prompt that was changed is what the comparison is for.
        """
        return {
            "metric": metric_name(suite.task.metric),
            "prompt_form": form.id,
            "test": fingerprint(self.splits(suite).test),
        }

    def get_ready(self, suite: Suite) -> None:
        """Read the splits and open what the program searches. Raises DataError for what is missing."""
        self.splits(suite)
        self._searched(suite)

    def provenance(self, suite: Suite, form: Form) -> dict[str, Any]:
        """What a result says of its data and of the program as the user wrote it, asked in this prompt form."""
        splits = self.splits(suite)
        program = suite.task.program
        found: dict[str, Any] = {
            "identity": self.identity(suite, form),
            "prompts": form.digest({name: site.signature for name, site in program().predictors().items()}),
            "train": fingerprint(splits.train),
            "dev": fingerprint(splits.dev),
        }
        searched = self._searched(suite)
        if searched:
            found["retrieval"] = searched
        if isinstance(program, Frozen):
            found["frozen"] = program.digest
        return found

    def _searched(self, suite: Suite) -> dict[str, str]:
        """What each search site of the task's program searches, by the site's name."""
        return self.searches.identities(suite.task.program())

    def clusters(self, suite: Suite) -> tuple[str, ...]:
        """What each test example belongs to, where the task says so. Raises DataError for a row without the field."""
        return clusters(suite.task, self.splits(suite).test)

    def docs(self, suite: Suite) -> Docs:
        """The test examples as text for people: one object, however many results show it."""
        if suite.baselines not in self._docs:
            self._docs[suite.baselines] = tuple(as_text(example, SAID) for example in self.splits(suite).test)
        return self._docs[suite.baselines]

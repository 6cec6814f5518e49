"""From named tables of rows to splits: which rows, in which order, under which field names."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ..pipeline.data import Splits
from ..pipeline.data_folder import Where
from ..pipeline.errors import DataError

Row = Mapping[str, Any]

_SLICE = re.compile(r"(?P<table>[^\[\]]+)(?:\[(?P<first>\d+%?)?:(?P<last>\d+%?)?\])?")


@dataclass(frozen=True)
class Part:
    """One split: rows of a table, as in `train`, `train[:1000]` or `train[75%:]` (the notation of `datasets`).

    With `seed` these rows are shuffled once more, and with `size` the first so many are taken: DSPy's loaders do
    both for each split (reference: dspy/datasets/dataset.py).
    """

    rows: str
    size: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _SLICE.fullmatch(self.rows):
            raise ValueError(f"{self.rows!r}: expected rows of a table, as in train, train[:1000] or train[75%:]")

    def of(self, tables: Mapping[str, Sequence[Row]]) -> list[Row]:
        """Its rows. Raises DataError that lists the tables, if there is none of that name."""
        found = _SLICE.fullmatch(self.rows)
        assert found
        if found["table"] not in tables:
            raise DataError(
                f"there is no table {found['table']!r}, only {', '.join(tables) or 'none at all'}: say which rows make "
                'a split, as in dev="train[1000:1500]"'
            )
        table = tables[found["table"]]
        rows = list(table[_bound(found["first"], len(table)) or 0 : _bound(found["last"], len(table))])
        if self.seed is not None:
            Random(self.seed).shuffle(rows)
        return rows[: self.size]


def _bound(written: str | None, length: int) -> int | None:
    if written is None:
        return None
    return length * int(written[:-1]) // 100 if written.endswith("%") else int(written)


@dataclass(frozen=True)
class Layout:
    """How tables become splits. What `files` and `hub_dataset` have in common.

    First `keep` leaves rows out, then each table is shuffled by `shuffle`, then the parts are cut, then `row` turns
    each row into the fields that the task uses.
    """

    train: str | Part = "train"
    dev: str | Part = "dev"
    test: str | Part = "test"
    shuffle: int | None = None
    """Seed with which every table is shuffled before it is cut; None: rows stay in their order."""
    keep: Callable[[Row], bool] | None = None
    row: Callable[[Row], Row] | None = None

    def __post_init__(self) -> None:
        for part in (self.train, self.dev, self.test):
            if isinstance(part, str):
                Part(part)  # what cannot be one is known where it is written

    def parts(self, tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
        """The rows of each split, as they are written."""
        kept = {name: [row for row in rows if self.keep is None or self.keep(row)] for name, rows in tables.items()}
        if self.shuffle is not None:
            for rows in kept.values():
                Random(self.shuffle).shuffle(rows)
        wanted = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: (part if isinstance(part, Part) else Part(part)).of(kept) for name, part in wanted.items()}

    def splits(self, parts: Mapping[str, Sequence[Row]]) -> Splits:
        """The splits, of what `parts` gave."""
        made = {name: [self.row(row) if self.row else row for row in rows] for name, rows in parts.items()}
        return Splits.of(**made)


@dataclass(frozen=True)
class Source(ABC):
    """A value to give `Task(data=...)`; `raw` are the rows behind its splits, with all of their fields."""

    layout: Layout

    @abstractmethod
    def tables(self, where: Where) -> dict[str, list[Row]]:
        """All rows by table name. Raises DataError that says what is missing and how to get it."""

    def raw(self, where: Where) -> dict[str, list[Row]]:
        """The rows of each split, as the source has them."""
        return self.layout.parts(self.tables(where))

    def __call__(self, where: Where) -> Splits:
        """The splits. Raises DataError where they cannot be had."""
        return self.layout.splits(self.raw(where))

"""Data sets in files: CSV, TSV, JSON, JSON lines, Parquet; text files may be gzipped."""

import csv
import glob
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ..pipeline.data_folder import Where
from ..pipeline.errors import DataError
from .tables import Layout, Part, Row, Source

KINDS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def files(
    *paths: str | Path,
    train: str | Part = "train",
    dev: str | Part = "dev",
    test: str | Part = "test",
    shuffle: int | None = None,
    keep: Callable[[Row], bool] | None = None,
    row: Callable[[Row], Row] | None = None,
) -> "Files":
    """Splits out of files, each of which is a table named by its stem; `*` in a path stands for any name.

    >>> source = files("qa/*.jsonl.gz")  # train.jsonl.gz, dev.jsonl.gz, test.jsonl.gz
    >>> source = files("all.csv", train="all[:60%]", dev="all[60%:80%]", test="all[80%:]", shuffle=0)

    Paths are absolute, or in the data folder (--bt-data-dir), or from the rootdir. Values of CSV are texts.
    """
    if not paths:
        raise ValueError('files() needs a path, as in files("qa/*.jsonl")')
    return Files(Layout(train, dev, test, shuffle, keep, row), tuple(map(str, paths)))


@dataclass(frozen=True)
class Files(Source):
    """See `files`."""

    paths: tuple[str, ...] = ()

    def tables(self, where: Where) -> dict[str, list[Row]]:
        """Read every file. Raises DataError for one that is not there or cannot be read."""
        found = self.found(where)
        if not found:
            raise DataError(f"no file {' or '.join(self.paths)} {_places(where)}")
        tables: dict[str, list[Row]] = {}
        for path in found:
            name = path.name.partition(".")[0]
            if name in tables:
                raise DataError(f"two files give a table {name!r} (the second is {path}): give each its own name")
            tables[name] = read_rows(path)
        return tables

    def found(self, where: Where) -> list[Path]:
        """The files that there are, in order of their names."""
        places = {place for path in self.paths for place in _matching(path, where)}
        return sorted(places)


def _matching(path: str, where: Where) -> list[Path]:
    for base in (where.data_dir, where.root):
        if base is not None:
            # Unlike Path's own, this takes ~somebody who does not exist as it is.
            matches = glob.glob(os.path.join(base, os.path.expanduser(path)))
            if matches:
                return [Path(match) for match in matches]
    return []


def _places(where: Where) -> str:
    here = f"in {where.data_dir} (the data folder) or " if where.data_dir else ""
    hint = "" if where.data_dir else ": name the folder of your data with --bt-data-dir"
    return f"{here}in {where.root.resolve()}{hint}"


def read_rows(path: Path) -> list[Row]:
    """The rows of one file. Raises DataError that names the file, and the line where that is known."""
    kind = next((ending for ending in path.suffixes[::-1] if ending != ".gz"), "")
    if kind not in KINDS:
        raise DataError(f"{path}: cannot read {kind or 'a file without an ending'}; expected {', '.join(KINDS)}")
    try:
        if kind == ".parquet":
            from pyarrow import parquet  # comes with datasets

            return [*parquet.read_table(path).to_pylist()]
        text = read_text(path)
        if kind in (".csv", ".tsv"):
            return [*csv.DictReader(StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")]
        if kind == ".json":
            return _objects(json.loads(text), path)
        lines = [line for line in text.split("\n") if line.strip()]
        return _objects([json.loads(line) for line in lines], path)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow: pip install 'pytest-bettertogether[data]'") from error
    except (OSError, EOFError, ValueError) as error:  # pyarrow's own are ValueErrors, gzip's are OSErrors
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_text(path: Path) -> str:
    """The text of a file that may be gzipped."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def _objects(rows: Any, path: Path) -> list[Row]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected a list of objects, one per row")
    return rows

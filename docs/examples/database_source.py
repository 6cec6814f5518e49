"""A source of your own: the tables of an SQLite file."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from pytest_bettertogether.pipeline.errors import DataError
from pytest_bettertogether.sources.tables import Layout, Source


@dataclass(frozen=True)
class Database(Source):
    path: str = ""

    def tables(self, where):
        file = where.root / self.path
        if not file.is_file():
            raise DataError(f"there is no data base {file}: make it with `python make_data.py`")
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
            # The order of rows is part of a split, and SQL promises none that it is not asked for.
            return {
                name: [dict(row) for row in connection.execute(f'select * from "{name}" order by rowid')]
                for name in names
            }


def database(path, shuffle=0, **splits):
    return Database(Layout(shuffle=shuffle, **splits), path)

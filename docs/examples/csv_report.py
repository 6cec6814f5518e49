"""A report of your own: a row for each cell as CSV, with the columns that a spreadsheet is asked for."""

import csv
from io import StringIO

from pytest_bettertogether.pipeline.inert_text import plain

COLUMNS = {
    "cell": lambda cell: cell.id,
    "strategy": lambda cell: cell.title,
    "status": lambda cell: cell.facts.word,
    "score": lambda cell: cell.score and cell.score.mean,
    "low": lambda cell: cell.score and cell.score.low,
    "high": lambda cell: cell.score and cell.score.high,
    "unparsable": lambda cell: cell.unparsable,
    "tokens": lambda cell: cell.cost and cell.cost.tokens,
}


def csv_report(report):
    text = StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for cell in report.cells:
        rows.writerow([shown(column(cell)) for column in COLUMNS.values()])
    return text.getvalue()


def shown(value):
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text  # no formula: names are what others wrote

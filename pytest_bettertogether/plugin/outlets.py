"""The reports of a session that are not built in: those that the hook registers."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # every run with a suite loads this module, and few write a report
    from ..report.model import Report

Outlet = Callable[["Report"], str]
"""Writes a report's read model as the text of a file."""
BUILT_IN = ("json", "md", "html")
KIND = re.compile(r"[a-z][a-z0-9_-]*")


def read_outlets(config: pytest.Config) -> Mapping[str, Outlet]:
    """The further reports that --bt-report may name, by kind.

    Raises pytest.UsageError, in one line, for one that cannot be taken in.
    """
    outlets: dict[str, Outlet] = {}

    def register(kind: str, write: Outlet) -> None:
        origin = f"pytest_bettertogether_reports: report {kind!r}"
        if not isinstance(kind, str) or not KIND.fullmatch(kind):
            raise pytest.UsageError(f"{origin}: expected a letter, then letters, digits, - and _, all in lower case")
        if kind in BUILT_IN or kind in outlets:
            raise pytest.UsageError(f"{origin} is there already: take another kind")
        if not callable(write):
            raise pytest.UsageError(f"{origin}: expected a function that makes a text of a Report, not {write!r}")
        outlets[kind] = write

    config.hook.pytest_bettertogether_reports(register=register)
    return outlets

"""Models and reports of your own: the root conftest.py of a project."""

from pathlib import Path

import pytest
from csv_report import csv_report

from pytest_bettertogether.engines.registry import TINY


@pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
def pytest_bettertogether_models(register):
    register(
        "tuned", str(Path(TINY.path)), recipe=TINY.recipe.override({"search.candidates": 2}), abilities=frozenset()
    )
    register("nearest", "nowhere", backend="nearest_engine:Nearest")


@pytest.hookimpl(optionalhook=True)
def pytest_bettertogether_reports(register):
    register("csv", csv_report)

"""The steps of a session that are not built in: those of installed packages, and those of the hook."""

from importlib.metadata import entry_points
from typing import Any

import pytest

from ..optimize.step import Further, with_step

GROUP = "pytest_bettertogether.steps"
"""Entry points of packages; each is a step."""


def read_steps(config: pytest.Config) -> Further:
    """The further steps that strategies may name.

    Raises pytest.UsageError, in one line, for one that cannot be taken in.
    """
    steps: Further = ()

    def add(step: Any, origin: str) -> None:
        nonlocal steps
        try:
            steps = with_step(steps, step)
        except ValueError as error:
            raise pytest.UsageError(f"{origin}: {error}") from None

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        origin = f"entry point {point.name} of {GROUP}"
        try:
            step = point.load()
        except Exception as error:  # whatever a package of somebody else's does when it is imported
            raise pytest.UsageError(f"{origin} ({point.value}) cannot be loaded: {error!r}") from error
        add(step, origin)
    config.hook.pytest_bettertogether_steps(register=lambda step: add(step, "pytest_bettertogether_steps"))
    return steps

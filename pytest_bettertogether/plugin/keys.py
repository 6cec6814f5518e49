"""Where state is kept: the stash keys, apart from the classes they hold, so that looking costs a plain run nothing."""

from typing import Any

import pytest

SESSION = pytest.StashKey[Any]()
"""On the config: the `Session`, once somebody needed it (`session_of`)."""
CELL_RUN = pytest.StashKey[Any]()
"""On an item: its `CellRun`, once one of its fixtures ran."""
OUTERMOST = pytest.StashKey[bool]()
"""On the config: whether this is a step of GitHub Actions, and not a run inside a test of one, nor a worker."""
DISPLAY = pytest.StashKey[Any]()
"""On the config: the `Display` of progress, where it is shown."""

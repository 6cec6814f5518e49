"""Where session state lives: the keys of `config.stash` and `item.stash`."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # keys need no classes at run time
    from .gate.verdict import Baseline
    from .results import CellResult
    from .session import Session

SESSION: pytest.StashKey["Session"] = pytest.StashKey()
"""On the config."""
RESULT: pytest.StashKey["CellResult"] = pytest.StashKey()
"""On an item: what `better_together()` returned for the item's own strategy."""
BASELINE: pytest.StashKey["Baseline"] = pytest.StashKey()
"""On an item: what `bt_baseline` gave it."""

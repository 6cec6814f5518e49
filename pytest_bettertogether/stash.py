"""Where session state lives: the keys of `config.stash` and `item.stash`."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # keys need no classes at run time
    from .attempt import Attempt
    from .session import Session

SESSION: pytest.StashKey["Session"] = pytest.StashKey()
"""On the config."""
ATTEMPT: pytest.StashKey["Attempt"] = pytest.StashKey()
"""On an item whose fixtures have begun to run a cell."""

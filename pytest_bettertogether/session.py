"""One pytest session's worth of state, kept in `config.stash`: settings, suites, cells, records."""

import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .data import Task
from .options import Settings
from .strategy import PAPER, Strategy
from .suite import Suite, baseline_file

if TYPE_CHECKING:  # greenlets are loaded when the first cell runs
    from .cells import Cells
    from .gate.verdict import Baseline, Mode
    from .models import Model
    from .results import CellResult

ALPHA = 0.05
"""The chance of a false alarm in a whole session, shared among its gated cells."""


@dataclass
class Session:
    """What the hooks and fixtures of one session share."""

    settings: Settings
    gated: set[str] = field(default_factory=set)
    """Ids of all gated cells collected, before `-k` and its like take some away."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """The record of each cell that has run, as JSON values; under xdist on the controller only."""
    recorded: list[str] = field(default_factory=list)
    """What was written into baseline files, line by line."""
    _tasks: dict[Path, Task] = field(default_factory=dict)

    @cached_property
    def cells(self) -> "Cells":
        """The cells' engine room; making it creates a temporary folder for adapters."""
        from .cells import Cells

        return Cells(Path(tempfile.mkdtemp(prefix="bettertogether-")), self.settings.limit)

    def close(self) -> None:
        """Remove what `cells` made."""
        if "cells" in vars(self):
            shutil.rmtree(self.cells.adapters, ignore_errors=True)

    def suite(self, node: pytest.Item) -> Suite | None:
        """What a test's marker asks for, or None without one. Raises CollectError for a marker that cannot work."""
        mark = node.get_closest_marker("bettertogether")
        if mark is None:
            return None
        if len(mark.args) != 1 or not isinstance(mark.args[0], Task) or set(mark.kwargs) - {"strategies", "gate"}:
            raise pytest.Collector.CollectError(
                f"{node.nodeid}: write @pytest.mark.bettertogether(TASK), with a Task and at most strategies=[...] "
                f"and gate=[...]; got {len(mark.args)} positional argument(s) and the keywords {list(mark.kwargs)}"
            )
        task = mark.args[0]
        name = task.name or node.path.stem.removeprefix("test_")
        file = baseline_file(node.path, name)
        if self._tasks.setdefault(file, task) is not task:
            raise pytest.Collector.CollectError(
                f"{node.nodeid}: two tasks would share {file}: give each its own Task(name=...)"
            )
        strategies = self.settings.strategies or _strategies(node, mark, "strategies") or PAPER
        gate = _strategies(node, mark, "gate")
        return Suite(name, task, file, strategies, strategies if gate is None else gate)

    def baseline(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> "Baseline":
        """The baseline of one cell. Raises BaselineError where the gate needs one and there is none that fits."""
        from .gate.verdict import Baseline, find

        mode: Mode = "gated"
        if self.settings.update_baselines:
            mode = "recording"
        elif not self.settings.gate or strategy not in suite.gate:
            mode = "not gated"
        cell = f"{model.name}-{strategy.id}"
        accept = f"pytest '{node.nodeid}' --bt-update-baselines"
        root = node.config.rootpath
        shown = suite.baselines.relative_to(root) if suite.baselines.is_relative_to(root) else suite.baselines
        baseline = Baseline(cell, suite.baselines, mode, ALPHA / max(1, len(self.gated)), accept, str(shown))
        return find(baseline, self.cells.identity(suite)) if mode == "gated" else baseline

    def record(self, suite: Suite, result: "CellResult", baseline: "Baseline | None") -> dict[str, Any]:
        """What travels with a test's report: the result and its verdict, as JSON values."""
        return {
            "result": result.to_json(),
            "baselines": str(suite.baselines),
            "task": suite.name,
            "worse": baseline is not None and not baseline.holds(result),
        }


def _strategies(node: pytest.Item, mark: pytest.Mark, key: str) -> tuple[Strategy, ...] | None:
    written = mark.kwargs.get(key)
    if written is None:
        return None
    try:
        return tuple(dict.fromkeys(Strategy.parse(text) for text in written))
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{node.nodeid}: @pytest.mark.bettertogether({key}=...): {error}") from None

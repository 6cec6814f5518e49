"""One pytest session's worth of state, kept in `config.stash`: settings, suites, cells, records."""

import shlex
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..data import Task
from ..errors import BetterTogetherError
from ..progress import Progress
from ..results import CellRecord, CellResult, Paid
from ..strategy import Strategy
from ..suite import Suite
from .attempt import Attempt
from .faults import raise_for_user
from .keys import ATTEMPT, SESSION
from .marker import read_marker
from .settings import Settings, read_settings
from .terminal import progress_line

if TYPE_CHECKING:  # greenlets and the journal are loaded when the first cell runs
    from ..cells import Cells
    from ..gate.verdict import Baseline, Mode
    from ..models import Model

ALPHA = 0.05
"""The chance of a false alarm in a whole session, shared among its gated cells."""


@dataclass
class Session:
    """What the hooks and fixtures of one session share."""

    settings: Settings
    config: pytest.Config
    gated: set[str] = field(default_factory=set)
    """Ids of all gated cells collected, before `-k` and its like take some away."""
    records: list[CellRecord] = field(default_factory=list)
    """Each cell that has run; under xdist on the controller only."""
    written: list[str] = field(default_factory=list)
    """What was written into baselines and reports, line by line."""
    running: Attempt | None = None
    """The attempt that has begun a cell and has no report yet; one left when the session ends was interrupted."""
    _tasks: dict[Path, Task] = field(default_factory=dict)

    @cached_property
    def cells(self) -> "Cells":
        """The cells' engine room; making it opens the journal."""
        from ..cells import Cells
        from ..journal import Journal

        settings = self.settings
        return Cells(Journal(settings.journal, settings.fresh), settings.limit, settings.select, settings.offline)

    def close(self) -> None:
        """Let go of what `cells` holds."""
        if "cells" in vars(self):
            self.cells.close()

    def suite(self, node: pytest.Item) -> Suite | None:
        """The suite of a marked test, or None. Raises CollectError for a marker that cannot work."""
        suite = read_marker(node, self.settings.strategies)
        if suite is not None and self._tasks.setdefault(suite.baselines, suite.task) is not suite.task:
            raise pytest.Collector.CollectError(
                f"{node.nodeid}: two tasks would share {suite.baselines}: give each its own Task(name=...)"
            )
        return suite

    def check_baselines(self) -> None:
        """Raise UsageError if a collected suite's baseline file cannot be read; before any test runs."""
        from ..gate.baselines import read

        for file in self._tasks:
            if file.exists():
                try:
                    read(file)
                except BetterTogetherError as error:
                    raise pytest.UsageError(str(error)) from None

    def begin(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> Attempt:
        """The item's attempt, made by whichever of its fixtures comes first."""
        attempt: Attempt = node.stash.setdefault(ATTEMPT, Attempt(suite, model.name, strategy.id))
        return attempt

    def baseline(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> "Baseline":
        """The baseline of one cell. Raises BaselineError where the gate needs one and there is none that fits."""
        from ..gate.verdict import Baseline, find

        mode: Mode = "gated"
        if self.settings.update_baselines:
            mode = "recording"
        elif not self.settings.gate or strategy not in suite.gate:
            mode = "not gated"
        root = node.config.rootpath
        shown = suite.baselines.relative_to(root) if suite.baselines.is_relative_to(root) else suite.baselines
        baseline = Baseline(
            cell=f"{model.name}-{strategy.id}",
            file=suite.baselines,
            mode=mode,
            alpha=ALPHA / max(1, len(self.gated)),
            accept=_accept(node),
            shown=str(shown),
        )
        return find(baseline, self.cells.identity(suite)) if mode == "gated" else baseline

    def add(self, record: dict[str, Any]) -> None:
        """Take in the record of a cell that has run."""
        self.records.append(CellRecord.from_json(record))

    def end(self) -> None:
        """Note a cell that was still running when the session ended."""
        if self.running:
            self.records.append(self.running.stopped())

    def run(self, attempt: Attempt, model: "Model", strategy: Strategy) -> CellResult:
        """Run a cell on behalf of an item, and note what it cost or why it broke."""
        __tracebackhide__ = True
        began = time.perf_counter()
        self.running = attempt
        attempt.fault = ""  # of an earlier attempt, under pytest-rerunfailures
        line = progress_line(self.config)
        try:
            cells = self.cells
            cells.progress = Progress(line.show)
            before = cells.paid()
            try:
                result = cells.run(attempt.suite, model, strategy, self.settings.seeds)
            finally:
                line.clear()
                now = cells.paid()
                spent = Paid(now.usage - before.usage, now.train_steps - before.train_steps)
                attempt.paid += Paid(spent.usage, spent.train_steps, time.perf_counter() - began)
        # Whatever broke (pytest-timeout uses pytest.fail): the cell is invalid, and the error goes on to the user.
        except (Exception, pytest.fail.Exception) as error:
            attempt.fault = f"{type(error).__name__}: {error}"
            raise_for_user(error)
        if strategy.id == attempt.strategy:
            attempt.result = result
        return result


def session_of(config: pytest.Config) -> Session:
    """The session's state, made when it is first asked for. Raises UsageError for options that cannot be served."""
    if SESSION not in config.stash:
        config.stash[SESSION] = Session(read_settings(config), config)
    session: Session = config.stash[SESSION]
    return session


def _accept(node: pytest.Item) -> str:
    """The command that records the item's cell, with the options that shape its result."""
    nodeid = node.nodeid[: node.nodeid.rindex("]") + 1]  # without the group that xdist may append
    words = iter(map(str, node.config.invocation_params.args))
    kept = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name in ("--bt-model", "--bt-seeds", "--bt-set", "--bt-strategy"):
            kept.append(word if equals else f"{word}={next(words, '')}")
    return " ".join(["pytest", f"'{nodeid}'", *map(shlex.quote, kept), "--bt-update-baselines"])

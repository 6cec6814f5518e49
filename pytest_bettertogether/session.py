"""One pytest session's worth of state, kept in `config.stash`: settings, suites, cells, records."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .data import Task
from .options import Settings
from .results import CellRecord, CellResult, Paid, Status, Usage
from .stash import ATTEMPT
from .strategy import PAPER, Strategy
from .suite import Suite, baseline_file

if TYPE_CHECKING:  # greenlets and the journal are loaded when the first cell runs
    from .cells import Cells
    from .gate.verdict import Baseline, Mode
    from .models import Model

ALPHA = 0.05
"""The chance of a false alarm in a whole session, shared among its gated cells."""


@dataclass
class Attempt:
    """What an item has come to so far: filled in by its fixtures, read when its report is made."""

    suite: Suite
    model: str
    strategy: str
    baseline: "Baseline | None" = None
    result: CellResult | None = None
    fault: str = ""
    """Why the run broke."""
    paid: Paid = field(default_factory=Paid)


@dataclass
class Session:
    """What the hooks and fixtures of one session share."""

    settings: Settings
    gated: set[str] = field(default_factory=set)
    """Ids of all gated cells collected, before `-k` and its like take some away."""
    records: list[CellRecord] = field(default_factory=list)
    """Each cell that has run; under xdist on the controller only."""
    written: list[str] = field(default_factory=list)
    """What was written into baselines and reports, line by line."""
    _tasks: dict[Path, Task] = field(default_factory=dict)

    @cached_property
    def cells(self) -> "Cells":
        """The cells' engine room; making it opens the journal."""
        from .cells import Cells
        from .journal import Journal, JournalError

        settings = self.settings
        try:
            journal = Journal(settings.journal, settings.fresh)
        except JournalError as error:
            raise pytest.UsageError(str(error)) from None
        return Cells(journal, settings.limit, settings.select, settings.offline)

    def close(self) -> None:
        """Let go of what `cells` holds."""
        if "cells" in vars(self):
            self.cells.close()

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

    def begin(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> Attempt:
        """The item's attempt, made by whichever of its fixtures comes first."""
        return node.stash.setdefault(ATTEMPT, Attempt(suite, model.name, strategy.id))

    def baseline(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> "Baseline":
        """The baseline of one cell. Raises BaselineError where the gate needs one and there is none that fits."""
        from .gate.verdict import Baseline, find

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
            accept=f"pytest '{node.nodeid.partition('@')[0]}' --bt-update-baselines",  # xdist appends @group
            shown=str(shown),
        )
        return find(baseline, self.cells.identity(suite)) if mode == "gated" else baseline

    def run(self, attempt: Attempt, model: "Model", strategy: Strategy) -> CellResult:
        """Run a cell on behalf of an item, and note what it cost or why it broke."""
        __tracebackhide__ = True
        began = time.perf_counter()
        (usage, steps), cells = self.cells.paid(), self.cells
        try:
            result = cells.run(attempt.suite, model, strategy, self.settings.seeds)
        except Exception as error:
            attempt.fault = f"{type(error).__name__}: {error}"
            raise
        finally:
            now, steps_now = cells.paid()
            spent = Usage(
                now.lm_calls - usage.lm_calls,
                now.prompt_tokens - usage.prompt_tokens,
                now.completion_tokens - usage.completion_tokens,
            )
            seconds = time.perf_counter() - began
            before = attempt.paid
            attempt.paid = Paid(before.usage + spent, before.train_steps + steps_now - steps, before.seconds + seconds)
        if strategy.id == attempt.strategy:
            attempt.result = result
        return result


def record(attempt: Attempt, report: pytest.TestReport) -> CellRecord:
    """How an item ended, as plain data."""
    baseline, result = attempt.baseline, attempt.result
    status: Status
    if attempt.fault:
        status = "invalid"
    elif report.failed:
        status = "failed"
    elif result is not None and result.refused:
        status = "refused"
    elif report.skipped or result is None:
        status = "skipped"
    else:
        status = "passed" if baseline is not None and baseline.mode == "gated" else "not_gated"
    reason = attempt.fault or (result.refused if result else "")
    if not reason and report.failed:
        reason = report.longreprtext.strip().splitlines()[-1]
    return CellRecord(
        task=attempt.suite.name,
        model=attempt.model,
        strategy=attempt.strategy,
        status=status,
        reason=reason,
        result=result,
        gate=baseline.judge(result) if baseline and result else None,
        paid=attempt.paid,
        baselines=str(attempt.suite.baselines),
    )


def _strategies(node: pytest.Item, mark: pytest.Mark, key: str) -> tuple[Strategy, ...] | None:
    written = mark.kwargs.get(key)
    if written is None:
        return None
    try:
        return tuple(dict.fromkeys(Strategy.parse(text) for text in written))
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{node.nodeid}: @pytest.mark.bettertogether({key}=...): {error}") from None

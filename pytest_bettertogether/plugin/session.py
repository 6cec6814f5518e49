"""One pytest session's worth of state, kept in `config.stash`: settings, suites, cells, records."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..pipeline.data import Task
from ..pipeline.errors import BetterTogetherError
from ..pipeline.inert_text import block
from ..pipeline.strategy import Strategy
from ..pipeline.suite import Suite
from ..results.cell_records import CellRecord
from .cell_run import CellRun
from .faults import BROKEN, users_line
from .keys import CELL_RUN, SESSION
from .marker import read_marker
from .settings import Settings, read_settings

if TYPE_CHECKING:  # greenlets and the journal are loaded when the first cell runs
    from ..cells.cells import Cells
    from ..engines.devices import Claim
    from ..engines.model import Model
    from ..gate.baselines import Source
    from ..gate.collected_suites import Scope
    from ..gate.judge import Terms
    from ..gate.verdict import Baseline
    from ..report.model import Report
    from ..results.statuses import Status

SHAPING = (
    *("--bt-model", "--bt-backend", "--bt-server", "--bt-engine", "--bt-seeds", "--bt-set", "--bt-strategy"),
    *("--bt-data-dir", "--bt-retrieval"),
)
"""Options that shape a cell's result."""


@dataclass
class Session:
    """What the hooks and fixtures of one session share."""

    settings: Settings
    config: pytest.Config
    records: list[CellRecord] = field(default_factory=list)
    """Each cell that has run; under xdist on the controller only."""
    report: "Report | None" = None
    """What reports show of the records, made when the session ends."""
    written: list[str] = field(default_factory=list)
    """What was written into baselines and reports, line by line."""
    unwritten: int = 0
    """Baseline files that could not be written."""
    planned: list[str] = field(default_factory=list)
    """What --bt-plan found out, line by line."""
    running: CellRun | None = None
    """The run of a cell that has begun and has no report yet; one left when the session ends was interrupted."""
    claim: "Claim | None" = None
    """The GPU of this worker."""
    obsolete: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """Baselines that belong to no suite any more, by file."""
    damaged: Counter[str] = field(default_factory=Counter)
    """What was found damaged in the journal, by kind."""
    _tasks: dict[Path, Task] = field(default_factory=dict)

    @cached_property
    def cells(self) -> "Cells":
        """What runs the session's cells. The first use opens the journal, and takes a GPU where there are any."""
        from ..cells.cells import Cells, HowToRun
        from ..cells.task_data import TaskData
        from ..journal.budget import Budget
        from ..journal.store import Journal
        from ..optimize.builtin import steps_with
        from .placement import place

        settings = self.settings
        if any(model.backend != "server" for model in settings.models):
            self.claim = place(self.config)
        journal = Journal(settings.journal, settings.fresh)
        data = TaskData(journal, settings.where, settings.limit)
        how = HowToRun(settings.select, settings.dev, settings.replay_tests, steps_with(settings.steps))
        return Cells(journal, data, how, Budget(*settings.budget))

    @cached_property
    def scope(self) -> "Scope":
        """The suites that were collected, and which of their cells are gated."""
        from ..gate.collected_suites import Scope

        models = {model.name: model for model in self.settings.models}
        return Scope(tuple(models), able=lambda suite, name: not self.skip_reason(suite, models[name]))

    @cached_property
    def source(self) -> "Source":
        """Where baselines are read: the working tree, or a commit (--bt-baseline-ref)."""
        from ..gate.baselines import Source

        return Source(self.settings.baseline_ref)

    def close(self) -> None:
        """Close the journal and the engine in use, and give the GPU back."""
        if "cells" in vars(self):
            self.cells.close()
        if self.claim:
            self.claim.release()

    def suite(self, node: pytest.Item) -> Suite | None:
        """The suite of a marked test, or None. Raises CollectError for a marker that cannot work."""
        suite = read_marker(node, self.settings.strategies, self.settings.steps)
        if suite is not None and self._tasks.setdefault(suite.baselines, suite.task) is not suite.task:
            raise pytest.Collector.CollectError(
                f"{node.nodeid}: two tasks would share {suite.baselines}: give each its own Task(name=...)"
            )
        return suite

    def collect(self, suite: Suite) -> None:
        """Take in a suite whose test was collected."""
        self.scope.suites.append(suite)

    def check_baselines(self, files: Iterable[Path]) -> None:
        """When all is collected, from these `files`: see what is obsolete.

        Raises UsageError if a baseline file cannot be read, or git not be asked; before any test runs.
        """
        from ..gate.git import check

        self.scope.files.update(files)
        names = {suite.baselines: suite.name for suite in self.scope.suites}
        try:
            if self.settings.baseline_ref:
                check(self.config.rootpath, self.settings.baseline_ref)
            for file, name in names.items():
                self.source.read(file, name)
            self.obsolete = self.scope.obsolete(self.source.read)
            self.terms  # noqa: B018 - reads the files beside them too
        except BetterTogetherError as error:
            raise pytest.UsageError(block(str(error))) from None

    @cached_property
    def terms(self) -> "Terms":
        """The terms on which cells are compared; ask for them once all is collected."""
        from ..gate.judge import Terms

        settings = self.settings
        share = self.scope.share(settings.alpha, self.source.read)
        return Terms(share, settings.margin, settings.detect, settings.too_small_fails)

    def begin(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> CellRun:
        """The item's run of its cell, made by whichever of its fixtures comes first.

        Skips the test, before its data are read, where the model cannot do what the task needs.
        """
        kinds = tuple(step.kind for step in self.settings.steps if step.kind.letter in strategy.kinds)
        made = CellRun(suite, model.name, strategy.id, _where(node), self.settings.too_small_fails, kinds)
        cell_run: CellRun = node.stash.setdefault(CELL_RUN, made)
        inability = self.skip_reason(suite, model)
        cell_run.leave_out(inability)
        if inability:
            pytest.skip(inability)
        return cell_run

    def skip_reason(self, suite: Suite, model: "Model") -> str:
        """Why a model is not asked to do a task, or the empty string."""
        return "" if self.settings.force else model.skip_reason(suite.name, suite.task.needs)

    def baseline(self, node: pytest.Item, cell_run: CellRun, model: "Model", strategy: Strategy) -> "Baseline":
        """The baseline of one cell. Raises BaselineError where the gate needs one and there is none that fits."""
        from ..cells.experiments import recipe_of
        from ..gate.recording import mode_of
        from ..gate.verdict import Baseline, find
        from ..pipeline.forms import FORMS

        settings, suite = self.settings, cell_run.suite
        gated, cell = strategy in suite.gate, f"{model.name}-{strategy.id}"
        mode = mode_of(
            cell, suite.baselines, suite.name, settings.gate and gated, settings.update_baselines, self.source
        )
        root = node.config.rootpath
        shown = suite.baselines.relative_to(root) if suite.baselines.is_relative_to(root) else suite.baselines
        baseline = Baseline(
            cell,
            suite.baselines,
            mode,
            self.terms,
            _accept(node),
            str(shown),
            gated,
            neighbours=self.scope.neighbours(suite.baselines, cell, self.source.read),
            compared=cell_run.note_comparison,
        )
        if mode != "gated":
            return baseline
        form = FORMS[recipe_of(suite, model).prompt]
        return find(baseline, self.cells.data.identity(suite, form), self.source, suite.name)

    def add(self, record: dict[str, Any]) -> None:
        """Take in the record of a cell that has run."""
        self.records.append(CellRecord.from_json(record))

    def end(self) -> None:
        """Note a cell that was still running when the session ended, and what its journal was like."""
        if self.running:
            self.records.append(self.running.interrupted())
        if "cells" in vars(self):
            self.damaged += self.cells.engines.journal.damaged

    def notes(self) -> Iterator[str]:
        """A line on whatever else the user should know of this session."""
        if self.damaged:
            from ..journal.store import damage_line

            yield damage_line(self.damaged)
        halved = sum(record.paid.halved for record in self.records)
        if halved:
            yield (
                f"memory: {halved} batch{'' if halved == 1 else 'es'} did not fit and went on in smaller ones: "
                "--bt-set=rows=N asks for smaller ones from the start (training: lora.micro_batch=N)"
            )

    def cell(self, item: pytest.Item) -> "tuple[Suite, Model, Strategy] | None":
        """The cell that an item runs, or None for a test that has none."""
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params if callspec else {}
        if not {"bt_model", "bt_strategy"} <= set(parameters):
            return None
        suite = self.suite(item)
        return (suite, parameters["bt_model"], parameters["bt_strategy"]) if suite else None

    def unreported(self, item: pytest.Item, status: "Status", reason: str) -> CellRecord | None:
        """The record of a cell that never began, or whose process died; None for a test without a cell."""
        cell = self.cell(item)
        if cell is None:
            return None
        suite, model, strategy = cell
        nodeid, file, line = _where(item)
        return CellRecord(
            task=suite.name,
            model=model.name,
            strategy=strategy.id,
            status=status,
            reason=reason,
            baselines=str(suite.baselines),
            nodeid=nodeid,
            file=file,
            line=line,
        )

    def plan(self, items: Iterable[pytest.Item]) -> None:
        """Find out what the cells among `items` would cost. Raises UsageError where that cannot be."""
        cells = [cell for cell in map(self.cell, items) if cell]
        wanted = [(suite, model, strategy) for suite, model, strategy in cells if not self.skip_reason(suite, model)]
        if not wanted:
            return
        suite = wanted[0][0]
        try:
            for suite, _, _ in wanted:
                self.cells.data.get_ready(suite)
            self.planned += self.cells.plan(wanted, self.settings.seeds).lines()
        except BetterTogetherError as error:
            raise pytest.UsageError(block(f"--bt-plan: {error}")) from None
        except BROKEN as error:
            place = users_line(error)
            at = f" at {place}" if place else ""
            said = f"--bt-plan: task {suite.name!r}: {type(error).__name__}{at}: {error}"
            raise pytest.UsageError(block(said)) from None


def session_of(config: pytest.Config) -> Session:
    """The session's state, made when it is first asked for. Raises UsageError for options that cannot be served."""
    if SESSION not in config.stash:
        config.stash[SESSION] = Session(read_settings(config), config)
    session: Session = config.stash[SESSION]
    return session


def _where(node: pytest.Item) -> tuple[str, str, int]:
    """The test's id, its file and its line, from 1."""
    file, line, _ = node.location
    return _nodeid(node), file, (line or 0) + 1


def _nodeid(node: pytest.Item) -> str:
    return node.nodeid[: node.nodeid.rindex("]") + 1]  # without the group that xdist may append


def _accept(node: pytest.Item) -> str:
    """The command that records the item's cell, with the options that shape its result."""
    words = iter(map(str, node.config.invocation_params.args))
    kept = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name == "--bt-force":
            kept.append(word)
        elif name in SHAPING:
            kept.append(word if equals else f"{word}={next(words, '')}")
    return " ".join(["pytest", f"'{_nodeid(node)}'", *map(shlex.quote, kept), "--bt-update-baselines"])

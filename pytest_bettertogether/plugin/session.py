"""One pytest session's worth of state, kept in `config.stash`: settings, suites, cells, records."""

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from ..data import Task
from ..errors import BetterTogetherError, BudgetError
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
    from ..backends.devices import Claim
    from ..cells import Cells
    from ..gate.abilities import Abilities
    from ..gate.baselines import Source
    from ..gate.scope import Scope
    from ..gate.verdict import Baseline, Mode, Terms
    from ..harness.abilities import Wanted
    from ..models import Model

Done = TypeVar("Done")

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
    written: list[str] = field(default_factory=list)
    """What was written into baselines and reports, line by line."""
    planned: list[str] = field(default_factory=list)
    """What --bt-plan found out, line by line."""
    running: Attempt | None = None
    """The attempt that has begun a cell and has no report yet; one left when the session ends was interrupted."""
    claim: "Claim | None" = None
    """The GPU of this worker."""
    obsolete: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """Baselines that belong to no suite any more, by file."""
    damaged: Counter[str] = field(default_factory=Counter)
    """What was found damaged in the journal, by kind."""
    _tasks: dict[Path, Task] = field(default_factory=dict)

    @cached_property
    def cells(self) -> "Cells":
        """The cells' engine room; making it opens the journal."""
        from ..budget import Budget
        from ..cells import Cells
        from ..journal import Journal
        from .placement import place

        settings = self.settings
        if any(model.backend != "server" for model in settings.models):
            self.claim = place(self.config)
        journal, budget = Journal(settings.journal, settings.fresh), Budget(*settings.budget)
        return Cells(
            journal,
            settings.limit,
            settings.select,
            settings.dev,
            settings.offline,
            budget,
            where=settings.where,
            replay_tests=settings.replay_tests,
        )

    @cached_property
    def scope(self) -> "Scope":
        """What was collected."""
        from ..gate.scope import Scope

        models = {model.name: model for model in self.settings.models}
        return Scope(tuple(models), able=lambda suite, name: not self.lacks(suite, models[name]))

    @cached_property
    def source(self) -> "Source":
        """Where baselines are read."""
        from ..gate.baselines import Source

        return Source(self.settings.baseline_ref)

    def close(self) -> None:
        """Let go of what `cells` holds."""
        if "cells" in vars(self):
            self.cells.close()
        if self.claim:
            self.claim.release()

    def suite(self, node: pytest.Item) -> Suite | None:
        """The suite of a marked test, or None. Raises CollectError for a marker that cannot work."""
        suite = read_marker(node, self.settings.strategies)
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
            raise pytest.UsageError(str(error)) from None

    @cached_property
    def terms(self) -> "Terms":
        """On what terms cells are compared, once all is collected."""
        from ..gate.verdict import Terms

        settings = self.settings
        share = settings.alpha / max(1, len(self.scope.gated(self.source.read)))
        return Terms(share, settings.margin, settings.detect, settings.too_small_fails)

    def begin(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> Attempt:
        """The item's attempt, made by whichever of its fixtures comes first.

        Skips the test, before its data are read, where the model cannot do what the task needs.
        """
        file, line, _ = node.location
        where = (_nodeid(node), file, (line or 0) + 1)
        made = Attempt(suite, model.name, strategy.id, where, too_small_fails=self.settings.too_small_fails)
        attempt: Attempt = node.stash.setdefault(ATTEMPT, made)
        attempt.lacks = self.lacks(suite, model)
        if attempt.lacks:
            pytest.skip(attempt.lacks)
        return attempt

    def lacks(self, suite: Suite, model: "Model") -> str:
        """Why a model is not asked to do a task, or the empty string."""
        needs = suite.task.needs
        if not needs or needs in model.abilities or self.settings.force:
            return ""
        return (
            f"{suite.name} needs a model with the ability {needs!r}, which {model.name} lacks "
            "(--bt-force runs it all the same)"
        )

    def baseline(self, node: pytest.Item, suite: Suite, model: "Model", strategy: Strategy) -> "Baseline":
        """The baseline of one cell. Raises BaselineError where the gate needs one and there is none that fits."""
        from ..gate.verdict import Baseline, find

        settings, gated, cell = self.settings, strategy in suite.gate, f"{model.name}-{strategy.id}"
        mode: Mode = "gated"
        if settings.update_baselines == "all" or (
            settings.update_baselines == "new" and cell not in self.source.read(suite.baselines, suite.name)
        ):
            mode = "recording"
        elif not (settings.gate and gated):
            mode = "not gated"
        root = node.config.rootpath
        shown = suite.baselines.relative_to(root) if suite.baselines.is_relative_to(root) else suite.baselines
        baseline = Baseline(cell, suite.baselines, mode, self.terms, _accept(node), str(shown), gated)
        if mode != "gated":
            return baseline
        return find(baseline, self.cells.identity(suite), self.source, suite.name)

    def add(self, record: dict[str, Any]) -> None:
        """Take in the record of a cell that has run."""
        self.records.append(CellRecord.from_json(record))

    def end(self) -> None:
        """Note a cell that was still running when the session ended, and what its journal was like."""
        if self.running:
            self.records.append(self.running.stopped())
        if "cells" in vars(self):
            self.damaged += self.cells.journal.damaged

    def notes(self) -> Iterator[str]:
        """A line on whatever else the user should know of this session."""
        if self.damaged:
            from ..journal import damage_line

            yield damage_line(self.damaged)
        halved = sum(each.paid.halved for each in self.records)
        if halved:
            yield (
                f"memory: {halved} batch{'' if halved == 1 else 'es'} did not fit and went on in smaller ones: "
                "--bt-set=rows=N asks for smaller ones from the start (training: lora.micro_batch=N)"
            )

    def plan(self, items: Iterable[pytest.Item]) -> None:
        """Find out what the cells among `items` would cost. Raises UsageError where that cannot be."""
        wanted = []
        for item in items:
            suite, parameters = self.suite(item), getattr(item, "callspec", None)
            if suite and parameters and {"bt_model", "bt_strategy"} <= set(parameters.params):
                model = parameters.params["bt_model"]
                if not self.lacks(suite, model):
                    wanted.append((suite, model, parameters.params["bt_strategy"]))
        try:
            self.planned += self.cells.plan(wanted, self.settings.seeds).lines() if wanted else ()
        except BetterTogetherError as error:
            raise pytest.UsageError(f"--bt-plan: {error}") from None

    def run(self, attempt: Attempt, model: "Model", strategy: Strategy) -> CellResult:
        """Run a cell on behalf of an item, and note what it cost or why it broke."""
        __tracebackhide__ = True
        result = self._work(attempt, lambda cells: cells.run(attempt.suite, model, strategy, self.settings.seeds))
        result = replace(result, measure=partial(self.measure, attempt, model, result))
        if strategy.id == attempt.strategy:
            attempt.result = result
            self._export(attempt.suite, result)
        return result

    def measure(
        self, attempt: Attempt, model: "Model", result: CellResult, tasks: "Wanted", **form: Any
    ) -> "Abilities":
        """Put lm-eval tasks to a cell's weights and to the base model, on behalf of an item."""
        __tracebackhide__ = True
        from ..gate.abilities import Abilities
        from ..harness.measuring import Form

        settings = self.settings
        try:
            how = Form(**form)
        except TypeError:
            pytest.fail(f"harness() takes {', '.join(each.name for each in fields(Form))}, got {form}", pytrace=False)
        found = self._work(attempt, lambda cells: cells.abilities(attempt.suite, model, result, tasks, how))
        own = result.strategy == attempt.strategy
        if own:
            attempt.note(found)
        gated = settings.gate and Strategy.parse(result.strategy) in attempt.suite.gate
        terms = replace(self.terms, alpha=settings.alpha)
        return Abilities(found, terms, gated, attempt.note if own else tuple)

    def _work(self, attempt: Attempt, job: "Callable[[Cells], Done]") -> Done:
        """Whatever happens in a job is the attempt's: what it cost, what broke it, what stopped it.

        No context manager: contextlib would give an error its whole traceback back.
        """
        __tracebackhide__ = True
        began = time.perf_counter()
        self.running = attempt
        attempt.fault = attempt.spent = ""  # of an earlier attempt, under pytest-rerunfailures
        line = progress_line(self.config)
        try:
            cells = self.cells
            cells.progress = Progress(line.show)
            before = cells.paid()
            try:
                return job(cells)
            finally:
                line.clear()
                now = cells.paid()
                usage, steps = now.usage - before.usage, now.train_steps - before.train_steps
                attempt.paid += Paid(usage, steps, time.perf_counter() - began, now.halved - before.halved)
        except BudgetError as error:
            attempt.spent = str(error)
            raise pytest.fail.Exception(f"stopped: {error}", pytrace=False) from None
        # Whatever broke (pytest-timeout uses pytest.fail): the cell is invalid, and the error goes on to the user.
        except (Exception, pytest.fail.Exception) as error:
            attempt.fault = f"{type(error).__name__}: {error}"
            raise_for_user(error)

    def _export(self, suite: Suite, result: CellResult) -> None:
        """Freeze a cell's programs, where that was asked for."""
        folder = self.settings.export
        if folder is None or result.refused:
            return
        from ..gate.git import commit

        about = {
            "written by": f"pytest-bettertogether {version('pytest-bettertogether')}",
            "commit": commit(self.config.rootpath),
            "date": datetime.now(UTC).date().isoformat(),
        }
        try:
            self.cells.export(suite, result, folder, about)
        except OSError as error:
            pytest.fail(f"--bt-export={folder}: cannot write the programs of {result.id}: {error}", pytrace=False)


def session_of(config: pytest.Config) -> Session:
    """The session's state, made when it is first asked for. Raises UsageError for options that cannot be served."""
    if SESSION not in config.stash:
        config.stash[SESSION] = Session(read_settings(config), config)
    session: Session = config.stash[SESSION]
    return session


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

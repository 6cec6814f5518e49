"""Running a cell, or what is measured beside it, on behalf of an item: what it cost, what broke or stopped it."""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from ..pipeline.errors import BudgetError
from ..pipeline.inert_text import block
from ..pipeline.strategy import Strategy
from ..pipeline.suite import Suite
from ..results.cell_records import Paid
from ..results.cell_results import CellResult
from ..running.progress import Progress, nobody
from .cell_run import CellRun
from .faults import BROKEN, leaves, raise_for_user, users_line
from .keys import DISPLAY
from .session import Session

if TYPE_CHECKING:  # greenlets and the journal are loaded when the first cell runs
    from ..cells.cells import Cells
    from ..engines.model import Model
    from ..gate.side_effects import SideEffects
    from ..harness.side_effects import Wanted
    from .display import Display
    from .distribution import Teller

Done = TypeVar("Done")


def run(session: Session, cell_run: CellRun, model: "Model", strategy: Strategy) -> CellResult:
    """Run a cell on behalf of an item, and note what it cost or why it broke."""
    __tracebackhide__ = True
    result = _work(session, cell_run, lambda cells: cells.run(cell_run.suite, model, strategy, session.settings.seeds))
    if strategy.id == cell_run.strategy:
        cell_run.finish(result)
        _export(session, cell_run.suite, result)
    return result


def measure(
    session: Session, cell_run: CellRun, model: "Model", result: CellResult, tasks: "Wanted", **form: Any
) -> "SideEffects":
    """Put lm-eval tasks to a cell's weights and to the base model, on behalf of an item."""
    __tracebackhide__ = True
    from ..cells.side_effects import side_effects
    from ..gate.side_effects import SideEffects
    from ..harness.measuring import Form

    settings = session.settings
    try:
        how = Form(**form)
    except TypeError:
        pytest.fail(f"harness() takes {', '.join(field.name for field in fields(Form))}, got {form}", pytrace=False)
    found = _work(session, cell_run, lambda cells: side_effects(cells, cell_run.suite, model, result, tasks, how))
    own = result.strategy == cell_run.strategy
    if own:
        cell_run.note(found)
    gated = settings.gate and Strategy.of(result.strategy) in cell_run.suite.gate
    terms = replace(session.terms, alpha=settings.alpha)
    return SideEffects(found, terms, gated, cell_run.note if own else tuple)


def _work(session: Session, cell_run: CellRun, job: "Callable[[Cells], Done]") -> Done:
    """Whatever happens in a job is the run's: what it cost, what broke it, what stopped it.

    No context manager: contextlib would give an error its whole traceback back.
    """
    __tracebackhide__ = True
    began = time.perf_counter()
    session.running = cell_run
    cell_run.begin()
    watcher = _watcher(session.config)
    try:
        cells = session.cells
        cells.progress = Progress(watcher.show if watcher else nobody)
        cells.progress.cell = f"{cell_run.suite.name}[{cell_run.model}-{cell_run.strategy}]"
        before = cells.engines.paid()
        try:
            return job(cells)
        finally:
            if watcher:
                watcher.over()
            now = cells.engines.paid()
            usage, steps = now.usage - before.usage, now.train_steps - before.train_steps
            cell_run.pay(Paid(usage, steps, time.perf_counter() - began, now.halved - before.halved))
    except BudgetError as error:
        cell_run.stop(str(error))
        raise pytest.fail.Exception(block(f"stopped: {error}"), pytrace=False) from None
    except BROKEN as error:
        break_off(cell_run, error)


def break_off(cell_run: CellRun, error: BaseException) -> NoReturn:
    """Note that the cell is invalid, and end its test with what the user can act on."""
    __tracebackhide__ = True
    cause = error.__cause__ or error  # pytest's Exit is an Exception, which our errors name with its example
    if not leaves(cause):
        cell_run.break_off(f"{type(error).__name__}: {error}")
        raise_for_user(error)
    # The cell would be missing, and the run be green.
    fault = (
        f"{users_line(cause) or 'the program'} raised {type(cause).__name__}({str(cause)!r}) while the cell was run: "
        "skip, or expect a failure, in the test itself, before it calls better_together()"
    )
    cell_run.break_off(fault)
    raise pytest.fail.Exception(block(fault), pytrace=False) from None


def _watcher(config: pytest.Config) -> "Display | Teller | None":
    """Who is told where a cell is."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is None:
        return config.stash.get(DISPLAY, None)
    from .distribution import CHANNEL, Teller

    return Teller(workerinput[CHANNEL]) if CHANNEL in workerinput else None


def _export(session: Session, suite: Suite, result: CellResult) -> None:
    """Freeze a cell's programs, where that was asked for."""
    folder = session.settings.export
    if folder is None or result.refused:
        return
    from ..cells.export import export
    from ..gate.git import commit

    about = {
        "written by": f"pytest-bettertogether {version('pytest-bettertogether')}",
        "commit": commit(session.config.rootpath),
        "date": datetime.now(UTC).date().isoformat(),
    }
    try:
        export(session.cells, suite, result, folder, about)
    except OSError as error:
        pytest.fail(f"--bt-export={folder}: cannot write the programs of {result.id}: {error}", pytrace=False)

"""The pytest hooks: they translate between pytest and the modules that decide.

Loading this costs a run without suites next to nothing: engines, statistics and tables
are imported where they are first needed.
"""

import json
import os
import sys
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from .keys import CELL_RUN, DISPLAY, OUTERMOST, SESSION
from .options import add_options, asked

if TYPE_CHECKING:  # a run without suites never loads it
    from .session import Session

pytest_plugins = ["pytest_bettertogether.plugin.fixtures"]

RECORD, STATUS = "_bettertogether", "_bettertogether_status"
"""Attributes of a test report that carry a cell's record, as JSON text, and its status to wherever the report goes."""


ORDER = ("<", "<=", ">", ">=")
OUTER = "PYTEST_BETTERTOGETHER_OUTER"
"""Set in the environment of a step of GitHub Actions by its outermost run, for runs inside its tests and for workers to
see: they report to that run, or to nobody."""
MARKER = (
    "bettertogether(task, strategies=None, gate=None): optimise and evaluate `task`, once per model and strategy. "
    "strategies: which ones (default: the paper's eight); gate: those that `>= bt_baseline` can fail (default: all)."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the --bt- options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer our own hooks."""
    from . import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse wrong options before anything is collected."""
    config.addinivalue_line("markers", MARKER)
    config.stash[OUTERMOST] = os.environ.get("GITHUB_ACTIONS") == "true" and OUTER not in os.environ
    if config.stash[OUTERMOST]:
        os.environ[OUTER] = str(os.getpid())
    config.pluginmanager.register(Collector(config), "bettertogether-collector")
    if asked(config):
        _session(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if DISPLAY in config.stash:
        config.stash[DISPLAY].close()
    if config.stash.get(OUTERMOST, False):
        os.environ.pop(OUTER, None)
    if SESSION in config.stash:
        config.stash[SESSION].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item per model and strategy of a marked test."""
    if metafunc.definition.get_closest_marker("bettertogether") is None:
        if "better_together" in metafunc.fixturenames:
            from .marker import check_parameters

            check_parameters(metafunc.definition)
        return
    session = _session(metafunc.config)
    suite, models = session.suite(metafunc.definition), session.settings.models
    if suite is None:
        return
    # Here and not from the items left to run: a verdict must not depend on -k or --lf.
    session.collect(suite)
    if "bt_model" in metafunc.fixturenames:
        ids = [model.name for model in models]
        metafunc.parametrize("bt_model", models, indirect=True, scope="session", ids=ids)
    if "bt_strategy" in metafunc.fixturenames:
        ids = [strategy.id for strategy in suite.strategies]
        metafunc.parametrize("bt_strategy", suite.strategies, indirect=True, ids=ids)


@pytest.hookimpl(tryfirst=True)  # before -k takes items away
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Refuse baseline files that cannot be read, before any test runs."""
    if SESSION in config.stash:
        config.stash[SESSION].check_baselines({item.path for item in items})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Get ready to show progress; on an xdist worker, tell which cells there are, before xdist tells which tests."""
    cells = [item for item in session.items if item.get_closest_marker("bettertogether")]
    if not cells:
        return
    workerinput = getattr(session.config, "workerinput", None)
    if workerinput is None:
        from .display import open_display

        open_display(session.config, len(cells))
    else:
        from .distribution import tell

        tell(workerinput, cells, _session(session.config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """On the xdist controller, be ready to hear what the workers say."""
    from .distribution import listen

    listen(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """On the xdist controller, take over what a worker knows: it has collected and run cells, we have not."""
    from .distribution import left

    if DISPLAY in node.config.stash:  # it may have crashed at a cell
        node.config.stash[DISPLAY].over(node.gateway.id)
    obsolete, damaged = left(node)
    if obsolete:
        _session(node.config).obsolete = obsolete
    if damaged:
        _session(node.config).damaged.update(damaged)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """With `-n auto`, one worker for each GPU where suites are selected."""
    from .placement import workers

    return workers(config)


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the cells of a model on one xdist worker."""
    from .distribution import make_scheduler

    return make_scheduler(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With --bt-plan, work out what the tests would cost in place of running them."""
    if SESSION not in session.config.stash or not _session(session.config).settings.plan:
        return None
    _session(session.config).plan(session.items)
    return True


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Say what will run, where something of ours will."""
    cells = sum(item.get_closest_marker("bettertogether") is not None for item in items)
    if not cells or config.get_verbosity() < 0:  # --collect-only -q is read by programs
        return []
    from ..pipeline.inert_text import plain

    settings = _session(config).settings
    models = ", ".join(plain(model.name, 60) for model in settings.models)
    seeds = ", ".join(map(str, settings.seeds))
    limit = f", first {settings.limit} examples of each split" if settings.limit else ""
    gate = ", recording baselines" if settings.update_baselines == "all" else "" if settings.gate else ", not gated"
    return [f"better together: {cells} cell{'s' * (cells != 1)} on {models}, seeds {seeds}{limit}{gate}"]


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed `better_together() >= bt_baseline`, and comparisons with numbers and other results."""
    if "pytest_bettertogether.cells.cells" not in sys.modules:  # then neither side can be ours
        return None
    from ..gate.failure_texts import explain, explain_plain
    from ..gate.side_effects import SideEffects
    from ..gate.side_effects import explain as explain_abilities
    from ..gate.verdict import Baseline
    from ..pipeline.inert_text import block
    from ..results.cell_results import CellResult

    lines: list[str] = []
    if isinstance(left, SideEffects) and op == ">=":
        lines = explain_abilities(left, right)
    elif isinstance(left, CellResult) and isinstance(right, Baseline) and op == ">=":
        lines = explain(left, right)
    elif isinstance(left, CellResult) and isinstance(right, CellResult | int | float) and op in ORDER:
        lines = explain_plain(left, op, right)
    return [block(line) for line in lines] or None


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Tell cells' outcomes apart by letter and word; how they count stays pytest's."""
    if not hasattr(report, RECORD) or report.outcome not in ("passed", "failed", "skipped"):
        return None
    from .outcomes import teststatus

    return teststatus(report, getattr(report, STATUS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send a cell's record along with its report, from an xdist worker too."""
    report = yield
    cell_run = item.stash.get(CELL_RUN, None)
    # A cell ends where its test was called, or where its set-up did not get that far.
    if cell_run is not None and (call.when == "call" or (call.when == "setup" and not report.passed)):
        record, ending = cell_run.record(report, call)
        if ending.objection:
            # Neither a pass, nor a skip, nor an expected failure.
            vars(report).pop("wasxfail", None)
            report.outcome, report.longrepr = "failed", ending.objection
        setattr(report, RECORD, json.dumps(record.to_json()))
        setattr(report, STATUS, record.status)
        from .faults import make_inert
        from .outcomes import properties, sections

        make_inert(report)

        # JUnit XML takes them from the report on tear-down, which gets the item's; of a repeated item, the last.
        others = [pair for pair in item.user_properties if not pair[0].startswith("bettertogether.")]
        item.user_properties[:] = [*others, *properties(record)]
        report.sections.extend(sections(cell_run, record))
        _session(item.config).running = None
    elif cell_run is None and report.skipped and item.get_closest_marker("bettertogether"):
        # By a mark, before any fixture of ours: without a record it would be in no report.
        skipped = _session(item.config).unreported(item, "skipped", str(call.excinfo.value) if call.excinfo else "")
        if skipped:
            setattr(report, RECORD, json.dumps(skipped.to_json()))
            setattr(report, STATUS, skipped.status)
    return report


class Collector:
    """Gathers the cells' records as their reports come in: on the controller, where files are written."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.started = config, time.time()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the record of a cell that has run, unless pytest-rerunfailures will repeat it (outcome `rerun`)."""
        if hasattr(report, RECORD) and report.outcome in ("passed", "failed", "skipped"):
            _session(self.config).add(json.loads(getattr(report, RECORD)))
            if DISPLAY in self.config.stash:
                self.config.stash[DISPLAY].finished(report.duration if report.when == "call" else None)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Give the report that xdist makes of a test whose worker crashed the record of its cell, which is invalid."""
        from .distribution import crashed

        record = crashed(self.config, crashitem)
        if record:
            setattr(report, RECORD, record)
            setattr(report, STATUS, json.loads(record)["status"])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the baselines and reports that were asked for; baselines that could not be written are a failure."""
        if SESSION in self.config.stash:
            ours = _session(self.config)
            ours.end()
            output = getattr(self.config, "workeroutput", None)
            if output is not None:
                from .distribution import leave

                leave(output, ours.obsolete, ours.damaged)
            elif ours.records or ours.obsolete:
                from .finish import write_files

                ours.written.extend(write_files(ours, self.config, self.started))
                if ours.unwritten and session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the comparison, if a cell has run."""
    session = config.stash.get(SESSION, None)
    if session is None or not (session.records or session.written or session.planned):
        return
    from ..cells.plan import ASCII as SIGNS
    from ..pipeline.inert_text import block
    from ..report.text import UNICODE, lines
    from .finish import annotation_lines
    from .terminal import style_of

    terminalreporter.write_sep("-", "better together")
    style, report = style_of(terminalreporter), session.report
    planned = [line if style.marks is UNICODE else line.translate(SIGNS) for line in session.planned]
    table = lines(report, style) if report else ()
    said = map(block, (*session.notes(), *session.written))
    for line in (*map(block, planned), *table, *said, *(annotation_lines(report, config) if report else ())):
        terminalreporter.write_line(line)


def _session(config: pytest.Config) -> "Session":
    from .session import session_of

    return session_of(config)

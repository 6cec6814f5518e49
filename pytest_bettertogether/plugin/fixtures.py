"""The fixtures, as `pytest --fixtures` shows them; what they are made of is loaded when a test asks for one."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # a run without suites loads this module too
    from ..engines.model import Model
    from ..gate.verdict import Baseline
    from ..pipeline.data import Task
    from ..pipeline.strategy import Strategy
    from ..pipeline.suite import Suite
    from .better_together import BetterTogether
    from .session import Session


@pytest.fixture(scope="session")
def bt_model(request: pytest.FixtureRequest) -> "Model":
    """The model of this cell: its name, where its weights are, its recipe."""
    model: Model = _parameter(request)
    return model


@pytest.fixture
def bt_strategy(request: pytest.FixtureRequest) -> "Strategy":
    """The strategy of this cell: which optimisation steps, in which order."""
    strategy: Strategy = _parameter(request)
    return strategy


@pytest.fixture
def bt_task(request: pytest.FixtureRequest) -> "Task":
    """The task that the test is marked with."""
    return _suite(request).task


@pytest.fixture(scope="session")
def bt_seeds(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """The seeds that each cell runs with (--bt-seeds)."""
    return _session(request).settings.seeds


@pytest.fixture
def bt_baseline(request: pytest.FixtureRequest, bt_model: "Model", bt_strategy: "Strategy") -> "Baseline":
    """The recorded result that this cell must hold: `assert better_together() >= bt_baseline`.

    Fails, before anything is trained, where none is recorded or the recorded one no longer
    fits the test split or the metric.
    """
    from ..pipeline.errors import BaselineError
    from ..pipeline.inert_text import block
    from .faults import BROKEN
    from .running import break_off

    session, suite = _session(request), _suite(request)
    cell_run = session.begin(request.node, suite, bt_model, bt_strategy)
    try:
        baseline = session.baseline(request.node, cell_run, bt_model, bt_strategy)
    except BaselineError as error:
        raise pytest.fail.Exception(block(str(error)), pytrace=False) from None
    except BROKEN as error:  # the data cannot be read, the program not be made, the journal not be opened
        break_off(cell_run, error)
    cell_run.take_baseline(baseline)
    return baseline


@pytest.fixture
def better_together(request: pytest.FixtureRequest, bt_model: "Model", bt_strategy: "Strategy") -> "BetterTogether":
    """Optimise the task's program on the model, evaluate it: `result = better_together()`.

    `better_together(strategy="p")` is another strategy's result; the steps that the two have in
    common run once. A refused cell skips its test, unless its baseline has a score.
    """
    from .better_together import BetterTogether

    session = _session(request)
    return BetterTogether(session, session.begin(request.node, _suite(request), bt_model, bt_strategy), bt_model)


def _parameter(request: pytest.FixtureRequest) -> Any:
    if not hasattr(request, "param"):
        pytest.fail("mark the test with @pytest.mark.bettertogether(TASK)", pytrace=False)
    return request.param


def _suite(request: pytest.FixtureRequest) -> "Suite":
    suite = _session(request).suite(request.node)
    if suite is None:
        pytest.fail("mark the test with @pytest.mark.bettertogether(TASK)", pytrace=False)
    return suite


def _session(request: pytest.FixtureRequest) -> "Session":
    from .session import session_of

    return session_of(request.config)

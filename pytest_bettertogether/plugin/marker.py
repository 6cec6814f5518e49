"""The marker: `@pytest.mark.bettertogether(TASK, strategies=[...], gate=[...])` -> Suite."""

import pytest

from ..optimize.step import Further, kinds_with, own_values
from ..pipeline.data import Task
from ..pipeline.recipe import ENGINE, Recipe
from ..pipeline.steps import Kinds
from ..pipeline.strategy import PAPER, Strategy
from ..pipeline.suite import Suite, baseline_file


def read_marker(node: pytest.Item, chosen: tuple[Strategy, ...], steps: Further) -> Suite | None:
    """What a test's marker asks for, or None without one; `chosen` strategies win over the marker's.

    `steps` are those that strategies may name beside the built-in ones, and a task's recipe have values of.

    Raises CollectError, which pytest shows without a traceback, for a marker that cannot work.
    """
    marks = list(node.iter_markers("bettertogether"))
    if not marks:
        return None
    if len(marks) > 1:
        raise pytest.Collector.CollectError(
            f"{node.nodeid}: {len(marks)} markers bettertogether(...) apply to it, its class's and module's included, "
            "and a test has one task: write a test for each"
        )
    (mark,) = marks
    if len(mark.args) == 1 and isinstance(mark.args[0], list | tuple | set):
        raise pytest.Collector.CollectError(
            f"{node.nodeid}: bettertogether(...) takes one task, not {len(mark.args[0])}: write a test for each"
        )
    if len(mark.args) != 1 or not isinstance(mark.args[0], Task) or set(mark.kwargs) - {"strategies", "gate"}:
        raise pytest.Collector.CollectError(
            f"{node.nodeid}: write @pytest.mark.bettertogether(TASK), with a Task and at most strategies=[...] "
            f"and gate=[...]; got {len(mark.args)} positional argument(s) and the keywords {list(mark.kwargs)}"
        )
    task = mark.args[0]
    try:
        Recipe(own=own_values(steps)).override(task.recipe)
        engine = [key for key in task.recipe if key in ENGINE]
        if engine:
            raise ValueError(f"{', '.join(engine)} cannot be a task's, since one engine serves all: use --bt-set")
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{node.nodeid}: Task(recipe={dict(task.recipe)}): {error}") from None
    name = task.name or node.path.stem.removeprefix("test_")
    kinds = kinds_with(steps)
    own = _strategies(node, mark, "strategies", kinds) or PAPER
    strategies = chosen or own
    gate = _strategies(node, mark, "gate", kinds)
    never = [strategy.id for strategy in gate or () if strategy not in own]
    if never:
        raise pytest.Collector.CollectError(
            f"{node.nodeid}: bettertogether(gate=...) names {', '.join(never)}, which is not among the strategies "
            f"{', '.join(strategy.id for strategy in own)}: it would never be gated"
        )
    gated = tuple(dict.fromkeys((*own, *strategies))) if gate is None else gate
    return Suite(name, task, baseline_file(node.path, name), strategies, own, gated)


def check_parameters(definition: pytest.Item) -> None:
    """Raise CollectError for a marker on a `pytest.param`: cells are made before parameters are looked at."""
    for mark in definition.iter_markers("parametrize"):
        values = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
        for value in values if isinstance(values, list | tuple) else ():
            if any(inner.name == "bettertogether" for inner in getattr(value, "marks", ())):
                raise pytest.Collector.CollectError(
                    f"{definition.nodeid}: a pytest.param(...) cannot be marked bettertogether(...): mark the test, "
                    "and write one for each task"
                )


def _strategies(node: pytest.Item, mark: pytest.Mark, key: str, kinds: Kinds) -> tuple[Strategy, ...] | None:
    written = mark.kwargs.get(key)
    if written is None:
        return None
    try:
        if isinstance(written, str):
            raise ValueError(f"expected a list of strategies, as in [{written!r}]")
        return tuple(dict.fromkeys(Strategy.parse(text, kinds) for text in written))
    except (TypeError, ValueError, AttributeError) as error:
        raise pytest.Collector.CollectError(f"{node.nodeid}: bettertogether({key}={written!r}): {error}") from None

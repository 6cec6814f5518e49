"""What cells would cost, found out without a model: they are run on what the journal holds, as far as that goes.

Where the journal ends, the batch that is missing is known exactly. What comes after it depends on its
completions and is bounded: the recipe says how often the program runs, and a run is taken to call
each predictor once (fewer calls are made where a completion cannot be parsed, or a batch repeats another).
Tokens are estimated: a token is taken to be four characters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from ..engines.model import Model
from ..journal.replay_only import Missing, ReplayOnly
from ..optimize.bettertogether import Select, StepPath, run_seed
from ..optimize.bound import Bound, bound_of_runs
from ..optimize.builtin import BUILT_IN
from ..optimize.conduct import bound, conduct
from ..optimize.outcome import Outcome
from ..optimize.step import Steps, kinds_of
from ..pipeline.state import ProgramState
from ..pipeline.steps import Part, parts_after
from ..pipeline.strategy import Strategy
from ..pipeline.suite import Suite
from ..running.evaluate import Experiment, evaluate

ASCII = str.maketrans({"≤": "<=", "≈": "~", "–": "-"})
"""For streams that cannot show the signs of a plan."""


@dataclass(frozen=True)
class Cost:
    """What is held and what is still to pay; `exact` where the second is known and not bounded from above."""

    held: int = 0
    calls: int = 0
    tokens_in: int = 0
    """Estimated."""
    tokens_out: int = 0
    """At most."""
    trainings: int = 0
    rows: int = 0
    """Of all trainings together."""
    exact: bool = True

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.held + other.held,
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.trainings + other.trainings,
            self.rows + other.rows,
            self.exact and other.exact,
        )


class Plan:
    """Adds cells up; a step that several share is counted where it is first met."""

    def __init__(self, select: Select = "last", dev: bool = False, steps: Steps = BUILT_IN) -> None:
        self.select, self.dev = select, dev
        self.steps, self.kinds = steps, kinds_of(steps)
        self.rows: list[tuple[str, str, Cost]] = []
        self._steps: dict[tuple[Path, str, int, StepPath], tuple[Outcome | None, Cost]] = {}
        self._batches: set[str] = set()

    def add(self, suite: Suite, model: Model, strategy: Strategy, experiments: Iterable[Experiment]) -> None:
        """Plan a cell; `experiments` are its seeds, with an `ReplayOnly` for a backend."""
        cell, costs = f"{suite.name}[{model.name}-{strategy.id}]", dict[str, Cost]()
        for experiment in experiments:
            outcomes = self._optimise((suite.baselines, model.name, experiment.seed), experiment, strategy, costs)
            if outcomes is not None and any(outcome.refused for outcome in outcomes.values()):
                continue  # no step after it, and no evaluation
            if self.select == "best" or self.dev:
                costs["test"] = costs.get("test", Cost()) + self._best(experiment, outcomes, strategy)
                continue
            state: ProgramState | None = experiment.start
            if strategy.steps:
                state = outcomes[strategy.steps].state if outcomes else None
            costs["test"] = costs.get("test", Cost()) + self._test(experiment, state, strategy.steps)
        self.rows += [(cell, name, cost) for name, cost in costs.items()]

    def lines(self) -> Iterator[str]:
        """A table with a row per cell and step (all seeds together), and the total."""
        table = [[cell, step, *_shown(cost)] for cell, step, cost in self.rows]
        total = sum((cost for *_, cost in self.rows), Cost())
        heads = ["cell", "step", "calls held", "calls to make", "tokens in", "tokens out", "training rows"]
        align = ("left", "left", *["right"] * 5)
        drawn = tabulate([*table, ["total", "", *_shown(total)]], heads, disable_numparse=True, colalign=align)
        yield from drawn.split("\n")
        yield ""
        yield "a step that cells share is counted once, where it is first needed; nothing was run"
        yield "≤ at most, if a run calls each predictor once   ≈ estimated, four characters a token"

    def _optimise(
        self, owner: tuple[Path, str, int], experiment: Experiment, strategy: Strategy, costs: dict[str, Cost]
    ) -> dict[StepPath, Outcome] | None:
        """Add what the steps cost that were not counted yet; their outcomes up to a refusal, None if one is unknown."""
        outcomes: dict[StepPath, Outcome] = {}
        state: ProgramState | None = experiment.start
        for path in strategy.prefixes():
            if (*owner, path) not in self._steps:
                self._steps[*owner, path] = self._step(experiment, state, path)
                name = "".join(path)
                costs[name] = costs.get(name, Cost()) + self._steps[*owner, path][1]
            outcome = self._steps[*owner, path][0]
            state = outcome.state if outcome else None
            if outcome:
                outcomes[path] = outcome
                if outcome.refused:
                    break
        return outcomes if state is not None else None

    def _step(self, experiment: Experiment, state: ProgramState | None, path: StepPath) -> tuple[Outcome | None, Cost]:
        """What comes out of a step, if that is known, and what the step costs."""
        step = self.steps[path[-1]]
        if experiment.unfit and state is not None:
            return conduct(step, experiment, state, path), Cost()
        most = _most(bound(step, experiment, self._parts(experiment, path[:-1])))
        if state is None:
            return None, most
        ahead = experiment.backend
        assert isinstance(ahead, ReplayOnly)
        before = ahead.held
        try:
            outcome = conduct(step, experiment, state, path)
        except Missing as missing:
            held = ahead.held - before
            if missing.rows:
                return None, Cost(held=held, trainings=1, rows=missing.rows)
            left = max(missing.calls, most.calls - held)
            share = left / most.calls if most.calls else 0
            tokens = max(missing.tokens, round(most.tokens_in * share))
            out = max(missing.out, left * most.tokens_out // max(1, most.calls))
            return None, replace(most, held=held, calls=left, tokens_in=tokens, tokens_out=out)
        return outcome, Cost(held=ahead.held - before)

    def _parts(self, experiment: Experiment, path: StepPath) -> frozenset[Part]:
        """What of the program may differ from what the user wrote after these steps."""
        return parts_after(path, self.kinds, experiment.start.differs(ProgramState()))

    def _evaluation(self, experiment: Experiment, runs: int, path: StepPath) -> Cost:
        """The evaluation of a program of which only the steps are known."""
        return _most(bound_of_runs(experiment, runs, experiment.recipe.evaluate, self._parts(experiment, path)))

    def _best(self, experiment: Experiment, outcomes: dict[StepPath, Outcome] | None, strategy: Strategy) -> Cost:
        """The evaluation of the prefixes on dev, and of the chosen one on test."""
        runs = len(experiment.splits.dev) * (len(strategy.steps) + 1) + len(experiment.splits.test)
        parts = frozenset[Part]().union(*(self._parts(experiment, path) for path in strategy.prefixes()))
        most, ahead = _most(bound_of_runs(experiment, runs, experiment.recipe.evaluate, parts)), experiment.backend
        assert isinstance(ahead, ReplayOnly)
        if outcomes is None:
            return most
        before = ahead.held
        try:
            run_seed(experiment, strategy, lambda path, _work: outcomes[path], self.select, self.dev, self.steps)
        except Missing:
            held = ahead.held - before
            return replace(most, held=held, calls=most.calls - held)
        return Cost(held=ahead.held - before)

    def _test(self, experiment: Experiment, state: ProgramState | None, path: StepPath) -> Cost:
        """The final evaluation; exact where it is one batch that is known."""
        most, ahead = self._evaluation(experiment, len(experiment.splits.test), path), experiment.backend
        assert isinstance(ahead, ReplayOnly)
        if state is None:
            return most
        before = ahead.held
        try:
            evaluate(experiment.on_test(), state, experiment.splits.test, experiment.test_seed(path))
        except Missing as missing:
            benchmark = not experiment.program.predictors()  # whose batch is all that it asks
            one = benchmark or len(experiment.program.predictors()) == 1
            if one and missing.key in self._batches:  # another seed's, and greedy
                return Cost()
            self._batches.add(missing.key)
            calls = missing.calls if one else max(missing.calls, most.calls - (ahead.held - before))
            tokens = missing.tokens * calls // missing.calls
            out = missing.out if benchmark else calls * experiment.recipe.evaluate.max_tokens
            return Cost(ahead.held - before, calls, tokens, out, exact=one)
        return Cost(held=ahead.held - before)


def _most(bound: Bound) -> Cost:
    """A cost of which nothing is known but its bound."""
    return Cost(0, bound.calls, bound.tokens_in, bound.tokens_out, bound.trainings, bound.rows, exact=False)


def _shown(cost: Cost) -> list[str]:
    most = "" if cost.exact else "≤ "
    rows = f"{most}{cost.rows:,}" + (f" in {cost.trainings}" if cost.trainings > 1 else "") if cost.trainings else "–"
    held = f"{cost.held:,}"
    if not cost.calls:
        return [held, "0", "–", "–", rows]
    return [held, f"{most}{cost.calls:,}", f"≈ {cost.tokens_in:,}", f"≤ {cost.tokens_out:,}", rows]

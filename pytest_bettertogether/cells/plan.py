"""What cells would cost, found out without a model: they are run on what the journal holds, as far as that goes.

Where the journal ends, the batch that is missing is known exactly. What comes after it depends on its
completions and is bounded: the recipe says how often the program runs, and a run is taken to call
each predictor once (fewer calls are made where a completion cannot be parsed, or a batch repeats another).
Tokens are estimated: a token is taken to be four characters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from tabulate import tabulate

from ..engines.model import Model
from ..journal.ahead import CHARACTERS, Ahead, Missing
from ..optimize.bettertogether import Select, StepPath, run_seed, step
from ..optimize.outcome import Outcome
from ..optimize.prompts import divide
from ..pipeline.prompt import render, render_inputs, render_outputs
from ..pipeline.state import ProgramState
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

    def __init__(self, select: Select = "last", dev: bool = False) -> None:
        self.select, self.dev = select, dev
        self.rows: list[tuple[str, str, Cost]] = []
        self._steps: dict[tuple[Path, str, int, StepPath], tuple[Outcome | None, Cost]] = {}
        self._batches: set[str] = set()

    def add(self, suite: Suite, model: Model, strategy: Strategy, experiments: Iterable[Experiment]) -> None:
        """Plan a cell; `experiments` are its seeds, with an `Ahead` for a backend."""
        cell, costs = f"{suite.name}[{model.name}-{strategy.id}]", dict[str, Cost]()
        for experiment in experiments:
            outcomes = self._optimise((suite.baselines, model.name, experiment.seed), experiment, strategy, costs)
            if outcomes is not None and any(each.refused for each in outcomes.values()):
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
        if experiment.unfit and state is not None:
            return step(experiment, state, path), Cost()
        bound = _bound(experiment, path)
        if state is None:
            return None, bound
        ahead = experiment.backend
        assert isinstance(ahead, Ahead)
        before = ahead.held
        try:
            outcome = step(experiment, state, path)
        except Missing as missing:
            held = ahead.held - before
            if missing.rows:
                return None, Cost(held=held, trainings=1, rows=missing.rows)
            left = max(missing.calls, bound.calls - held)
            share = left / bound.calls if bound.calls else 0
            tokens = max(missing.tokens, round(bound.tokens_in * share))
            out = left * bound.tokens_out // max(1, bound.calls)
            return None, replace(bound, held=held, calls=left, tokens_in=tokens, tokens_out=out)
        return outcome, Cost(held=ahead.held - before)

    def _best(self, experiment: Experiment, outcomes: dict[StepPath, Outcome] | None, strategy: Strategy) -> Cost:
        """The evaluation of the prefixes on dev, and of the chosen one on test."""
        runs = len(experiment.splits.dev) * (len(strategy.steps) + 1) + len(experiment.splits.test)
        most, ahead = _evaluation(experiment, runs, ("p",)), experiment.backend
        assert isinstance(ahead, Ahead)
        if outcomes is None:
            return most
        before = ahead.held
        try:
            run_seed(experiment, strategy, lambda path, _work: outcomes[path], self.select, self.dev)
        except Missing:
            held = ahead.held - before
            return replace(most, held=held, calls=most.calls - held)
        return Cost(held=ahead.held - before)

    def _test(self, experiment: Experiment, state: ProgramState | None, path: StepPath) -> Cost:
        """The final evaluation; exact where it is one batch that is known."""
        most, ahead = _evaluation(experiment, len(experiment.splits.test), path), experiment.backend
        assert isinstance(ahead, Ahead)
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


def _bound(experiment: Experiment, path: StepPath) -> Cost:
    """A step of which nothing is known but the recipe."""
    recipe, train, predictors = experiment.recipe, experiment.splits.train, len(experiment.program.predictors())
    prompt, demo = _characters(experiment)
    if path[-1] == "p":
        for_traces, for_scores = divide(train, recipe.search, experiment.derive(*path, "divide"))
        tries = len(for_traces) * recipe.search.attempts * predictors
        scored = len(for_scores) * (recipe.search.candidates + 3 * recipe.search.fixed_arms) * predictors
        demos = max(recipe.search.max_bootstrapped, recipe.search.max_labelled)
        characters = tries * prompt + scored * (prompt + demos * demo)
        out = tries * recipe.bootstrap.max_tokens + scored * recipe.evaluate.max_tokens
        return Cost(0, tries + scored, characters // CHARACTERS, out, exact=False)
    tries = len(train) * recipe.lora.attempts * predictors
    demos = max(recipe.search.max_bootstrapped, recipe.search.max_labelled) * (path[-2:-1] == ("p",))
    characters = tries * (prompt + demos * demo)
    return Cost(0, tries, characters // CHARACTERS, tries * recipe.bootstrap.max_tokens, 1, tries, exact=False)


def _evaluation(experiment: Experiment, runs: int, path: StepPath) -> Cost:
    """The evaluation of a program of which only the steps are known: after p it has demos, after w none."""
    calls = runs * len(experiment.program.predictors())
    prompt, demo = _characters(experiment)
    search = experiment.recipe.search
    demos = max(search.max_bootstrapped, search.max_labelled) * (path[-1:] == ("p",))
    tokens = calls * (prompt + demos * demo) // CHARACTERS
    return Cost(0, calls, tokens, calls * experiment.recipe.evaluate.max_tokens, exact=False)


def _characters(experiment: Experiment) -> tuple[int, int]:
    """Mean characters of a prompt without demos, and of a demo, as far as the rows of train hold their fields."""
    prompts, demos = list[int](), list[int]()
    for predictor in experiment.program.predictors().values():
        signature = predictor.signature
        for example in experiment.splits.train[:50]:
            fields = {name: example[name] for name in example if _fits(example[name])}
            prompts.append(sum(len(each.content) for each in render(signature, (), fields)))
            demos.append(len(render_inputs(signature, fields)) + len(render_outputs(signature, fields)))
    if not prompts:  # a benchmark asks in its own form, and may have no train
        return 0, 0
    return ceil(sum(prompts) / len(prompts)), ceil(sum(demos) / len(demos))


def _fits(value: object) -> bool:
    """Whether a prompt can show it."""
    return isinstance(value, str | int | float) or (
        isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    )


def _shown(cost: Cost) -> list[str]:
    most = "" if cost.exact else "≤ "
    rows = f"{most}{cost.rows:,}" + (f" in {cost.trainings}" if cost.trainings > 1 else "") if cost.trainings else "–"
    held = f"{cost.held:,}"
    if not cost.calls:
        return [held, "0", "–", "–", rows]
    return [held, f"{most}{cost.calls:,}", f"≈ {cost.tokens_in:,}", f"≤ {cost.tokens_out:,}", rows]

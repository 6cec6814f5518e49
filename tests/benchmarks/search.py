"""Line (c): random search, and the grid of eight strategies, against DSPy's optimizers on the same model and data."""

import json
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_bettertogether.cells.cells import Cells
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.optimize.division import divide
from pytest_bettertogether.optimize.prompts import PromptStep
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.pipeline.strategy import PAPER
from pytest_bettertogether.pipeline.suite import Suite
from pytest_bettertogether.running.evaluate import Experiment, evaluate

from . import peers
from .measure import Figure, Report, say
from .serving import Server

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "suites"))


def run(report: Report, rounds: int) -> None:
    """Step p on Iris, seed by seed on both sides; then the grid."""
    from test_iris import TASK

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = load(TINY, folder)
        model = replace(TINY, recipe=TINY.recipe.override({"search.attempts": 1}))  # as often as DSPy runs them
        with Server(engine).running() as server:
            found = [_seed(seed, engine, model, TASK, server, folder, seed % 2 == 1) for seed in range(rounds)]
            mine, other = [pair[0] for pair in found], [pair[1] for pair in found]
            lacking = next((each["failed"] for each in other if each["failed"]), "")
            if lacking:
                report.skip("c", "random search", lacking)
            else:
                _figures(report, mine, other)
            failed = _their_grid(server, folder, TASK)
        _grid(report, TASK, folder, failed)


def _seed(seed: int, engine: Any, model: Any, task: Any, server: Server, folder: Path, first: bool) -> tuple[Any, Any]:
    splits, recipe = task.splits(), model.recipe
    mine = Experiment("iris", "tiny", seed, task.program(), splits, task.metric, engine, recipe)
    for_traces, for_scores = divide(splits.train, recipe.search, mine.derive("p", "divide"))

    def we() -> dict[str, Any]:
        engine.prefixes.clear()
        began = time.perf_counter()
        outcome = PromptStep().run(mine, ProgramState(), ("p",))
        seconds = time.perf_counter() - began
        usage = outcome.record.usage
        score = evaluate(mine, outcome.state, splits.test, 0).mean
        return {
            "calls": usage.lm_calls,
            "tokens": usage.prompt_tokens + usage.completion_tokens,
            "seconds": seconds,
            "score": score,
            "candidates": len(outcome.record.valid_scores) + len(outcome.record.decided_early),
        }

    def they() -> dict[str, Any]:
        engine.prefixes.clear()
        return _ask(server, folder, task, recipe, {"traces": for_traces, "valid": for_scores, "test": splits.test}, "p")

    pair = (they(), we())[::-1] if first else (we(), they())
    say(".", end="")
    return pair


def _ask(server: Server, folder: Path, task: Any, recipe: Any, parts: dict[str, Any], strategy: str) -> dict[str, Any]:
    signature = task.program().predictors()["classify"].signature
    data = {
        "inputs": [each.name for each in signature.inputs],
        "instruction": signature.instruction,
        "describe": signature.outputs[0].description,
        "candidates": recipe.search.candidates,
        "max_bootstrapped": recipe.search.max_bootstrapped,
        "max_labelled": recipe.search.max_labelled,
        **{name: [{key: each[key] for key in each} for each in part] for name, part in parts.items()},
    }
    (folder / "data.json").write_text(json.dumps(data))
    calls, tokens = server.calls, server.prompt_tokens + server.completion_tokens
    try:
        found = peers.ask(
            "dspy", "dspy_search", server.url, str(folder / "data.json"), strategy, env={"HOME": str(folder)}
        )
    except peers.UnavailableError as why:
        return {"failed": str(why)}
    # The evaluation on test is the last thing it does, one call an example, and not part of the search.
    own = len(parts["test"])
    spent = server.prompt_tokens + server.completion_tokens - tokens
    return {**found, "calls": server.calls - calls - own, "tokens": spent}


def _figures(report: Report, mine: list[Any], other: list[Any]) -> None:
    def figure(name: str, unit: str, key: str, more: bool = False, **also: Any) -> Figure:
        ours, theirs = (tuple(float(each[key]) for each in side) for side in (mine, other))
        return Figure("c", name, unit, ours, "DSPy 3.4.1", theirs, more=more, **also)

    count = mine[0]["candidates"]
    calls = figure(f"random search on Iris, {count} candidates: LM calls", "calls", "calls")
    share = sum(calls.ours) / sum(calls.theirs)
    report.add(
        replace(
            calls,
            required="≤ 60 % of DSPy's",
            met=share <= 0.6,
            notes=(
                f"{share:.0%} of DSPy's calls over all seeds; none is asked after it is decided (tests/test_race.py)",
            ),
        )
    )
    report.add(figure("the same: tokens in and out (DSPy's with its test evaluation)", "tokens", "tokens"))
    report.add(figure("the same: time (DSPy's through a batching server on this machine)", "s", "seconds"))
    report.add(figure("the same: score of the found program on test", "", "score", more=True))


def _their_grid(server: Server, folder: Path, task: Any) -> str:
    splits, recipe = task.splits(), TINY.recipe
    parts = {"traces": splits.train[:15], "valid": splits.train[15:], "test": ()}
    found = _ask(server, folder, task, recipe, parts, "p -> w -> p")
    return str(found["failed"] or (f"{'; '.join(found['warnings'])}" if found.get("warnings") else ""))


def _grid(report: Report, task: Any, folder: Path, failed: str) -> None:
    suite = Suite("iris", task, folder / "iris.json", PAPER, PAPER, ())
    cells, began = Cells(Journal(folder / "journal")), time.perf_counter()
    results = [cells.run(suite, TINY, each, [0]) for each in PAPER]
    seconds = time.perf_counter() - began
    steps = {step.path for result in results for seed in result.seeds for step in seed.steps}
    counted = [sum(path[-1] == kind for path in steps) for kind in "pw"]
    paid = cells.engines.paid()
    cells.close()
    scores = ", ".join(f"{r.strategy} {'refused' if r.refused else f'{r.score:.0%}'}" for r in results)
    report.add(
        Figure(
            "c",
            "the eight strategies on Iris, one seed: LM calls",
            "calls",
            (float(paid.usage.lm_calls),),
            required="at most 4 p and 3 w steps",
            met=counted[0] <= 4 and counted[1] <= 3,
            notes=(
                f"{counted[0]} p, {counted[1]} w steps; {paid.train_steps} training steps; {seconds:.0f} s; {scores}",
                f"DSPy's BetterTogether, p -> w -> p, on this model: {_short(failed) or 'no error'}",
            ),
        )
    )


def _short(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[\d*m", "", text).split())[:300]

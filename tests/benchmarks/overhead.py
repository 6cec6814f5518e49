"""Lines (d) and (e): what an example costs beside its LM call, and what a plugin costs those who do not use it."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

from pytest_bettertogether import Example, Predict, Program, Splits, exact_match
from pytest_bettertogether.engines.protocol import Completion, Prompt
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.program import Prediction
from pytest_bettertogether.pipeline.recipe import Recipe
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.running.evaluate import Experiment, evaluate

from . import peers
from .measure import Figure, Report, alternate, timed


class Ask(Program):
    """One call."""

    def __init__(self) -> None:
        self.ask = Predict("question -> answer")

    def forward(self, question: str) -> Prediction:
        """The answer."""
        return self.ask(question=question)


class Instant:
    """Answers at once."""

    def generate(self, prompts: Sequence[Prompt], *_args: Any, **_kwargs: Any) -> list[Completion]:
        return [Completion("answer: yes", 9, 3) for _ in prompts]

    def finetune(self, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError

    def describe(self) -> dict[str, str]:
        return {"backend": "instant"}


def examples(report: Report, rounds: int, quick: bool) -> None:
    """2,000 examples, one call each, prompts and parsing and metric and journal included."""
    count = 200 if quick else 2000
    rows = [Example.of({"id": n, "question": f"Is {n} a number?", "answer": "yes"}) for n in range(count)]
    unused = [Example.of({"id": -n, "question": "", "answer": "yes"}) for n in (1, 2)]

    def we() -> float:
        with tempfile.TemporaryDirectory() as name:
            journal = Journal(Path(name))
            backend = Journaled(Instant(), journal)
            splits = Splits((unused[0],), (unused[1],), tuple(rows))
            mine = Experiment("q", "instant", 0, Ask(), splits, exact_match("answer"), backend, Recipe())
            seconds = timed(lambda: evaluate(mine, ProgramState(), rows, 0))
            journal.close()
        return 1000 * seconds / count

    def other(peer: str, side: str) -> float:
        return 1000 * float(str(peers.ask(peer, side, str(count))["seconds"])) / count

    we()
    for name, they in (
        ("DSPy 3.4.1 Evaluate", lambda: other("dspy", "dspy_overhead")),
        ("lm-eval 0.4.13", lambda: 1000 * _lm_eval(count) / count),
        ("inspect_ai 0.3.285", lambda: other("inspect-ai", "inspect_overhead")),
    ):
        try:
            mine, theirs = alternate([we, they], rounds)
        except peers.UnavailableError as why:
            report.skip("d", f"overhead against {name}", str(why))
            continue
        figure = Figure(
            "d",
            f"overhead per example, {count} examples and an instant LM",
            "ms",
            mine,
            name,
            theirs,
            required="≤ 0.2 ms",
        )
        report.add(replace(figure, met=sorted(mine)[len(mine) // 2] <= 0.2))


def _lm_eval(count: int) -> float:
    """Seconds of lm-eval's own loop over as many documents."""
    import datasets
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate as run

    class Dummy(LM):
        def generate_until(self, requests: Sequence[Any], *_args: Any, **_kwargs: Any) -> list[str]:
            return ["yes" for _ in requests]

        def loglikelihood(self, requests: Sequence[Any], *_args: Any, **_kwargs: Any) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Sequence[Any], *_args: Any, **_kwargs: Any) -> Any:
            raise NotImplementedError

    rows = [{"question": f"Is {n} a number?", "answer": "yes"} for n in range(count)]
    task = ConfigurableTask(
        config={
            "task": "overhead",
            "custom_dataset": lambda **_: datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}),
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "question: {{question}}\nanswer:",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n"]},
            "metric_list": [{"metric": "exact_match"}],
        }
    )
    found: dict[str, Any] = {}

    def work() -> None:
        found.update(run(lm=Dummy(), task_dict={"overhead": task}, bootstrap_iters=0))

    seconds = timed(work)
    assert found["results"]["overhead"]["exact_match,none"] == 1.0
    return seconds


TRIVIAL = "def test_nothing():\n    assert True\n"

PLUGINS = (
    ("pytest-bettertogether", "", ("bettertogether",)),
    ("deepeval 4.3.1", "deepeval", ("deepeval",)),
    ("pytest-evals 0.3.4", "pytest-evals", ("evals", "harvest")),
    ("pytest-benchmark 5.3.1", "pytest-benchmark", ("benchmark",)),
)
"""Name, environment (ours is this one), and entry points to block for the time without it."""


def tax(report: Report, rounds: int, quick: bool) -> None:
    """Seconds that each plugin adds to pytest on a single trivial test that does not use it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_nothing.py").write_text(TRIVIAL)
        added: dict[str, tuple[float, ...]] = {}
        computed: dict[str, str] = {}
        for title, environment, plugins in PLUGINS:
            try:
                python = peers.python(environment) if environment else sys.executable
                with_it, without = _Run(python, folder), _Run(python, folder, *plugins)
                with_it(), without()
                times = alternate([with_it, without], rounds if quick else 2 * rounds)
            except (peers.UnavailableError, RuntimeError) as why:
                report.skip("e", f"plugin tax of {title}", str(why))
                continue
            added[title] = tuple(1000 * (a - b) for a, b in zip(*times, strict=True))
            spent = [a - b for a, b in zip(with_it.computing, without.computing, strict=True)]
            computed[title] = f"processor time added: {title} {1000 * median(spent[1:]):.0f} ms"
    own = PLUGINS[0][0]
    ours, notes = added.pop(own), (computed[own],)
    what, met = "added to a pytest run that does not use the plugin", median(ours) <= 50
    report.add(Figure("e", what, "ms", ours, required="≤ 50 ms", met=met, notes=notes))
    for title, theirs in added.items():
        report.add(Figure("e", "the same, of another plugin", "ms", ours, title, theirs, notes=(computed[title],)))


class _Run:
    """pytest on one test, some plugins blocked: seconds on the clock, and in `computing` those of the processor."""

    def __init__(self, python: str, folder: Path, *blocked: str) -> None:
        switches = [part for name in blocked for part in ("-p", f"no:{name}")]
        test = str(folder / "test_nothing.py")
        self.command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *switches, test]
        self.folder, self.computing = folder, list[float]()

    def __call__(self) -> float:
        before = getrusage(RUSAGE_CHILDREN)
        seconds = timed(self._work)
        after = getrusage(RUSAGE_CHILDREN)
        self.computing.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return seconds

    def _work(self) -> None:
        done = subprocess.run(self.command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).strip().splitlines()[-1])

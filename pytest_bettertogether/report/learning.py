"""What each program on the way scored on train, V, dev and test: whether steps help, and whether they only memorise.

Everything is read off what optimisation did anyway; nothing is run for it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..pipeline.steps import KINDS, Kinds, parts_after
from ..pipeline.strategy import Strategy
from ..results.cell_results import CellResult, SeedResult, StepRecord
from .cells import rank


@dataclass(frozen=True)
class Reading:
    """One program, named by the steps that made it; scores are means over seeds, None where unknown.

    `train` was sampled while traces for the next step were made, on `train_n` examples: T before a p, all of train
    before a w. `trained_on` says that a step which trains weights has seen V, so that its score there is not held out.
    """

    program: str
    train: float | None
    train_n: int
    valid: float | None
    valid_n: int
    trained_on: bool
    dev: float | None
    test: float | None

    @property
    def gaps(self) -> tuple[float | None, float | None, float | None]:
        """Test score minus those on train, V and dev; far below 0: it does better on what it has seen."""
        train, valid, dev = (
            None if seen is None or self.test is None else self.test - seen
            for seen in (self.train, self.valid, self.dev)
        )
        return train, valid, dev


def readings(results: Sequence[CellResult], kinds: Kinds = KINDS) -> list[Reading]:
    """The programs of one task and model, the paper's strategies first."""
    names = {"zero"}
    for result in results:
        names |= {Strategy(path).id for path in Strategy.of(result.strategy).prefixes()}
        names.add(result.strategy)
    return [_reading(name, results, kinds) for name in sorted(names, key=rank)]


def _reading(program: str, results: Sequence[CellResult], kinds: Kinds) -> Reading:
    path = "" if program == "zero" else program
    steps = {(seed.seed, step.path): step for result in results for seed in result.seeds for step in seed.steps}
    after = [step for (_, name), step in steps.items() if name[:-1] == path and step.train_score is not None]
    # Before a weight step all of train was run, before a prompt step only T.
    widest = max((step.train_n for step in after), default=0)
    train = [step.train_score for step in after if step.train_n == widest and step.train_score is not None]
    valid = [reading for (_, name), step in steps.items() for reading in _on_valid(path, name, step, kinds)]
    cell = next((result for result in results if result.strategy == program and not result.refused), None)
    tested = cell is not None and all(seed.selected in (program, "") for seed in cell.seeds)
    return Reading(
        program=program,
        train=fmean(train) if train else None,
        train_n=widest,
        valid=fmean(score for score, _ in valid) if valid else None,
        valid_n=max((n for _, n in valid), default=0),
        trained_on=any("training" in kinds[letter].needs for letter in path),
        dev=_mean(results, lambda seed: seed.dev_scores.get(program)),
        test=cell.score if cell and tested else None,
    )


def _on_valid(path: str, name: str, step: StepRecord, kinds: Kinds) -> list[tuple[float, int]]:
    """What a step p says of the program at `path`: its choice, or the arm without demos for what it started from."""
    if name == path and step.chosen in step.valid_scores:
        return [(step.valid_scores[step.chosen], step.valid_n)]
    bare = "demos" not in parts_after(path, kinds)  # then the arm without demos is the program
    if name[:-1] == path and bare and "zero" in step.valid_scores:
        return [(step.valid_scores["zero"], step.valid_n)]
    return []


def _mean(results: Iterable[CellResult], of: Callable[[SeedResult], float | None]) -> float | None:
    found = {seed.seed: value for result in results for seed in result.seeds if (value := of(seed)) is not None}
    return fmean(found.values()) if found else None


def longest(strategies: Iterable[str]) -> list[str]:
    """The strategies that are no beginning of another one: their curves show all the others'."""
    known = [strategy for strategy in set(strategies) if strategy != "zero"]
    return sorted(
        (strategy for strategy in known if not any(o != strategy and o.startswith(strategy) for o in known)), key=rank
    )

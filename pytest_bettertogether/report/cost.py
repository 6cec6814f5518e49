"""What cells take to compute: calls, tokens and steps, each that cells share counted once."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..results.cell_results import CellResult, StepRecord, Usage


@dataclass(frozen=True)
class Cost:
    """What it takes to compute some cells with an empty journal; what a run has really paid is in `CellRecord.paid`."""

    usage: Usage
    """Of steps and evaluations, those of refused steps included."""
    steps: tuple[StepRecord, ...]
    """The steps that were done."""
    refused: tuple[StepRecord, ...]
    """The steps that were tried and refused: what they sampled is in `usage`."""

    @property
    def train_steps(self) -> int:
        """Steps of the optimiser over all weight steps."""
        return sum(step.train_steps for step in self.steps)

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.usage.prompt_tokens + self.usage.completion_tokens


def computed(results: Iterable[CellResult]) -> Cost:
    """Add up some cells; a step is known by task, model, seed and path, and counts once if several cells share it."""
    done: dict[tuple[str, str, int, str], StepRecord] = {}
    refused: dict[tuple[str, str, int, str], StepRecord] = {}
    spent = Usage()
    for result in results:
        for seed in result.seeds:
            spent += seed.usage
            for step in seed.steps:
                # A refusal ends its strategy, so that the last step is the one that was refused.
                kept = refused if seed.refused and step is seed.steps[-1] else done
                kept[result.task, result.model, seed.seed, step.path] = step
    for step in (*done.values(), *refused.values()):
        spent += step.usage
    return Cost(spent, tuple(done.values()), tuple(refused.values()))

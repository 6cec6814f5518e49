"""Do prompts and weights help each other? Main effects and interaction of the two kinds of step, paired by example."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..gate.intervals import contrast_interval
from ..pipeline.inert_text import plain
from ..results.cell_results import CellResult
from .standing import same_examples

Estimate = tuple[float, float, float]
"""Mean, and its 95 % interval; within -2...2, 0.01 being a point."""


@dataclass(frozen=True)
class Factorial:
    """Of zero, p, w and p -> w -> p: what a kind of step adds on average, with and without the other one.

    `interaction` is what both add, beyond the sum of what each adds alone.
    """

    task: str
    model: str
    prompts: Estimate
    weights: Estimate
    interaction: Estimate

    def sentence(self) -> str:
        """For a reader who has never heard of factorial designs."""
        mean, low, high = self.interaction
        both = f"Together they give {abs(100 * mean):.1f} points {'more' if mean > 0 else 'less'} than the sum of what "
        both += f"each gives alone [{100 * low:+.1f}, {100 * high:+.1f}]: "
        if low > 0:
            both += "they reinforce each other."
        elif high < 0:
            both += "what they teach overlaps."
        else:
            both += "these data do not tell whether they help or replace each other."
        return (
            f"{plain(self.task)} on {plain(self.model)}: averaged over doing the other or not, prompt steps add "
            f"{_points(self.prompts)} and weight steps {_points(self.weights)}. {both}"
        )


def factorials(results: Iterable[CellResult]) -> Iterator[Factorial]:
    """One for each task and model that has all four cells, on the same examples and seeds."""
    cells: dict[tuple[str, str], dict[str, CellResult]] = {}
    for each in results:
        cells.setdefault((each.task, each.model), {})[each.strategy] = each
    for (task, model), found in sorted(cells.items()):
        four = [found[name] for name in ("zero", "p", "w", "pwp") if name in found]
        if len(four) == 4 and all(_comparable(four[0], each) for each in four):
            zero, p, w, both = (each.outcomes for each in four)
            clusters = four[0].clusters or None
            yield Factorial(
                task,
                model,
                contrast_interval(_combine((p, 0.5), (zero, -0.5), (both, 0.5), (w, -0.5)), clusters),
                contrast_interval(_combine((w, 0.5), (zero, -0.5), (both, 0.5), (p, -0.5)), clusters),
                contrast_interval(_combine((both, 1), (p, -1), (w, -1), (zero, 1)), clusters),
            )


def _comparable(left: CellResult, right: CellResult) -> bool:
    return [each.seed for each in left.seeds] == [each.seed for each in right.seeds] and same_examples(left, right)


def _combine(*terms: tuple[Sequence[Sequence[float]], float]) -> list[list[float]]:
    """The weighted sum, element by element, of outcomes [seed][example]."""
    seeds, examples = len(terms[0][0]), len(terms[0][0][0])
    return [[sum(f * side[s][i] for side, f in terms) for i in range(examples)] for s in range(seeds)]


def _points(estimate: Estimate) -> str:
    mean, low, high = (100 * each for each in estimate)
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"

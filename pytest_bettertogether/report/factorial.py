"""Do two kinds of step help each other? Their main effects and their interaction, paired by example."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..gate.intervals import contrast_interval
from ..pipeline.inert_text import plain
from ..pipeline.steps import KINDS, Kinds, StepKind
from ..pipeline.strategy import ZERO
from ..results.cell_results import CellResult
from .best_of_column import same_examples

Estimate = tuple[float, float, float]
"""Mean, and its 95 % interval; within -2...2, 0.01 being a point."""


@dataclass(frozen=True)
class Factorial:
    """Of zero, p, w and p -> w -> p, or any other two kinds: what one adds on average, with and without the other one.

    `interaction` is what both add, beyond the sum of what each adds alone.
    """

    task: str
    model: str
    kinds: tuple[StepKind, StepKind]
    effects: tuple[Estimate, Estimate]
    """What each of the two kinds adds."""
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
            f"{plain(self.task)} on {plain(self.model)}: averaged over doing the other or not, "
            f"{self.kinds[0].plural} add {_points(self.effects[0])} and {self.kinds[1].plural} "
            f"{_points(self.effects[1])}. {both}"
        )


def factorials(results: Iterable[CellResult], kinds: Kinds = KINDS) -> Iterator[Factorial]:
    """One for each task, model and two kinds of step that have all four cells, on the same examples and seeds.

    The cell with both kinds is one -> other -> one, whose first kind is the one that is listed first.
    """
    cells: dict[tuple[str, str], dict[str, CellResult]] = {}
    for result in results:
        cells.setdefault((result.task, result.model), {})[result.strategy] = result
    for (task, model), found in sorted(cells.items()):
        for one, other in combinations(kinds.values(), 2):
            names = (ZERO, one.letter, other.letter, one.letter + other.letter + one.letter)
            four = [found[name] for name in names if name in found]
            if len(four) == 4 and all(_comparable(four[0], cell) for cell in four):
                yield _factorial(task, model, (one, other), four)


def _factorial(task: str, model: str, kinds: tuple[StepKind, StepKind], four: Sequence[CellResult]) -> Factorial:
    """Of the cells with neither kind, with each of the two and with both."""
    zero, one, other, both = (cell.outcomes for cell in four)
    clusters = four[0].clusters or None
    first = _combine((one, 0.5), (zero, -0.5), (both, 0.5), (other, -0.5))
    second = _combine((other, 0.5), (zero, -0.5), (both, 0.5), (one, -0.5))
    together = _combine((both, 1), (one, -1), (other, -1), (zero, 1))
    effects = (contrast_interval(first, clusters), contrast_interval(second, clusters))
    return Factorial(task, model, kinds, effects, contrast_interval(together, clusters))


def _comparable(left: CellResult, right: CellResult) -> bool:
    return [seed.seed for seed in left.seeds] == [seed.seed for seed in right.seeds] and same_examples(left, right)


def _combine(*terms: tuple[Sequence[Sequence[float]], float]) -> list[list[float]]:
    """The weighted sum, element by element, of outcomes [seed][example]."""
    seeds, examples = len(terms[0][0]), len(terms[0][0][0])
    return [[sum(f * side[s][i] for side, f in terms) for i in range(examples)] for s in range(seeds)]


def _points(estimate: Estimate) -> str:
    mean, low, high = (100 * share for share in estimate)
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"

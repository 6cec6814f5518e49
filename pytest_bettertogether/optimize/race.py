"""Which candidate scores best on V, found with as few runs as prove it (best-first search on upper bounds).

A candidate's bound is its mean if all that it has not been asked were right. Whoever has the highest bound is asked
next; once that is one with nothing left to ask, nobody can reach it any more. So the winner and its score are those
of scoring everything, ties included, and no candidate is asked anything after it can no longer win.
"""

import math
from collections.abc import Callable, Sequence

Ask = Callable[[int, Sequence[int]], Sequence[float]]
"""Scores, within 0...1, of a candidate on examples, both given by number."""


class Race:
    """Candidates on examples; the earlier candidate wins ties."""

    def __init__(self, candidates: int, examples: int) -> None:
        self.examples = examples
        self.scores: list[dict[int, float]] = [{} for _ in range(candidates)]
        """What each candidate has scored so far, by example."""

    def run(self, ask: Ask, block: int) -> int:
        """Ask blocks of at most `block` examples until there is a winner; returns its number."""
        while True:
            first = min(range(len(self.scores)), key=lambda i: (-self.bound(i), i))
            left = self._left(first)[:block]
            if not left:
                return first
            self.scores[first].update(zip(left, ask(first, left), strict=True))

    def bound(self, candidate: int) -> float:
        """The mean that a candidate could still reach; its score, once it has been asked everything.

        Exact sums, rounded once: a bound is never below the score that it bounds.
        """
        known = self.scores[candidate].values()
        return math.fsum((*known, self.examples - len(known))) / self.examples

    def _left(self, candidate: int) -> list[int]:
        """What it has not been asked, in the order that reveals a loser: first what others like it got wrong.

        Others count by the square of how far they agree with it so far, one doubtful example added; an example
        that nobody was asked counts as one of mean difficulty.
        """
        mine = self.scores[candidate]
        lost, weights = dict[int, float](), dict[int, float]()
        for scores in self.scores:
            if scores is mine:
                continue
            both = [abs(score - mine[example]) for example, score in scores.items() if example in mine]
            weight = ((len(both) - math.fsum(both) + 0.5) / (len(both) + 1)) ** 2
            for example, score in scores.items():
                lost[example] = lost.get(example, 0.0) + weight * (1.0 - score)
                weights[example] = weights.get(example, 0.0) + weight
        known = [1.0 - score for scores in self.scores for score in scores.values()]
        mean = math.fsum(known) / len(known) if known else 0.0
        hardness = {example: lost[example] / weights[example] for example in lost}
        left = [example for example in range(self.examples) if example not in mine]
        return sorted(left, key=lambda example: (-hardness.get(example, mean), example))

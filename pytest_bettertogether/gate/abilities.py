"""`result.harness([...]) >= base_model(within=1)` and `>= bt_baseline`: did something else get worse?

Each lm-eval task is compared by the test that cells are, paired by document. Against a baseline, the harness is a gate
of its own among those that share the session's error budget, and its tasks divide its share. Against the base model,
they divide --bt-alpha: like other comparisons within a run, that stands outside of the session's budget.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..pipeline.errors import BaselineError
from ..results.side_effects import Ability, AbilityGate, BaseModel, Rows
from ..results.statuses import VERDICT_WORDS, Verdict, gravest
from .baselines import RecordedAbility
from .statistics import compare
from .verdict import Baseline, Terms

Note = Callable[[tuple[Ability, ...]], object]


@dataclass(frozen=True)
class Abilities:
    """What `result.harness([...])` measured, one `Ability` per lm-eval task, by name: `abilities["arc_easy"].score`."""

    items: tuple[Ability, ...]
    terms: Terms
    """Those of the session's cells, but with all of its alpha."""
    gated: bool = True
    """False where nothing is gated: every comparison holds then."""
    note: Note = field(default=tuple, repr=False)
    """Is told of each comparison, for the report."""

    def __iter__(self) -> Iterator[Ability]:
        return iter(self.items)

    def __getitem__(self, task: str) -> Ability:
        for each in self.items:
            if each.task == task:
                return each
        raise KeyError(f"{task}; measured: {', '.join(each.task for each in self.items)}")

    def __repr__(self) -> str:
        return ", ".join(f"{each.task} {each.base:.1%} -> {each.score:.1%}" for each in self.items)

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, BaseModel | Baseline):
            return NotImplemented
        if not self._counts(other):
            return True
        judged = self.judge(other)
        self.note(judged)
        return not any(_fails(gate, self.terms) for _, gate in _latest(judged, other))

    def judge(self, other: BaseModel | Baseline) -> tuple[Ability, ...]:
        """Every task compared with the base model or with the baseline.

        Raises BaselineError where the gate needs a baseline of a task and there is none that fits.
        """
        if isinstance(other, BaseModel):
            share = self.terms.alpha / len(self.items)
            return tuple(
                each.judged(_compare("base", each.after, each.before, share, other.margin, self.terms))
                for each in self.items
            )
        recorded, terms = other.recorded.abilities if other.recorded else {}, other.terms
        share = terms.alpha / len(self.items)
        pairs = [(each, _find(recorded, each, other).seeds) for each in self.items]
        return tuple(
            each.judged(_compare("baseline", each.after, seeds, share, terms.margin, terms)) for each, seeds in pairs
        )

    def _counts(self, other: object) -> bool:
        return other.mode == "gated" if isinstance(other, Baseline) else self.gated


def explain(left: Abilities, right: object) -> list[str]:
    """Why a comparison is false: the tasks that lost, then the others."""
    if not isinstance(right, BaseModel | Baseline):
        return [f"{left!r} compares with base_model(within=1) and with bt_baseline"]
    judged = left.judge(right)
    pairs = _latest(judged, right)
    against = "the base model" if isinstance(right, BaseModel) else "the baseline"
    lines = [
        f"harness: {sum(_fails(gate, left.terms) for _, gate in pairs)} of {len(pairs)} tasks fail against {against}"
    ]
    for ability, gate in sorted(pairs, key=lambda pair: pair[1].p_value):
        low, high = gate.interval
        more = f" by more than {100 * gate.margin:g} points" if gate.margin else ""
        lines.append(
            f"{ability.task} {ability.metric}: {gate.before:.1%} -> {ability.score:.1%}, "
            f"{100 * gate.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p = {gate.p_value:.2g} for "
            f"worse{more}, significant up to {gate.alpha:.2g}: {VERDICT_WORDS[gate.verdict]}"
        )
    if isinstance(right, BaseModel):
        lines.append("within one run: it stands outside the session's error budget, and the tasks share --bt-alpha")
    else:
        lines.append(f"accept that with: {right.accept}")
    return lines


def worst(abilities: tuple[Ability, ...]) -> Verdict | None:
    """What the comparisons of a cell come to: the gravest; None if there were none."""
    return gravest(gate.verdict for each in abilities for gate in each.gates)


def _fails(gate: AbilityGate, terms: Terms) -> bool:
    return gate.verdict == "worse" or (gate.verdict == "too_small" and terms.too_small_fails)


def _latest(judged: tuple[Ability, ...], other: object) -> list[tuple[Ability, AbilityGate]]:
    against = "base" if isinstance(other, BaseModel) else "baseline"
    return [(each, gate) for each in judged for gate in each.gates if gate.against == against]


def _compare(
    against: Literal["base", "baseline"], now: Rows, before: Rows, alpha: float, margin: float, terms: Terms
) -> AbilityGate:
    found = compare(now, before, None, margin)
    detectable = found.detectable(alpha)
    worse = found.p_value <= alpha and found.difference < 0
    # The smallest drop counts from the margin that may be lost: NaN, none at all, is too small as well.
    seen = detectable - margin <= terms.detect
    return AbilityGate(
        against=against,
        verdict="worse" if worse else "holds" if seen else "too_small",
        before=found.before,
        difference=found.difference,
        interval=found.interval,
        p_value=found.p_value,
        alpha=alpha,
        margin=margin,
        detectable=None if math.isnan(detectable) else detectable,
        test=found.test,
    )


def _find(recorded: Mapping[str, RecordedAbility], ability: Ability, baseline: Baseline) -> RecordedAbility:
    found = recorded.get(ability.task)
    if found is None:
        raise BaselineError(
            f"no baseline for lm-eval task {ability.task!r} of {baseline.cell} in {baseline.shown}\n"
            f"record one with: {baseline.accept}"
        )
    now = ability.identity
    # A changed prompt is compared, as a cell's is.
    changed = [key for key in now if key != "prompts" and found.identity.get(key) != now[key]]
    if changed:
        raise BaselineError(
            f"the baseline for lm-eval task {ability.task!r} of {baseline.cell} in {baseline.shown} is stale, "
            f"since it was recorded these changed: {', '.join(changed)}\nrecord it again with: {baseline.accept}"
        )
    return found

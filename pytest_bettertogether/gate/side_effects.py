"""`result.harness([...]) >= base_model(within=1)` and `>= bt_baseline`: did something else get worse?

Each lm-eval task is compared by the test that cells are, paired by document. Against a baseline, the harness is a gate
of its own among those that share the session's error budget, and its tasks divide its share. Against the base model,
they divide --bt-alpha: like other comparisons within a run, that stands outside of the session's budget.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..pipeline.errors import BaselineError
from ..pipeline.inert_text import plain
from ..results.side_effects import BaseModel, SideEffect, SideEffectGate
from ..results.statuses import VERDICT_WORDS, Verdict, gravest
from .baselines import RecordedSideEffect
from .judge import Judgement, Terms, holds, judge
from .verdict import Baseline

Note = Callable[[tuple[SideEffect, ...]], object]


@dataclass(frozen=True)
class SideEffects:
    """What `result.harness([...])` measured, one `SideEffect` per lm-eval task, by name: `["arc_easy"].score`."""

    items: tuple[SideEffect, ...]
    terms: Terms
    """Those of the session's cells, but with all of its alpha."""
    gated: bool = True
    """False where nothing is gated: every comparison holds then."""
    note: Note = field(default=tuple, repr=False)
    """Is told of each comparison, for the report."""

    def __iter__(self) -> Iterator[SideEffect]:
        return iter(self.items)

    def __getitem__(self, task: str) -> SideEffect:
        for item in self.items:
            if item.task == task:
                return item
        raise KeyError(f"{task}; measured: {', '.join(item.task for item in self.items)}")

    def __repr__(self) -> str:
        return ", ".join(f"{item.task} {item.base:.1%} -> {item.score:.1%}" for item in self.items)

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, BaseModel | Baseline):
            return NotImplemented
        if isinstance(other, Baseline):
            other.compared(False)
        if not self._counts(other):
            return True
        judged = self.judge(other)
        self.note(judged)
        return all(holds(gate.verdict, self.terms) for _, gate in _latest(judged, other))

    def judge(self, other: BaseModel | Baseline) -> tuple[SideEffect, ...]:
        """Every task compared with the base model or with the baseline.

        Raises BaselineError where the gate needs a baseline of a task and there is none that fits.
        """
        if isinstance(other, BaseModel):
            terms = replace(self.terms, alpha=self.terms.alpha / len(self.items), margin=other.margin)
            return tuple(item.judged(_gate("base", judge(item.after, item.before, terms))) for item in self.items)
        recorded = other.recorded.side_effects if other.recorded else {}
        terms = replace(other.terms, alpha=other.terms.alpha / len(self.items))
        before = [_find(recorded, item, other).seeds for item in self.items]  # all, before the first is judged
        return tuple(
            item.judged(_gate("baseline", judge(item.after, seeds, terms)))
            for item, seeds in zip(self.items, before, strict=True)
        )

    def _counts(self, other: object) -> bool:
        return other.mode == "gated" if isinstance(other, Baseline) else self.gated


def explain(left: SideEffects, right: object) -> list[str]:
    """Why a comparison is false: the tasks that lost, then the others."""
    if not isinstance(right, BaseModel | Baseline):
        return [f"{left!r} compares with base_model(within=1) and with bt_baseline"]
    judged = left.judge(right)
    pairs = _latest(judged, right)
    against = "the base model" if isinstance(right, BaseModel) else "the baseline"
    failing = sum(not holds(gate.verdict, left.terms) for _, gate in pairs)
    lines = [f"harness: {failing} of {len(pairs)} tasks fail against {against}"]
    for effect, gate in sorted(pairs, key=lambda pair: pair[1].p_value):
        low, high = gate.interval
        more = f" by more than {100 * gate.margin:g} points" if gate.margin else ""
        lines.append(
            f"{plain(effect.task, 60)} {plain(effect.metric, 60)}: {gate.before:.1%} -> {effect.score:.1%}, "
            f"{100 * gate.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p = {gate.p_value:.2g} for "
            f"worse{more}, significant up to {gate.alpha:.2g}: {VERDICT_WORDS[gate.verdict]}"
        )
    if isinstance(right, BaseModel):
        lines.append("within one run: it stands outside the session's error budget, and the tasks share --bt-alpha")
    else:
        lines.append(f"accept that with: {right.accept}")
    return lines


def worst(side_effects: tuple[SideEffect, ...]) -> Verdict | None:
    """What the comparisons of a cell come to: the gravest; None if there were none."""
    return gravest(gate.verdict for effect in side_effects for gate in effect.gates)


def _latest(judged: tuple[SideEffect, ...], other: object) -> list[tuple[SideEffect, SideEffectGate]]:
    against = "base" if isinstance(other, BaseModel) else "baseline"
    return [(effect, gate) for effect in judged for gate in effect.gates if gate.against == against]


def _gate(against: Literal["base", "baseline"], found: Judgement) -> SideEffectGate:
    return SideEffectGate(
        against=against,
        verdict=found.verdict,
        before=found.before,
        difference=found.difference,
        interval=found.interval,
        p_value=found.p_value,
        alpha=found.terms.alpha,
        margin=found.terms.margin,
        detectable=found.detectable,
        test=found.test,
    )


def _find(recorded: Mapping[str, RecordedSideEffect], effect: SideEffect, baseline: Baseline) -> RecordedSideEffect:
    found = recorded.get(effect.task)
    if found is None:
        raise BaselineError(
            f"no baseline for lm-eval task {effect.task!r} of {baseline.cell} in {baseline.shown}\n"
            f"record one with: {baseline.accept}"
        )
    now = effect.identity
    # A changed prompt is compared, as a cell's is.
    changed = [key for key in now if key != "prompts" and found.identity.get(key) != now[key]]
    if changed:
        raise BaselineError(
            f"the baseline for lm-eval task {effect.task!r} of {baseline.cell} in {baseline.shown} is stale, "
            f"since it was recorded these changed: {', '.join(changed)}\nrecord it again with: {baseline.accept}"
        )
    return found

"""How a cell ended: from what pytest, the gate and the run say of it to one status; a pure function."""

from dataclasses import dataclass

from .statuses import STATUSES, Mode, PytestOutcome, Status, Verdict, gravest

NEVER_RAN = "the test never ran its cell: call better_together()"
NEVER_COMPARED = (
    "the suite gates this cell, and its test took bt_baseline and never compared with it: write "
    "`assert better_together() >= bt_baseline`, or take the strategy out of gate="
)
"""Such a cell fails, for it has a share of the session's error budget and its author takes it for guarded: a green
"not gated" would be read by nobody until the drop had been shipped."""
NOT_ASSERTED = "the comparison came out {word}, and the test went on all the same: write `assert` before the comparison"


@dataclass(frozen=True)
class Facts:
    """What is known of a cell when its test has ended."""

    outcome: PytestOutcome
    """How the test ended for pytest."""
    expected: bool = False
    """Whether pytest took its failure for an expected one (xfail), so that the outcome is skipped."""
    said: str = ""
    """The first line of what failed or skipped the test."""
    fault: str = ""
    """Why the run broke."""
    stop: str = ""
    """Why the budget stopped it."""
    inability: str = ""
    """Why the model was not asked to do the task."""
    scored: bool = False
    """Whether the cell has a result, refused ones included."""
    refused: str = ""
    """Why the result has no score."""
    mode: Mode | None = None
    """The baseline's; None where the test did not take it."""
    compared: bool = False
    """Whether the test compared anything with the baseline."""
    verdict: Verdict = "holds"
    """The verdict on the cell's own score."""
    side_effects: Verdict | None = None
    """The gravest verdict on what else a tuning changed; None where nothing was compared."""
    too_small_fails: bool = False


@dataclass(frozen=True)
class Ending:
    """A status, why, and whether pytest must be told."""

    status: Status
    reason: str = ""
    objection: str = ""
    """Why the test must count as failed, though pytest did not see it fail; empty where the two agree."""


def ending(facts: Facts) -> Ending:
    """Decide how a cell ended.

    A status whose table entry counts as failed never comes with a test that passed or was skipped: the objection makes
    it fail. An expected failure (xfail) covers what a test asserts, never a run that broke or was stopped.
    """
    status, reason = _status(facts)
    red = STATUSES[status].counted == "failed" or (status == "too_small" and facts.too_small_fails)
    excused = facts.expected and not (facts.fault or facts.stop)
    if not red or facts.outcome == "failed" or excused:
        return Ending(status, reason)
    return Ending(status, reason, reason or NOT_ASSERTED.format(word=STATUSES[status].word))


def _status(facts: Facts) -> tuple[Status, str]:
    if facts.fault:
        return "invalid", facts.fault
    if facts.stop:
        return "stopped", facts.stop
    if facts.inability:
        return "skipped", facts.inability
    verdict = facts.verdict if facts.mode == "gated" else "holds"
    if facts.side_effects:
        verdict = gravest([verdict, facts.side_effects]) or verdict
    reason = facts.refused or facts.said
    if gravest([verdict, "worse"]) == verdict:  # worse, or what is graver
        return "worse", reason
    if verdict == "too_small" and facts.too_small_fails:
        return "too_small", reason
    if facts.outcome == "failed" or facts.expected:
        return "failed", reason
    if facts.refused:
        return "refused", facts.refused
    if facts.outcome == "skipped":
        return "skipped", facts.said
    if facts.mode == "gated" and not facts.compared:
        return "failed", NEVER_COMPARED
    if not facts.scored:
        return "skipped", NEVER_RAN
    if facts.mode != "gated" and facts.side_effects is None:
        return "not_gated", ""
    return ("too_small", "") if verdict == "too_small" else ("passed", "")

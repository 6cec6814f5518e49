"""The one table of how a cell can end; every outlet reads it, and no other module spells a table of statuses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

Status = Literal["invalid", "worse", "failed", "stopped", "refused", "too_small", "passed", "not_gated", "skipped"]
Verdict = Literal["refused", "worse", "too_small", "holds"]
"""What a comparison with a baseline comes to, whatever the mode of the run; the gravest first. refused: the baseline
has a score, and now there is none; worse: the drop is significant; too_small: not worse, but the test could not have
seen the drop that it should."""
Mode = Literal["gated", "not_gated", "recording"]
"""Whether a comparison with a baseline can fail a cell in this run."""
PytestOutcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class StatusFacts:
    """All that the outlets need to show a status, and what else follows from it."""

    letter: str
    """Stands for the cell in pytest's line of progress."""
    word: str
    """What people read; in capitals under `pytest -v`."""
    sign: str
    """Stands in a table beside the score, or in its place; empty where the score says all."""
    ascii: str
    """The sign for a terminal without Unicode."""
    colour: Literal["bad", "dim", ""]
    """The role that the outlet's palette has a colour for."""
    counted: PytestOutcome
    """How pytest counts the cell, if its test ended as the status says."""
    recordable: bool
    """Whether the score, if there is one, may become a baseline."""
    held: bool
    """Whether the cell was compared with a baseline, or a base model, and nothing was found to be worse."""
    annotation: Literal["error", "warning", ""]
    """The level at which GitHub shows the cell beside its test; empty: not at all."""
    explained: bool
    """Whether the reason stands below the tables, since no score and no verdict tells it."""
    meaning: str
    """One sentence for somebody who meets the status for the first time."""


def _bad(letter: str, word: str, sign: str, plain: str, meaning: str, explained: bool = True) -> StatusFacts:
    return StatusFacts(letter, word, sign, plain, "bad", "failed", False, False, "error", explained, meaning)


STATUSES: Mapping[Status, StatusFacts] = MappingProxyType(
    {
        "invalid": _bad("I", "invalid", "!", "!", "The run broke, so that there is no score."),
        "worse": _bad(
            *("W", "worse", "✗", "x"),
            "The score is significantly worse than the one it was compared with, or a score was lost.",
            explained=False,
        ),
        "failed": _bad(
            *("F", "failed", "✗", "x"),
            "Another assertion of the test failed, or no fitting baseline is recorded.",
            explained=False,
        ),
        "stopped": _bad("S", "stopped", "■", "#", "A budget or the user ended the cell before its verdict."),
        "refused": StatusFacts(
            *("r", "refused", "–", "-", ""),
            counted="skipped",
            recordable=True,
            held=False,
            annotation="",
            explained=True,
            meaning="A step had too little to learn from, so that there is no score.",
        ),
        "too_small": StatusFacts(
            *("t", "too small to tell", "?", "?", ""),
            counted="passed",
            recordable=True,
            held=True,
            annotation="warning",
            explained=False,
            meaning="The gate held, but this test split is too small to show a drop that matters.",
        ),
        "passed": StatusFacts(
            *(".", "passed", "", "", ""),
            counted="passed",
            recordable=True,
            held=True,
            annotation="",
            explained=False,
            meaning="The cell held what it was compared with.",
        ),
        "not_gated": StatusFacts(
            *("n", "not gated", "", "", ""),
            counted="passed",
            recordable=True,
            held=False,
            annotation="",
            explained=False,
            meaning="The cell was scored, and nothing compared it with a baseline.",
        ),
        "skipped": StatusFacts(
            *("s", "skipped", "·", ".", "dim"),
            counted="skipped",
            recordable=True,
            held=False,
            annotation="",
            explained=False,
            meaning="The test was skipped, or the model cannot do what the task needs.",
        ),
    }
)
"""By status, the gravest first: where two tests ran the same cell, reports show the graver end."""

NOT_RUN = STATUSES["skipped"]
"""Also shown for a cell that no test ran."""
VERDICT_WORDS: Mapping[Verdict, str] = MappingProxyType(
    {
        "holds": "holds",
        "worse": STATUSES["worse"].word,
        "too_small": STATUSES["too_small"].word,
        "refused": STATUSES["refused"].word,
    }
)
"""A verdict for people: it shares its words with the statuses."""


def gravity(status: Status) -> int:
    """The rank of a status, 0 for the gravest."""
    return list(STATUSES).index(status)


def gravest(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The gravest of some verdicts; None if there are none."""
    return min(verdicts, key=get_args(Verdict).index, default=None)


def status_of(text: str) -> Status:
    """The status that a file names. Raises ValueError for a text that is none."""
    for status in STATUSES:
        if status == text:
            return status
    raise ValueError(f"status {text!r}: expected one of {', '.join(STATUSES)}")


def in_one_spelling(values: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON values of a comparison, with the mode and the verdict as they are spelled now.

    Reports that older versions wrote have "too small" and "not gated" for `too_small` and `not_gated`.

    Raises ValueError for a mode or a verdict that is none.
    """
    changed = dict(values)
    for name, known in (("mode", get_args(Mode)), ("verdict", get_args(Verdict))):
        if name in changed:
            changed[name] = changed[name].replace(" ", "_")
            if changed[name] not in known:
                raise ValueError(f"{name} {values[name]!r}: expected one of {', '.join(known)}")
    return changed

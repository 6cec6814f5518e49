"""How a cell's status shows in pytest: a letter and a word on the terminal, properties in JUnit XML."""

from collections.abc import Iterator
from typing import get_args

import pytest

from ..results.cell_records import CellRecord
from ..results.statuses import STATUSES, PytestOutcome, Status
from .cell_run import CellRun


def teststatus(report: pytest.TestReport, status: Status) -> tuple[str, str, str] | None:
    """(category, letter, word), or None for pytest's own; the category stays pytest's, so that it counts as ever."""
    own = status in get_args(PytestOutcome) or hasattr(report, "wasxfail")
    if own or report.when != "call":  # an error in set-up stays an error
        return None
    facts = STATUSES[status]
    word = facts.word.upper()
    return report.outcome, facts.letter, f"PASSED, {word}" if report.passed else word


def properties(record: CellRecord) -> Iterator[tuple[str, object]]:
    """What JUnit XML says of a cell besides its outcome: cost is what it takes to compute, seconds are this run's."""
    from ..report.cells import computed, interval

    yield "bettertogether.status", record.status
    result = record.result
    if result and not result.refused:
        low, high = interval(result)
        spent, steps = computed([result])
        yield "bettertogether.score", round(result.score, 6)
        yield "bettertogether.interval", f"{low:.6f} {high:.6f}"
        yield "bettertogether.n", result.n
        yield "bettertogether.seeds", len(result.seeds)
        yield "bettertogether.lm_calls", spent.lm_calls
        yield "bettertogether.tokens_in", spent.prompt_tokens
        yield "bettertogether.tokens_out", spent.completion_tokens
        yield "bettertogether.train_steps", sum(step.train_steps for step in steps)
    yield "bettertogether.paid_lm_calls", record.paid.usage.lm_calls
    yield "bettertogether.seconds", round(record.paid.seconds, 3)
    gate = record.gate
    if gate and gate.p_value is not None:
        yield "bettertogether.baseline", round(gate.baseline or 0.0, 6)
        yield "bettertogether.p_value", gate.p_value


def sections(cell_run: CellRun, record: CellRecord) -> Iterator[tuple[str, str]]:
    """What a report shows below the traceback of a gate that failed: all that pytest would cut from its assertion."""
    if (
        record.gate
        and cell_run.baseline
        and cell_run.result
        and record.gate.verdict != "holds"
        and record.gate.mode == "gated"
    ):
        from ..gate.words import details

        yield "better together", "\n".join(details(cell_run.result, cell_run.baseline))

"""How a cell's status shows in pytest: a letter and a word on the terminal, properties in JUnit XML."""

from collections.abc import Iterator
from typing import get_args

import pytest

from ..pipeline.inert_text import block
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
    from ..report.building import view

    cell = view(record)
    yield "bettertogether.status", record.status
    if cell.score and cell.scored and cell.cost:
        yield "bettertogether.score", round(cell.score.mean, 6)
        yield "bettertogether.interval", f"{cell.score.low:.6f} {cell.score.high:.6f}"
        yield "bettertogether.n", cell.scored.n
        yield "bettertogether.seeds", len(cell.scored.seeds)
        yield "bettertogether.lm_calls", cell.cost.usage.lm_calls
        yield "bettertogether.tokens_in", cell.cost.usage.prompt_tokens
        yield "bettertogether.tokens_out", cell.cost.usage.completion_tokens
        yield "bettertogether.train_steps", cell.cost.train_steps
    yield "bettertogether.paid_lm_calls", record.paid.usage.lm_calls
    yield "bettertogether.seconds", round(record.paid.seconds, 3)
    if cell.gate:
        yield "bettertogether.baseline", round(cell.gate.baseline or 0.0, 6)
        yield "bettertogether.p_value", cell.gate.p_value


def sections(cell_run: CellRun, record: CellRecord) -> Iterator[tuple[str, str]]:
    """What a report shows below the traceback of a gate that failed: all that pytest would cut from its assertion."""
    if (
        record.gate
        and cell_run.baseline
        and cell_run.result
        and record.gate.verdict != "holds"
        and record.gate.mode == "gated"
    ):
        from ..gate.failure_texts import details

        yield "better together", block("\n".join(details(cell_run.result, cell_run.baseline)))

"""What an optimisation step hands back."""

from dataclasses import dataclass

from ..pipeline.state import ProgramState
from ..results.cell_results import StepRecord


@dataclass(frozen=True)
class Outcome:
    """The program after a step, and the record of it; `refused` says why a step could not be done."""

    state: ProgramState
    record: StepRecord
    refused: str = ""

"""Side effects: what the tuning of a cell changed elsewhere, measured by lm-eval tasks on the cell's own engine."""

from ..engines.model import Model
from ..harness.measuring import Form
from ..harness.offline import offline_mode
from ..harness.side_effects import Wanted, measure_side_effects
from ..pipeline.errors import DataError
from ..pipeline.suite import Suite
from ..results.cell_results import CellResult
from ..results.side_effects import SideEffect
from .cells import Cells


def side_effects(
    cells: Cells, suite: Suite, model: Model, result: CellResult, wanted: Wanted, form: Form
) -> tuple[SideEffect, ...]:
    """Measure lm-eval tasks on the base model and on the weights that a cell of this session ended with.

    Args:
        cells: The session's cells, which know the weights.
        suite: The suite of the result.
        model: The model of the result.
        result: The cell's result.
        wanted: The lm-eval tasks.
        form: How they are put to the model.

    Raises:
        DataError: The cell was refused and has no weights, or a task cannot be loaded or is named twice.
    """
    refused = [seed for seed in result.seeds if seed.refused]
    if refused:
        raise DataError(f"harness(): {result!r}: there are no weights to measure")
    cells.engines.budget.begin()
    engine = cells.engines.of(model)
    adapters = {seed.seed: cells.tested(suite, result, seed, engine.describe()).adapter for seed in result.seeds}
    cells.progress.cell = f"{suite.name}[{result.id}]"
    folder = suite.baselines.parent.parent
    with offline_mode(cells.data.where.offline):
        return measure_side_effects(wanted, form, folder, engine, adapters, cells.data.limit, cells.progress)

"""Exporting a cell: the program that each seed was tested with, frozen into a folder of its own."""

from collections.abc import Mapping
from pathlib import Path

from ..pipeline.forms import FORMS
from ..pipeline.frozen import freeze
from ..pipeline.suite import Suite
from ..results.cell_results import CellResult
from .cells import Cells
from .model_card import card


def export(cells: Cells, suite: Suite, result: CellResult, folder: Path, about: Mapping[str, str]) -> list[Path]:
    """Freeze the programs that a cell of this session tested, one per seed.

    Args:
        cells: The session's cells, which know the programs.
        suite: The suite of the result.
        result: The cell's result, not refused.
        folder: Programs are written to `folder/<task>/<model>-<strategy>/seed<k>`.
        about: Further lines for the model cards: who wrote them, the commit, the date.

    Returns:
        The programs' folders.

    Raises:
        OSError: They cannot be written.
    """
    folders = []
    engine = result.provenance["engine"]
    form = FORMS[result.provenance["recipe"]["prompt"]]
    for seed in result.seeds:
        kept = {
            "task": result.task,
            "strategy": seed.selected,
            "seed": seed.seed,
            "score": seed.score,
            "n": result.n,
            "model": {name: engine[name] for name in ("model", "revision", "weights") if name in engine},
            "identity": result.provenance["identity"],
            **about,
        }
        home = folder / result.task / result.id / f"seed{seed.seed}"
        state = cells.tested(suite, result, seed, engine)
        freeze(home, suite.task.program(), state, form, kept, card(result, seed, about))
        folders.append(home)
    return folders

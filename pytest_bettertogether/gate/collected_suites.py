"""The collected scope: which baselines the collected suites can gate, and which no longer belong to anything."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipeline.suite import Suite
from .baselines import Recorded

if TYPE_CHECKING:  # numbers are loaded when a verdict is asked for
    from .seed_scatter import Scatter


@dataclass
class Scope:
    """What was collected, before `-k` and its like took some away."""

    models: tuple[str, ...]
    suites: list[Suite] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    """Test files that were collected."""
    able: Callable[[Suite, str], bool] = lambda _suite, _model: True
    """Whether a model can do a suite's task. A cell whose model cannot never runs, and has no share of the budget."""

    @property
    def baselines(self) -> list[Path]:
        """The baseline files of the collected suites."""
        return sorted({suite.baselines for suite in self.suites})

    def gated(self, read: Callable[[Path], Mapping[str, Recorded]]) -> frozenset[tuple[Path, str]]:
        """All cells that share the session's error budget, as (baseline file, cell).

        Besides the gated cells of collected suites, those which the baseline files beside them
        know to be gated: so a cell's share, and its verdict, is the same when its file alone is run. A cell whose
        baseline has lm-eval tasks too counts twice.
        """
        mine = {
            (suite.baselines, f"{model}-{strategy.id}")
            for suite in self.suites
            for model in self.models
            if self.able(suite, model)
            for strategy in suite.gate
        }
        theirs = {
            (path, name)
            for path in self._files() - set(self.baselines)
            for name, recorded in read(path).items()
            if recorded.gated and _of(name, self.models)
        }
        both = frozenset(mine | theirs)
        return both | {
            (path, f"{name} harness")
            for path in {path for path, _ in both}
            for name, recorded in read(path).items()
            if (path, name) in both and recorded.side_effects
        }

    def share(self, alpha: float, read: Callable[[Path], Mapping[str, Recorded]]) -> float:
        """A cell's share of the session's error budget `alpha`."""
        return alpha / max(1, len(self.gated(read)))

    def neighbours(
        self, file: Path, cell: str, read: Callable[[Path], Mapping[str, Recorded]]
    ) -> tuple["Scatter", ...]:
        """How the seeds of the other cells of a cell's model scatter, in the order of files and names.

        Read from baselines alone, of collected suites and of those beside them, and not from what has run: so that a
        verdict is the same whichever cells are run along, and on whichever machine.
        """
        from .seed_scatter import scatter_of

        model = cell.rpartition("-")[0]
        recorded = [
            one
            for path in sorted(self._files())
            for name, one in sorted(read(path).items())
            if name.rpartition("-")[0] == model and (path, name) != (file, cell) and not one.refused
        ]
        scatters = [scatter_of(list(one.seeds.values())) for one in recorded]
        return tuple(scatter for scatter in scatters if scatter is not None)

    def _files(self) -> set[Path]:
        """The baseline files of collected suites, and those beside them."""
        return {*self.baselines, *(path for file in self.baselines for path in file.parent.glob("*.json"))}

    def obsolete(self, read: Callable[[Path], Mapping[str, Recorded]]) -> dict[Path, tuple[str, ...]]:
        """Recorded cells that no suite has, by file; what was not collected is never among them.

        A file without a suite counts only where every test file beside its folder was collected, and one that another
        suite shares (test_forgetting.py the cells of test_iris.py) only where the suite that it is named after was.
        """
        found: dict[Path, tuple[str, ...]] = {}
        for file in self.baselines:
            home = file.parent.parent / f"test_{file.stem}.py"
            if home.exists() and home not in self.files:
                continue
            known = {
                f"{model}-{strategy.id}"
                for suite in self.suites
                if suite.baselines == file
                for model in self.models
                for strategy in (*suite.own, *suite.strategies)
            }
            found[file] = tuple(name for name in read(file) if _of(name, self.models) and name not in known)
        for folder in {file.parent for file in self.baselines}:
            if self._whole(folder.parent):
                for file in sorted(set(folder.glob("*.json")) - set(self.baselines)):
                    found[file] = tuple(read(file))
        return {file: cells for file, cells in found.items() if cells}

    def _whole(self, folder: Path) -> bool:
        there: Iterable[Path] = (*folder.glob("test_*.py"), *folder.glob("*_test.py"))
        return all(path in self.files for path in there)


def _of(cell: str, models: Collection[str]) -> bool:
    return cell.rpartition("-")[0] in models

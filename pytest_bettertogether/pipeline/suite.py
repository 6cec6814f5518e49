"""A suite: a task under its name, the strategies it runs, and the file that holds its baselines."""

from dataclasses import dataclass
from pathlib import Path

from .data import Task
from .strategy import Strategy


@dataclass(frozen=True)
class Suite:
    """What a test's marker says, completed.

    `baselines` also tells apart tasks of one name. `strategies` are those to run now, `own` those that the
    suite names; `gate` lists the strategies whose baselines can fail, whether they run now or not.
    """

    name: str
    task: Task
    baselines: Path
    strategies: tuple[Strategy, ...]
    own: tuple[Strategy, ...]
    gate: tuple[Strategy, ...]


def baseline_file(test_file: Path, task: str) -> Path:
    """Where the baselines of a task live: beside the suite that tests it."""
    return test_file.parent / "baselines" / f"{task}.json"

"""The steps that strategies share: each is done once a session for a task, a model, a seed and a path of steps."""

from collections.abc import Callable
from pathlib import Path

from ..optimize.bettertogether import Remember, StepPath
from ..optimize.outcome import Outcome
from ..pipeline.state import ProgramState
from ..pipeline.suite import Suite


class SharedSteps:
    """The outcome of every optimisation step so far: `pwp` after `pw` runs its last step alone."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[Path, str, int, StepPath], Outcome] = {}

    def remember(self, suite: Suite, model: str, seed: int) -> Remember:
        """How the steps of one seed are run: those that were done are looked up, the others done and kept."""

        def remember(path: StepPath, work: Callable[[], Outcome]) -> Outcome:
            key = (suite.baselines, model, seed, path)
            if key not in self._outcomes:
                self._outcomes[key] = work()
            return self._outcomes[key]

        return remember

    def state(self, suite: Suite, model: str, seed: int, path: StepPath) -> ProgramState:
        """The program after a step that was done. Raises KeyError for one that was not."""
        return self._outcomes[suite.baselines, model, seed, path].state

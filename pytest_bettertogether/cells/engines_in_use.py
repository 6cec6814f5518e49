"""The engine in use: one is loaded at a time, and what the engines before it have computed is remembered."""

from collections.abc import Callable

from ..engines.model import Model
from ..engines.protocol import Watched, Watcher
from ..engines.registry import engine_key, load
from ..journal.budget import Budget
from ..journal.replay import Journaled
from ..journal.replay_only import ReplayOnly
from ..journal.store import Journal
from ..pipeline.errors import BackendError
from ..results.cell_records import Paid


class EnginesInUse:
    """Loads a model's engine when a cell needs it, after letting go of the one before; all behind one journal."""

    def __init__(
        self,
        journal: Journal,
        budget: Budget,
        say: Callable[[str], None],
        offline: bool = False,
        watcher: Watcher = None,
    ) -> None:
        self.journal, self.budget = journal, budget
        self._say, self._offline, self._watcher = say, offline, watcher
        self._gone = Paid()
        self._model: Model | None = None
        self._engine: Journaled | None = None
        self._unusable: dict[Model, str] = {}

    def of(self, model: Model) -> Journaled:
        """The model's engine, loaded unless it is the one in use.

        Raises BackendError where it cannot be loaded; that is tried once a session, and further calls raise the same.
        """
        if model in self._unusable:
            raise BackendError(self._unusable[model])
        if self._engine is None or self._model != model:
            self.let_go()  # before the new weights need the old one's memory
            try:
                engine = load(model, self.journal.adapters, self._offline)
            except BackendError as error:
                self._unusable[model] = str(error)
                raise
            if isinstance(engine, Watched):
                engine.watcher = self._watcher
            journaled = Journaled(engine, self.journal, self._say, self.budget)
            known = _known(model)
            if self.journal.get(known) != journaled.describe():
                self.journal.put(known, journaled.describe())
            self._model, self._engine = model, journaled
        return self._engine

    def ahead(self, model: Model) -> ReplayOnly:
        """What the journal holds of the model, without its engine: plans know it by what it said when last loaded."""
        return ReplayOnly.of(self.journal, self.journal.get(_known(model)))

    def paid(self) -> Paid:
        """What the engine in use, and those before it, have computed in this session."""
        engine = self._engine
        if engine is None:
            return self._gone
        return self._gone + Paid(engine.paid, engine.train_steps, halved=engine.halved)

    def let_go(self) -> None:
        """Close the engine in use, which may hold connections or a GPU, and remember what it has computed."""
        self._gone = self.paid()
        if self._engine is not None:
            close = getattr(self._engine.engine, "close", None)
            self._model = self._engine = None
            if close is not None:
                close()

    def close(self) -> None:
        """Close the engine in use and the journal."""
        self.let_go()
        self.journal.close()


def _known(model: Model) -> str:
    """The journal's key for what the model's engine says of itself."""
    return f"engine {engine_key(model)}"

"""A model as a value: what it is called, where its weights are, and how an engine is to load it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..pipeline.recipe import Recipe


@dataclass(frozen=True)
class Model:
    """A model under the name it has in test ids, tables and baselines."""

    name: str
    path: str
    """A local folder or a hub id; empty where only a server has the weights."""
    revision: str = "main"
    backend: str = ""
    """hf, vllm, server, or `module:Class` of an engine of your own, imported when the first cell needs it; empty:
    whatever the session uses."""
    recipe: Recipe = field(default_factory=Recipe)
    overridden: frozenset[str] = frozenset()
    """The recipe values that this session's user has set, which a task's own must not undo."""
    abilities: frozenset[str] = frozenset({"instruct"})
    """What tasks may need that it can do."""
    server: str = ""
    """Where a server has it: `http://host:port/v1`, and `#name` if the server knows it by another name."""
    engine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the engine is told, as --bt-engine does."""

    def skip_reason(self, task: str, needs: str) -> str:
        """Why the task of that name, which needs that ability, is not run on the model; empty where it is run."""
        if not needs or needs in self.abilities:
            return ""
        return (
            f"{task} needs a model with the ability {needs!r}, which {self.name} lacks "
            "(--bt-force runs it all the same)"
        )

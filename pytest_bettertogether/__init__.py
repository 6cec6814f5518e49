"""pytest-bettertogether: optimise language-model programs, evaluate them, gate CI on the result.

PYTEST_DONT_REWRITE: there are no asserts here, and a suite's helper may import this before pytest does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time each name is looked up at its first use: every pytest run loads this package
    from .engines.model import Model
    from .gate.side_effects import SideEffects
    from .gate.verdict import Baseline
    from .harness.models import harness_lm
    from .harness.task import harness_task
    from .pipeline.data import Example, Splits, Task
    from .pipeline.data_folder import Where
    from .pipeline.frozen import frozen
    from .pipeline.metrics import Metric, exact_match, f1, integer_match, number_match
    from .pipeline.program import ChainOfThought, Field, Predict, Prediction, Program, Retrieve, Signature
    from .pipeline.prompt import Unparsable
    from .pipeline.strategy import Strategy
    from .plugin.better_together import BetterTogether, MeasurableResult
    from .plugin.hookspecs import RegisterModel
    from .results.cell_results import CellResult
    from .results.side_effects import base_model
    from .retrieval import BM25, ColBERT, PassageFile, Passages, Pool
    from .sources import Part, files, hub_dataset

__all__ = [
    "BM25",
    "Baseline",
    "BetterTogether",
    "CellResult",
    "ChainOfThought",
    "ColBERT",
    "Example",
    "Field",
    "MeasurableResult",
    "Metric",
    "Model",
    "Part",
    "PassageFile",
    "Passages",
    "Pool",
    "Predict",
    "Prediction",
    "Program",
    "RegisterModel",
    "Retrieve",
    "SideEffects",
    "Signature",
    "Splits",
    "Strategy",
    "Task",
    "Unparsable",
    "Where",
    "base_model",
    "exact_match",
    "f1",
    "files",
    "frozen",
    "harness_lm",
    "harness_task",
    "hub_dataset",
    "integer_match",
    "number_match",
]

_HOMES = {
    **dict.fromkeys(("Example", "Splits", "Task"), "pipeline.data"),
    **dict.fromkeys(
        ("ChainOfThought", "Field", "Predict", "Prediction", "Program", "Retrieve", "Signature"), "pipeline.program"
    ),
    "Unparsable": "pipeline.prompt",
    **dict.fromkeys(("Metric", "exact_match", "f1", "integer_match", "number_match"), "pipeline.metrics"),
    "frozen": "pipeline.frozen",
    "Strategy": "pipeline.strategy",
    "Where": "pipeline.data_folder",
    **dict.fromkeys(("Part", "files", "hub_dataset"), "sources"),
    **dict.fromkeys(("BM25", "ColBERT", "PassageFile", "Passages", "Pool"), "retrieval"),
    "CellResult": "results.cell_results",
    "base_model": "results.side_effects",
    "harness_lm": "harness.models",
    "harness_task": "harness.task",
    "Model": "engines.model",
    "Baseline": "gate.verdict",
    "SideEffects": "gate.side_effects",
    **dict.fromkeys(("BetterTogether", "MeasurableResult"), "plugin.better_together"),
    "RegisterModel": "plugin.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__

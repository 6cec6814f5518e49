"""The results as one JSON document, schema 1 (`schema-1.json` beside this file says what is in it), and back.

What depends on who computed a cell, or when, is in `run`, `cost.paid_now` and `seconds`; all else
in a cell is equal, byte for byte, between two runs of the same seeds. Nothing is lost: reports that are
made from a document are those that were made from the run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..pipeline.errors import BetterTogetherError
from ..pipeline.inert_text import plain
from ..pipeline.json_values import from_json
from ..pipeline.steps import KINDS, StepKind
from ..pipeline.strategy import Strategy
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult, SeedResult, StepRecord, Usage
from ..results.statuses import in_one_spelling, status_of
from .building import build
from .model import CellView, Report
from .side_effects import side_effect_entries, side_effects_read

SCHEMA = 1


@dataclass(frozen=True)
class _Run:
    """What reports show of a run; a document may say more of it."""

    started: str
    seconds: float
    version: str
    python: str
    platform: str
    commit: str
    arguments: tuple[str, ...]


RUN = tuple(fact.name for fact in fields(_Run))


class DocumentError(BetterTogetherError):
    """A JSON document that is not one of ours, or not of this schema."""


def document(report: Report) -> dict[str, Any]:
    """All cells, and the test examples of their tasks."""
    tasks: dict[str, dict[str, Any]] = {}
    for cell in report.cells:
        if cell.result and cell.result.docs and cell.record.task not in tasks:
            tasks[cell.record.task] = {"docs": list(cell.result.docs)}
    named = {letter for cell in report.cells for letter in Strategy.of(cell.record.strategy).kinds}
    steps = [kind.to_json() for letter, kind in report.kinds.items() if letter in named]
    cells = [_cell(cell) for cell in report.cells]
    return {"schema": SCHEMA, "run": dict(report.run), "steps": steps, "tasks": tasks, "cells": cells}


def read(data: Any, shown: str) -> Report:
    """The report that a document was made from. Raises DocumentError, which names `shown`, for anything else."""
    if not isinstance(data, dict) or "cells" not in data:
        raise DocumentError(f"{shown}: not a report of pytest-bettertogether: make one with --bt-report=json:PATH")
    if data.get("schema") != SCHEMA:
        raise DocumentError(
            f"{shown}: report schema {plain(repr(data.get('schema')), 40)}, this version reads {SCHEMA}: "
            "use the pytest-bettertogether that wrote it"
        )
    try:
        docs = {name: tuple(task["docs"]) for name, task in data["tasks"].items()}
        from_json(_Run, {name: data["run"][name] for name in RUN})
        described = [StepKind.from_json(step) for step in data.get("steps", ())]
        brought = tuple(kind for kind in described if kind not in KINDS.values())
        records = [_record(cell, docs.get(cell["task"], ())) for cell in data["cells"]]
        return build([replace(record, kinds=brought) for record in records], data["run"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DocumentError(
            f"{shown}: not a whole report ({type(error).__name__}: {plain(str(error))}): "
            "make one again with --bt-report=json:PATH"
        ) from error


def _cell(cell: CellView) -> dict[str, Any]:
    record, result, score = cell.record, cell.result, cell.score
    paid = record.paid
    data = {
        "id": record.id,
        "task": record.task,
        "model": record.model,
        "strategy": record.strategy,
        "status": record.status,
        "reason": record.reason,
        "test": {"id": record.nodeid, "file": record.file, "line": record.line},
        "baselines": record.baselines,
        "score": score.mean if score else None,
        "n": cell.scored.n if cell.scored else 0,
        "interval": [score.low, score.high] if score else None,
        "seeds": [_seed(seed) for seed in result.seeds] if result else [],
        "clusters": list(result.clusters) if result else [],
        "gate": asdict(record.gate) if record.gate else None,
        "cost": {
            "computed": {**asdict(cell.cost.usage), "train_steps": cell.cost.train_steps} if cell.cost else None,
            "paid_now": {
                **asdict(paid.usage),
                "train_steps": paid.train_steps,
                "seconds": paid.seconds,
                "halved": paid.halved,
            },
        },
        "provenance": dict(result.provenance) if result else {},
    }
    return {**data, "abilities": list(side_effect_entries(cell))} if cell.side_effects else data


def _record(cell: Mapping[str, Any], docs: tuple[dict[str, str], ...]) -> CellRecord:
    paid = cell["cost"]["paid_now"]
    record = from_json(
        CellRecord,
        {
            "task": cell["task"],
            "model": cell["model"],
            "strategy": cell["strategy"],
            "status": status_of(cell["status"]),
            "reason": cell["reason"],
            "gate": cell["gate"] and in_one_spelling(cell["gate"]),
            "paid": {
                "usage": asdict(_usage(paid)),
                **{name: paid[name] for name in ("train_steps", "seconds", "halved")},
            },
            "baselines": cell["baselines"],
            "nodeid": cell["test"]["id"],
            "file": cell["test"]["file"],
            "line": cell["test"]["line"],
        },
    )
    result = _result(cell, docs) if cell["seeds"] else None
    return replace(record, result=result, side_effects=side_effects_read(cell.get("abilities", ())))


def _result(cell: Mapping[str, Any], docs: tuple[dict[str, str], ...]) -> CellResult:
    """Raises ValueError for scores that no run could have had."""
    facts = {name: cell[name] for name in ("task", "model", "strategy", "provenance", "clusters")}
    result = CellResult.from_json({**facts, "seeds": list(map(_seed_values, cell["seeds"])), "docs": docs})
    tested = [seed for seed in result.seeds if not seed.refused]
    for seed in tested:
        if not seed.examples or len(seed.examples) != len(tested[0].examples):
            raise ValueError(f"seed {seed.seed} has {len(seed.examples)} examples, and another has more")
        if not all(0.0 <= example.score <= 1.0 for example in seed.examples):
            raise ValueError(f"a score of seed {seed.seed} is outside 0...1")
    metrics = {frozenset(example.extra) for seed in tested for example in seed.examples}
    if len(metrics) > 1:
        raise ValueError("further metrics (extra) are there for some examples, and not for others")
    if result.clusters and any(len(seed.examples) != len(result.clusters) for seed in tested):
        raise ValueError(f"there are {len(result.clusters)} clusters, and another number of examples")
    whole = all(len(seed.examples) in (0, len(docs)) for seed in result.seeds)
    return result if whole else replace(result, docs=())


def _seed(seed: SeedResult) -> dict[str, Any]:
    return {
        "seed": seed.seed,
        "score": None if seed.refused else seed.score,
        "refused": seed.refused,
        "selected": seed.selected,
        "dev_scores": seed.dev_scores,
        "seconds": seed.seconds,
        **asdict(seed.usage),
        "prompts": {name: [list(turn) for turn in turns] for name, turns in seed.prompts.items()},
        "examples": [asdict(example) for example in seed.examples],
        "steps": [_step(step) for step in seed.steps],
    }


def _seed_values(seed: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("seed", "examples", "seconds", "refused", "selected", "dev_scores", "prompts")
    rest = {name: seed[name] for name in kept}
    return {**rest, "usage": asdict(_usage(seed)), "steps": list(map(_step_values, seed["steps"]))}


def _step(step: StepRecord) -> dict[str, Any]:
    values = asdict(step)
    return {
        "step": values.pop("path"),
        **values.pop("usage"),
        **values,
        "losses": list(step.losses),
        "curve": list(step.curve),
    }


def _step_values(step: Mapping[str, Any]) -> dict[str, Any]:
    names = ("lm_calls", "prompt_tokens", "completion_tokens", "step")
    rest = {name: value for name, value in step.items() if name not in names}
    return {"path": step["step"], "usage": asdict(_usage(step)), **rest}


def _usage(data: Mapping[str, Any]) -> Usage:
    return Usage(data["lm_calls"], data["prompt_tokens"], data["completion_tokens"])

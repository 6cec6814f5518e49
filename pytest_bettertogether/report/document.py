"""The results as one JSON document, schema 1 (`schema-1.json` beside this file says what is in it), and back.

What depends on who computed a cell, or when, is in `run`, `cost.paid_now` and `seconds`; all else
in a cell is equal, byte for byte, between two runs of the same seeds. Nothing is lost: reports that are
made from a document are those that were made from the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..pipeline.errors import BetterTogetherError
from ..results.cell_records import CellRecord, GateRecord, Paid
from ..results.cell_results import CellResult, SeedResult, StepRecord, Usage
from ..results.json_values import from_json
from ..results.statuses import in_one_spelling, status_of
from .abilities import abilities_read, ability_entries
from .cells import computed, in_order, interval

SCHEMA = 1


class DocumentError(BetterTogetherError):
    """A JSON document that is not one of ours, or not of this schema."""


def document(records: Sequence[CellRecord], run: Mapping[str, Any]) -> dict[str, Any]:
    """All cells, and the test examples of their tasks; `run` says when, where and with which options."""
    records = in_order(records)
    tasks: dict[str, dict[str, Any]] = {}
    for each in records:
        if each.result and each.result.docs and each.result.docs != tasks.get(each.task, {}).get("docs"):
            tasks.setdefault(each.task, {"docs": list(each.result.docs)})
    return {"schema": SCHEMA, "run": dict(run), "tasks": tasks, "cells": [_cell(each) for each in records]}


def read(data: Any, shown: str) -> tuple[list[CellRecord], dict[str, Any]]:
    """The records and the run of a document. Raises DocumentError, which names `shown`, for anything else."""
    if not isinstance(data, dict) or "cells" not in data:
        raise DocumentError(f"{shown}: not a report of pytest-bettertogether: make one with --bt-report=json:PATH")
    if data.get("schema") != SCHEMA:
        raise DocumentError(
            f"{shown}: report schema {data.get('schema')!r}, this version reads {SCHEMA}: "
            "use the pytest-bettertogether that wrote it"
        )
    try:
        docs = {name: tuple(task["docs"]) for name, task in data["tasks"].items()}
        return [_record(cell, docs.get(cell["task"], ())) for cell in data["cells"]], dict(data["run"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"{shown}: not a whole report ({type(error).__name__}: {error})") from error


def _cell(record: CellRecord) -> dict[str, Any]:
    result = record.result
    has_score = result is not None and not result.refused and record.status != "invalid"
    return {
        "id": record.id,
        "task": record.task,
        "model": record.model,
        "strategy": record.strategy,
        "status": record.status,
        "reason": record.reason,
        "test": {"id": record.nodeid, "file": record.file, "line": record.line},
        "baselines": record.baselines,
        "score": result.score if result and has_score else None,
        "n": result.n if result and has_score else 0,
        "interval": list(interval(result)) if result and has_score else None,
        "seeds": [_seed(each) for each in result.seeds] if result else [],
        "clusters": list(result.clusters) if result else [],
        "gate": asdict(record.gate) if record.gate else None,
        "cost": {
            "computed": _computed(result) if result else None,
            "paid_now": {
                **asdict(record.paid.usage),
                "train_steps": record.paid.train_steps,
                "seconds": record.paid.seconds,
                "halved": record.paid.halved,
            },
        },
        "provenance": dict(result.provenance) if result else {},
        **({"abilities": ability_entries(record)} if record.abilities else {}),
    }


def _record(cell: Mapping[str, Any], docs: tuple[dict[str, str], ...]) -> CellRecord:
    paid = cell["cost"]["paid_now"]
    result = None
    if cell["seeds"]:
        seeds = tuple(_seed_result(each) for each in cell["seeds"])
        known = docs if all(len(each.examples) in (0, len(docs)) for each in seeds) else ()
        result = CellResult(
            task=cell["task"],
            model=cell["model"],
            strategy=cell["strategy"],
            seeds=seeds,
            provenance=cell["provenance"],
            clusters=tuple(cell["clusters"]),
            docs=known,
        )
    return CellRecord(
        task=cell["task"],
        model=cell["model"],
        strategy=cell["strategy"],
        status=status_of(cell["status"]),
        reason=cell["reason"],
        result=result,
        gate=cell["gate"] and from_json(GateRecord, in_one_spelling(cell["gate"])),
        paid=Paid(_usage(paid), paid["train_steps"], paid["seconds"], paid["halved"]),
        baselines=cell["baselines"],
        nodeid=cell["test"]["id"],
        file=cell["test"]["file"],
        line=cell["test"]["line"],
        abilities=abilities_read(cell.get("abilities", ())),
    )


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
        "examples": [asdict(each) for each in seed.examples],
        "steps": [_step(each) for each in seed.steps],
    }


def _seed_result(seed: Mapping[str, Any]) -> SeedResult:
    kept = ("seed", "examples", "seconds", "refused", "selected", "dev_scores", "prompts")
    rest = {name: seed[name] for name in kept}
    return from_json(
        SeedResult, {**rest, "usage": asdict(_usage(seed)), "steps": list(map(_step_values, seed["steps"]))}
    )


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


def _computed(result: CellResult) -> dict[str, int]:
    usage, steps = computed([result])
    return {**asdict(usage), "train_steps": sum(step.train_steps for step in steps)}

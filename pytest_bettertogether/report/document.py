"""The results as one JSON document, schema 1 (`schema-1.json` beside this file says what is in it).

What depends on who computed a cell, or when, is in `run`, `cost.paid_now` and `seconds`; all else
in a cell is equal, byte for byte, between two runs of the same seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..results import CellRecord, CellResult, SeedResult
from .abilities import ability_entries
from .cells import computed, in_order, interval

SCHEMA = 1


def document(records: Sequence[CellRecord], run: Mapping[str, Any]) -> dict[str, Any]:
    """All cells; `run` says when, where and with which options."""
    return {"schema": SCHEMA, "run": dict(run), "cells": [_cell(each) for each in in_order(records)]}


def _cell(record: CellRecord) -> dict[str, Any]:
    result = record.result
    has_score = result is not None and not result.refused and record.status != "invalid"
    return {
        "id": f"{record.task}[{record.model}-{record.strategy}]",
        "task": record.task,
        "model": record.model,
        "strategy": record.strategy,
        "status": record.status,
        "reason": record.reason,
        "score": result.score if result and has_score else None,
        "n": result.n if result and has_score else 0,
        "interval": list(interval(result)) if result and has_score else None,
        "seeds": [_seed(each) for each in result.seeds] if result else [],
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


def _seed(seed: SeedResult) -> dict[str, Any]:
    return {
        "seed": seed.seed,
        "score": None if seed.refused else seed.score,
        "refused": seed.refused,
        "selected": seed.selected,
        "dev_scores": seed.dev_scores,
        "seconds": seed.seconds,
        "examples": [asdict(each) for each in seed.examples],
        "steps": [
            {
                "step": each.path,
                "lm_calls": each.usage.lm_calls,
                "prompt_tokens": each.usage.prompt_tokens,
                "completion_tokens": each.usage.completion_tokens,
                "runs": each.runs,
                "traces_passed": each.traces_passed,
                "distinct_outputs": each.distinct_outputs,
                "train_rows": each.train_rows,
                "train_steps": each.train_steps,
                "losses": list(each.losses),
                "curve": list(each.curve),
                "truncated": each.truncated,
                "dropped": each.dropped,
                "adapter": each.adapter,
                "chosen": each.chosen,
                "valid_scores": each.valid_scores,
                "seconds": each.seconds,
            }
            for each in seed.steps
        ],
    }


def _computed(result: CellResult) -> dict[str, int]:
    usage, steps = computed([result])
    return {**asdict(usage), "train_steps": sum(step.train_steps for step in steps)}

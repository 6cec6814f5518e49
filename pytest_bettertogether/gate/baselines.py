"""Baseline files: `baselines/<task>.json` beside the suite, one entry per cell, made to be committed and diffed."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import SubprocessError
from types import MappingProxyType
from typing import Any

from ..pipeline.atomic import write_text
from ..pipeline.errors import BaselineError
from ..pipeline.inert_text import plain
from ..pipeline.json_file import parse_json
from ..results.cell_results import CellResult
from ..results.identity import current_identity
from ..results.side_effects import Rows, SideEffect
from .git import show

SCHEMA = 1

FORM_OF_A_CELL = (
    ("provenance", dict, "an object"),
    ("identity", dict, "an object"),
    ("gated", bool, "true or false"),
    ("refused", str, "a text"),
    ("harness", dict, "an object"),
)
"""The values of a recorded cell that are taken as they stand, and their types."""


@dataclass(frozen=True)
class RecordedSideEffect:
    """An lm-eval task as recorded beside its cell: scores [seed][document], and what they depend on."""

    seeds: Rows
    identity: Mapping[str, str]


@dataclass(frozen=True)
class Recorded:
    """One cell as recorded: scores per seed and test example, or why it was refused.

    `identity` names what a comparison is only fair on: test split, metric and prompt form.
    """

    seeds: Mapping[int, tuple[float, ...]]
    refused: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    gated: bool = False
    """Whether its suite gated it when it was recorded."""
    side_effects: Mapping[str, RecordedSideEffect] = field(default_factory=dict)
    """What `result.harness` measured, by lm-eval task."""

    @property
    def score(self) -> float:
        """Mean over seeds and examples, within 0...1."""
        means = [sum(outcomes) / len(outcomes) for outcomes in self.seeds.values()]
        return sum(means) / len(means)


@dataclass(frozen=True)
class Source:
    """Where baselines are read: the working tree, or, with `ref`, a commit of git."""

    ref: str | None = None

    def read(self, path: Path, task: str = "") -> dict[str, Recorded]:
        """The recorded cells by id (`tiny-pwp`); none if there is no file.

        Raises BaselineError for a file that is not one of ours, not of this schema, or of
        another task than `task`.
        """
        shown = f"{path} at {self.ref}" if self.ref else str(path)
        try:
            text = show(path, self.ref) if self.ref else path.read_bytes()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, SubprocessError) as error:
            raise _unreadable(shown, "", error) from error
        return {} if text is None else parse(text, shown, task)


def read(path: Path, task: str = "") -> dict[str, Recorded]:
    """As `Source.read`, from the working tree."""
    return Source().read(path, task)


def parse(text: str | bytes, shown: str, task: str = "") -> dict[str, Recorded]:
    """The cells in a baseline file's text. Raises BaselineError that names the file, the place in it and the remedy."""
    where = ""
    try:
        data = parse_json(text)
        where = "schema"
        if data["schema"] != SCHEMA:
            raise BaselineError(
                f"{shown}: baseline schema {plain(repr(data['schema']), 40)}, this version reads {SCHEMA}: "
                "use the pytest-bettertogether that wrote it, or record again with --bt-update-baselines"
            )
        where = "task"
        if task and data["task"] != task:
            raise BaselineError(
                f"{shown}: these are the baselines of task {plain(repr(data['task']), 60)}, not of {task!r}: "
                "put the right file back from version control, or delete it and record with --bt-update-baselines"
            )
        where, found = "cells", {}
        for name, cell in data["cells"].items():
            where = f"cells[{name!r}]"
            found[name] = _read_cell(cell)
    # Whatever a file that others wrote may hold: endless nesting and numbers beyond any float among it.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _unreadable(shown, where, error) from error
    return found


def _unreadable(shown: str, where: str, error: Exception) -> BaselineError:
    place = f"{plain(where, 80)}: " if where else ""
    return BaselineError(
        f"{shown}: not a readable baseline file ({place}{type(error).__name__}: {plain(str(error))}): "
        "restore it from version control, or delete it and record again with --bt-update-baselines"
    )


def write(
    path: Path,
    task: str,
    results: Iterable[tuple[CellResult, bool]],
    made: Mapping[str, Any],
    side_effects: Mapping[str, Iterable[SideEffect]] = MappingProxyType({}),
) -> None:
    """Record results, each replacing its cell's entry, and leave the other cells as they are.

    Each result comes with whether its suite gates it; `made` says when and at which commit. `side_effects`, by cell,
    join those that its entry has. Written aside and renamed: a reader never sees half a file.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else {}
    for result, gated in results:
        measured = {effect.task: _write_side_effect(effect) for effect in side_effects.get(result.id, ())}
        known = {**cells.get(result.id, {}).get("harness", {}), **measured}
        cells[result.id] = {**_write_cell(result, made), "gated": gated, **({"harness": known} if known else {})}
    _write(path, task, cells)


def remove(path: Path, names: Collection[str]) -> None:
    """Take cells out of a file; the file goes with its last cell."""
    data = json.loads(path.read_text(encoding="utf-8"))
    cells = {name: cell for name, cell in data["cells"].items() if name not in names}
    if cells:
        _write(path, data["task"], cells)
    else:
        path.unlink()


def _write(path: Path, task: str, cells: Mapping[str, Any]) -> None:
    text = json.dumps({"schema": SCHEMA, "task": task, "cells": cells}, indent=1, sort_keys=True)
    write_text(path, text + "\n")


def _write_cell(result: CellResult, made: Mapping[str, Any]) -> dict[str, Any]:
    identity = result.provenance["identity"]
    provenance = {key: value for key, value in result.provenance.items() if key != "identity"}
    entry = {"identity": identity, "provenance": {**provenance, **made}}
    if result.refused:
        return {**entry, "refused": result.refused}
    return {
        **entry,
        "n": result.n,
        "score": round(result.score, 6),
        "adapters": {str(seed.seed): seed.adapter for seed in result.seeds if seed.adapter},
        "seeds": {str(seed.seed): _pack([example.score for example in seed.examples]) for seed in result.seeds},
    }


def _read_cell(cell: Mapping[str, Any]) -> Recorded:
    for name, kind, expected in FORM_OF_A_CELL:
        if not isinstance(cell.get(name, kind()), kind):
            raise TypeError(f"{name} is {plain(repr(cell[name]), 40)}, expected {expected}")
    provenance, gated = cell["provenance"], cell.get("gated", False)
    identity = current_identity(provenance, cell["identity"])
    if "refused" in cell:
        return Recorded({}, cell["refused"], identity, provenance, gated)
    side_effects = {name: _read_side_effect(entry) for name, entry in cell.get("harness", {}).items()}
    seeds = {int(seed): _unpack(outcomes) for seed, outcomes in cell["seeds"].items()}
    if not seeds or any(len(outcomes) != cell["n"] for outcomes in seeds.values()):
        raise ValueError(f"every seed needs the outcomes of n = {cell['n']} examples")
    return Recorded(seeds, "", identity, provenance, gated, side_effects)


def _write_side_effect(effect: SideEffect) -> dict[str, Any]:
    return {
        "score": round(effect.score, 6),
        "identity": effect.identity,
        "provenance": effect.provenance,
        "seeds": [_pack(list(row)) for row in effect.after],
    }


def _read_side_effect(entry: Mapping[str, Any]) -> RecordedSideEffect:
    rows = tuple(_unpack(row) for row in entry["seeds"])
    if not rows or len({len(row) for row in rows}) != 1:
        raise ValueError("every seed of a harness task needs the outcomes of the same documents")
    return RecordedSideEffect(rows, dict(entry["identity"]))


def _pack(scores: list[float]) -> str | list[float]:
    """0/1 outcomes as one line of digits, in the order of the test split; graded ones as numbers."""
    if all(score in (0.0, 1.0) for score in scores):
        return "".join(str(int(score)) for score in scores)
    return [round(score, 6) for score in scores]


def _unpack(packed: str | list[float]) -> tuple[float, ...]:
    scores = tuple(float(value) for value in packed)
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise ValueError("an outcome is outside 0...1")
    return scores

"""The comparison as one HTML file that opens offline, in light and dark, with or without its script.

It asks for nothing from outside: a content security policy allows the page's own style and script, by their digests,
and nothing else. Text of others is escaped by the template or packed in base64 (`payload`).
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..pipeline.inert_text import block, plain
from ..results.cell_results import CellResult, StepRecord
from ..results.statuses import NOT_RUN, VERDICT_WORDS
from ..results.traces import DemoRecord
from .cells import title
from .charts import costs, curves, losses, scores, step_colours
from .gains import Gain
from .model import CellView, ModelView, Report
from .payload import cell_block, docs_block, pack
from .side_effects import COLUMNS, NOTE, side_effect_rows


@dataclass(frozen=True)
class Square:
    """One cell of the overview."""

    text: str
    mark: str
    meaning: str
    kind: str
    """best, tied, bad, none: how it is coloured; the mark and the meaning say the same without colour."""
    anchor: str = ""


PLACES = {"best": ("*", "best of its column; "), "tied": ("≈", "not significantly below the best; "), "": ("", "")}
"""The mark of a place among the cells of a column, and what it says."""


def html(report: Report) -> str:
    """The page."""
    import jinja2  # with the chart library, an extra

    anchors = {cell.id: f"cell-{number}" for number, cell in enumerate(report.cells)}
    style, script = _asset("page.css") + step_colours(report.kinds), _asset("page.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(plain=plain, block=block, title=title, percent=_percent, points=_points)
    raw = environment.filters["safe"]
    blocks, docs = [], {}
    for cell in report.cells:
        if cell.scored:
            data = pack(cell_block(cell.scored, cell.record.gate))
            blocks.append({"id": anchors[cell.id], "task": cell.record.task, "label": _label(cell), "data": data})
            docs[cell.record.task] = cell.scored.docs
    return environment.from_string(_asset("page.html.jinja")).render(
        style=raw(style),
        script=raw(script),
        policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'",
        report=report,
        models=[_overview(model, report.symmetric, anchors) for model in report.models],
        gains=[_gain(gain) for gain in report.gains],
        tasks=_tasks(report, raw),
        cells=[_details(cell, anchors[cell.id]) for cell in report.cells],
        others_columns=COLUMNS,
        others_note=NOTE,
        blocks=blocks,
        docs=[{"task": task, "data": pack(docs_block(examples))} for task, examples in docs.items()],
    )


def _overview(model: ModelView, symmetric: bool, anchors: Mapping[str, str]) -> dict[str, Any]:
    rows = []
    for strategy in model.strategies:
        squares = [_square(model.cells.get((strategy, task)), symmetric, anchors) for task in model.tasks]
        rows.append((title(strategy), squares))
    return {"name": model.name, "tasks": model.tasks, "rows": rows}


def _square(cell: CellView | None, symmetric: bool, anchors: Mapping[str, str]) -> Square:
    if cell is None:
        return Square(NOT_RUN.sign, "", "not run", "none")
    why = f": {plain(cell.record.reason, 200)}" if cell.record.reason else ""
    meaning, anchor = cell.facts.word + why, anchors[cell.id]
    bad = cell.facts.colour == "bad"
    if cell.score is None:
        signs = "".join(facts.sign for facts in cell.in_place)
        return Square(signs, "", meaning, "bad" if bad else "none", anchor)
    mark, said = PLACES[cell.place]
    kind = "bad" if bad else cell.place
    return Square(cell.score.text(symmetric), mark + cell.facts.sign, said + meaning, kind, anchor)


def _tasks(report: Report, raw: Any) -> list[dict[str, Any]]:
    """Task by task its models, each with its plots and read-outs."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for task in report.tasks:
        tasks.setdefault(task.task, []).append(
            {
                "model": task.model,
                "scores": raw(scores(task, report.kinds)),
                "curves": raw(curves(task)),
                "costs": raw(costs(task, report.kinds)),
                "losses": raw(losses(task)),
                "readings": task.readings,
            }
        )
    return [{"name": name, "models": models} for name, models in tasks.items()]


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "task": gain.task,
        "over": gain.over.only,
        "rule": "best of single and doubled" if gain.doubled else "single only",
        "picked": gain.picked_on,
        "percent": f"{100 * gain.percent:+.1f} %",
        "percent_interval": _range(gain.percent_interval),
        "points": f"{100 * gain.points:+.1f}",
        "points_interval": _range(gain.points_interval),
        "models": [f"{plain(model)}: {title(top)} / {title(other)}" for model, top, other in gain.models],
    }


def _details(cell: CellView, anchor: str) -> dict[str, Any]:
    return {
        "id": anchor,
        "others": list(side_effect_rows(cell)),
        "label": _label(cell),
        "facts": list(_facts(cell)),
        "steps": list(_steps(cell.result)) if cell.result else [],
        "provenance": list(_flat(cell.result.provenance)) if cell.result else [],
        "has_examples": cell.scored is not None,
    }


def _label(cell: CellView) -> str:
    return f"{plain(cell.record.task, 60)} · {plain(cell.record.model, 60)} · {cell.title}"


def _facts(cell: CellView) -> Iterator[tuple[str, str]]:
    record, score, result, gate = cell.record, cell.score, cell.scored, cell.gate
    yield "status", f"{cell.facts.word}. {cell.facts.meaning}"
    if record.reason:
        yield "why", plain(record.reason, 1000)
    if score and result:
        interval = f"95 % interval {_percent(score.low)} to {_percent(score.high)}"
        yield "score", f"{_percent(score.mean)}, {interval}, n = {result.n}"
        yield "seeds", ", ".join(f"{seed.seed}: {_percent(seed.score)}" for seed in result.seeds)
        yield "unparsable", f"{cell.unparsable} of {result.n * len(result.seeds)}"
        for name, value in result.extra.items():
            yield plain(name, 60), _percent(value)
    if gate:
        yield "baseline", f"{_percent(gate.baseline)}; now {_points(gate.difference)} points {_range(gate.interval)}"
        verdict = f"{VERDICT_WORDS[gate.verdict]} ({gate.mode.replace('_', ' ')})"
        yield "gate", f"{verdict}; p = {gate.p_value:.2g} for worse, significant up to {gate.alpha:.2g}"
        yield "examples", f"{len(gate.broken)} broken, {len(gate.fixed)} fixed"
    if cell.cost:
        usage = cell.cost.usage
        tokens = f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
        yield "takes", f"{usage.lm_calls:,} LM calls, {tokens}, {cell.cost.train_steps:,} training steps"
    yield "paid in this run", f"{record.paid.usage.lm_calls:,} LM calls, {record.paid.seconds:,.1f} s"
    if record.nodeid:
        yield "test", plain(record.nodeid)


def _steps(result: CellResult) -> Iterator[dict[str, Any]]:
    for seed in result.seeds:
        for step in seed.steps:
            facts = f"{step.traces_passed} passing traces, {step.usage.lm_calls:,} LM calls"
            if step.train_rows:
                facts += f", {step.train_rows:,} rows, {step.train_steps:,} training steps"
            if step.chosen:
                facts += f", chose {plain(step.chosen, 60)} ({_percent(step.valid_scores.get(step.chosen))} on V)"
            demos = [(name, [_demo(demo) for demo in chosen]) for name, chosen in step.demos.items()]
            candidates = list(_candidates(step))
            yield {"seed": seed.seed, "path": title(step.path), "facts": facts, "demos": demos, "valid": candidates}


def _candidates(step: StepRecord) -> Iterator[str]:
    """What each candidate of a search scored on V, or how it was decided before."""
    for name, score in step.valid_scores.items():
        yield f"{plain(name, 60)} {_percent(score)}"
    for name, early in step.decided_early.items():
        decided = f"decided after {early.scored} of {step.valid_n}"
        yield f"{plain(name, 60)} at most {_percent(early.at_most)} ({decided})"


def _demo(demo: DemoRecord) -> dict[str, Any]:
    fields = [(name, text, "in") for name, text in demo.inputs.items()]
    fields += [(name, text, "out") for name, text in demo.outputs.items()]
    return {"fields": fields, "origin": "from a trace" if demo.bootstrapped else "labelled"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield plain(f"{prefix}{key}", 100), plain(value if isinstance(value, str) else json.dumps(value), 400)


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f} %"


def _points(difference: float | None) -> str:
    return "–" if difference is None else f"{100 * difference:+.1f}"


def _range(found: tuple[float, float] | None) -> str:
    return f"[{100 * found[0]:+.1f}, {100 * found[1]:+.1f}]" if found else ""


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

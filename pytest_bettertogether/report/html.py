"""The comparison as one HTML file that opens offline, in light and dark, with or without its script.

It asks for nothing from outside: a content security policy allows the page's own style and script, by their digests,
and nothing else. Text of others is escaped by the template or packed in base64 (`payload`).
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..pipeline.inert_text import plain, visible
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from ..results.statuses import NOT_RUN, STATUSES, VERDICT_WORDS
from ..results.traces import DemoRecord
from .abilities import COLUMNS, NOTE, ability_rows
from .cells import computed, in_order, interval, rank, scored, title
from .charts import costs, curves, losses, scores
from .factorial import factorials
from .gains import KINDS, Gain, gains, known
from .learning import readings
from .payload import cell_block, docs_block, pack
from .standing import Standing, standing
from .text import cost, legend, remarks, sight


@dataclass(frozen=True)
class Square:
    """One cell of the overview."""

    text: str
    mark: str
    meaning: str
    kind: str
    """best, tied, bad, none: how it is coloured; the mark and the meaning say the same without colour."""
    anchor: str = ""


def html(records: Sequence[CellRecord], run: Mapping[str, Any]) -> str:
    """The page; `run` says when, where and with which options."""
    import jinja2  # with the chart library, an extra

    records = in_order(records)
    anchors = {each.id: f"cell-{i}" for i, each in enumerate(records)}
    ranked, results = standing(records), scored(records)
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(plain=plain, shown=_shown, title=title, percent=_percent, points=_points)
    raw = environment.filters["safe"]
    shown = [each for each in records if each.result and not each.result.refused]
    return environment.from_string(_asset("page.html.jinja")).render(
        style=raw(style),
        script=raw(script),
        policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'",
        run=run,
        models=[_overview(model, records, ranked, anchors) for model in sorted({each.model for each in records})],
        legend=list(legend(records)),
        remarks=list(remarks(records)),
        sight=list(sight(records)),
        cost=list(cost(records)),
        gains=[_gain(each) for each in gains(known(results))],
        factorials=[each.sentence() for each in factorials(results)],
        tasks=[_task(task, records, raw) for task in sorted({each.task for each in shown})],
        cells=[_details(each, anchors[each.id]) for each in records],
        others_columns=COLUMNS,
        others_note=NOTE,
        blocks=[
            {"id": anchors[each.id], "task": each.task, "label": _label(each), "data": pack(cell_block(each))}
            for each in shown
        ],
        docs=[
            {"task": task, "data": pack(docs_block(docs))}
            for task, docs in {each.task: each.result.docs for each in shown if each.result}.items()
        ],
    )


def _overview(
    model: str, records: Sequence[CellRecord], ranked: Standing, anchors: Mapping[str, str]
) -> dict[str, Any]:
    mine = [each for each in records if each.model == model]
    tasks = sorted({each.task for each in mine})
    by_cell = {(each.strategy, each.task): each for each in mine}
    strategies = sorted({each.strategy for each in mine}, key=rank)
    rows = [
        (title(strategy), [_square(by_cell.get((strategy, task)), ranked, anchors) for task in tasks])
        for strategy in strategies
    ]
    return {"name": model, "tasks": tasks, "rows": rows}


def _square(record: CellRecord | None, ranked: Standing, anchors: Mapping[str, str]) -> Square:
    if record is None:
        return Square(NOT_RUN.sign, "", "not run", "none")
    anchor, result, facts = anchors[record.id], record.result, STATUSES[record.status]
    bad, sign = facts.colour == "bad", facts.sign
    why = f": {plain(record.reason, 200)}" if record.reason else ""
    meaning = facts.word + why
    if result is None or record.status == "invalid":
        return Square(sign or NOT_RUN.sign, "", meaning, "bad" if bad else "none", anchor)
    if result.refused:
        return Square(STATUSES["refused"].sign, sign if bad else "", meaning, "bad" if bad else "none", anchor)
    low, high = interval(result)
    text = f"{100 * result.score:.1f} ± {100 * (high - low) / 2:.1f}"
    place = "best" if record.id in ranked.best else "tied" if record.id in ranked.tied else ""
    mark = {"best": "*", "tied": "≈", "": ""}[place] + sign
    said = {"best": "best of its column; ", "tied": "not significantly below the best; ", "": ""}[place]
    return Square(text, mark, said + meaning, "bad" if bad else place, anchor)


def _task(task: str, records: Sequence[CellRecord], raw: Any) -> dict[str, Any]:
    parts = []
    for model in sorted({each.model for each in records if each.task == task}):
        mine = [each for each in records if (each.task, each.model) == (task, model)]
        results = scored(each for each in mine if each.status != "invalid")
        if results:
            drawn = {
                "scores": scores(mine),
                "curves": curves(results),
                "costs": costs(results),
                "losses": losses(results),
            }
            parts.append(
                {"model": model, **{name: raw(svg) for name, svg in drawn.items()}, "readings": readings(results)}
            )
    return {"name": task, "models": parts}


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "task": gain.task,
        "over": KINDS[gain.over],
        "rule": "best of single and doubled" if gain.doubled else "single only",
        "picked": gain.picked_on,
        "percent": f"{100 * gain.percent:+.1f} %",
        "percent_interval": _range(gain.percent_interval),
        "points": f"{100 * gain.points:+.1f}",
        "points_interval": _range(gain.points_interval),
        "models": [f"{plain(model)}: {title(top)} / {title(other)}" for model, top, other in gain.models],
    }


def _details(record: CellRecord, anchor: str) -> dict[str, Any]:
    result = record.result
    return {
        "id": anchor,
        "others": ability_rows(record),
        "label": _label(record),
        "facts": list(_facts(record)),
        "steps": list(_steps(result)) if result else [],
        "provenance": list(_flat(result.provenance)) if result else [],
        "has_examples": bool(result and not result.refused),
    }


def _label(record: CellRecord) -> str:
    return f"{plain(record.task, 60)} · {plain(record.model, 60)} · {title(record.strategy)}"


def _facts(record: CellRecord) -> Iterator[tuple[str, str]]:
    yield "status", f"{STATUSES[record.status].word}. {STATUSES[record.status].meaning}"
    if record.reason:
        yield "why", plain(record.reason, 1000)
    result, gate = record.result, record.gate
    if result and not result.refused:
        low, high = interval(result)
        yield "score", f"{_percent(result.score)}, 95 % interval {_percent(low)} to {_percent(high)}, n = {result.n}"
        yield "seeds", ", ".join(f"{seed.seed}: {_percent(seed.score)}" for seed in result.seeds)
        unparsable = sum(each.unparsable for seed in result.seeds for each in seed.examples)
        yield "unparsable", f"{unparsable} of {result.n * len(result.seeds)}"
        for name, value in result.extra.items():
            yield plain(name, 60), _percent(value)
    if gate and gate.difference is not None and gate.baseline is not None and gate.p_value is not None:
        yield "baseline", f"{_percent(gate.baseline)}; now {_points(gate.difference)} points {_range(gate.interval)}"
        yield (
            "gate",
            f"{VERDICT_WORDS[gate.verdict]} ({gate.mode.replace('_', ' ')}); "
            f"p = {gate.p_value:.2g} for worse, significant up to {gate.alpha:.2g}",
        )
        yield "examples", f"{len(gate.broken)} broken, {len(gate.fixed)} fixed"
    if result:
        spent, steps = computed([result])
        trained = sum(step.train_steps for step in steps)
        yield (
            "takes",
            f"{spent.lm_calls:,} LM calls, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out, "
            f"{trained:,} training steps",
        )
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
                facts += f", chose {step.chosen} ({_percent(step.valid_scores.get(step.chosen))} on V)"
            demos = [(name, [_demo(each) for each in some]) for name, some in step.demos.items()]
            scored = [f"{name} {_percent(score)}" for name, score in step.valid_scores.items()]
            scored += [
                f"{name} at most {_percent(early.at_most)} (decided after {early.scored} of {step.valid_n})"
                for name, early in step.decided_early.items()
            ]
            yield {"seed": seed.seed, "path": title(step.path), "facts": facts, "demos": demos, "valid": scored}


def _demo(demo: DemoRecord) -> dict[str, Any]:
    fields = [(name, text, "in") for name, text in demo.inputs.items()]
    fields += [(name, text, "out") for name, text in demo.outputs.items()]
    return {"fields": fields, "origin": "from a trace" if demo.bootstrapped else "labelled"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value if isinstance(value, str) else json.dumps(value), 400)


def _shown(text: str, length: int = 4000) -> str:
    """Several lines, without what would not be seen."""
    kept = text if len(text) <= length else f"{text[:length]}…"
    return "".join(each if each in "\n\t" else visible(each) for each in kept)


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

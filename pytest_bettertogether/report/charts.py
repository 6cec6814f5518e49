"""Plots as SVG, drawn by Vega-Lite when the report is made.

There is no script and no style in them, so that a page with a strict content security policy shows them, and colours
are the page's own CSS variables, so that they follow its theme. Each mark says what it is to screen readers, and on
hover.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from ..pipeline.strategy import Strategy
from ..results.cell_records import CellRecord
from ..results.cell_results import CellResult
from .cells import computed, interval, title
from .learning import longest, readings

Row = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
"""A name, which nothing fetches."""
KINDS = {"": "as written", "p": "prompts only", "w": "weights only", "pw": "both"}
COLOURS = ["var(--zero)", "var(--prompts)", "var(--weights)", "var(--both)"]
SHAPES = ["circle", "square", "triangle-up", "diamond"]
SERIES = {"V": "var(--prompts)", "V, trained on": "var(--zero)", "dev": "var(--weights)", "test": "var(--both)"}
POINT = {"type": "point", "filled": True, "opacity": 1}
INK = {"labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 12, "titleFontSize": 12}
CONFIG = {
    "background": None,
    "font": "sans-serif",
    "axis": {
        **INK,
        "gridColor": "var(--line)",
        "domainColor": "var(--dim)",
        "tickColor": "var(--dim)",
        "labelLimit": 300,
    },
    "legend": {**INK, "orient": "bottom", "title": None, "symbolStrokeColor": "var(--ink)"},
    "header": {**INK, "title": None},
    "view": {"stroke": "var(--line)"},
}


def scores(records: Sequence[CellRecord]) -> str:
    """Of one task and model: every cell's score with its interval, its seeds, and its baseline."""
    rows, seeds, baselines = list[Row](), list[Row](), list[Row]()
    for each in records:
        if each.result is None or each.result.refused or each.status == "invalid":
            continue
        low, high = interval(each.result)
        name = title(each.strategy)
        base = {"strategy": name, "kind": _kind(each.strategy)}
        said = f"{name}: {_percent(each.result.score)} [{_percent(low)}, {_percent(high)}]"
        rows.append({**base, "score": 100 * each.result.score, "low": 100 * low, "high": 100 * high, "said": said})
        seeds += [
            {**base, "score": 100 * seed.score, "said": f"{name}, seed {seed.seed}: {_percent(seed.score)}"}
            for seed in each.result.seeds
        ]
        if each.gate and each.gate.baseline is not None:
            said = f"{name}, baseline: {_percent(each.gate.baseline)}"
            baselines.append({**base, "score": 100 * each.gate.baseline, "said": said})
    if not rows:
        return ""
    y = {"field": "strategy", "type": "nominal", "sort": None, "title": None}
    shared = {"x": _score_axis(), "y": y, "description": {"field": "said"}}
    bars = {"color": _by_kind(COLOURS), **shared, "x": {**_score_axis(), "field": "low"}, "x2": {"field": "high"}}
    before = {"type": "tick", "thickness": 2.5, "size": 20, "color": "var(--ink)"}
    layers = [
        _layer(rows, {"type": "rule", "strokeWidth": 4, "opacity": 0.45}, bars),
        _layer(baselines, before, shared),
        _layer(seeds, {"type": "tick", "thickness": 1.5, "size": 12}, {**shared, "color": _by_kind(COLOURS)}),
        _layer(rows, {**POINT, "size": 110}, {**shared, "color": _by_kind(COLOURS), "shape": _by_kind(SHAPES)}),
    ]
    return _svg({"width": 560, "height": {"step": 28}, "layer": layers}, "Scores of strategies with their intervals")


def curves(results: Sequence[CellResult]) -> str:
    """Of one task and model: V, dev and test scores of the programs on the way, for each longest strategy."""
    known = {each.program: each for each in readings(results)}
    rows = list[Row]()
    for strategy in longest(each.strategy for each in results):
        for path in ((), *Strategy.of(strategy).prefixes()):
            program = Strategy(path).id
            found = known[program]
            valid = "V, trained on" if found.trained_on else "V"
            for series, score in ((valid, found.valid), ("dev", found.dev), ("test", found.test)):
                if score is not None:
                    said = f"{title(program)}, {series}: {_percent(score)}"
                    place = {"strategy": title(strategy), "program": title(program), "series": series}
                    rows.append({**place, "line": series[:1], "score": 100 * score, "said": said})
    if not rows:
        return ""
    order = {"field": "program", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": -35}}
    colour = {"field": "series", "type": "nominal", "scale": {"domain": [*SERIES], "range": [*SERIES.values()]}}
    shape = {**colour, "scale": {"domain": [*SERIES], "range": ["square", "cross", "triangle-up", "circle"]}}
    by_line = {"domain": ["V", "d", "t"], "range": ["var(--prompts)", "var(--weights)", "var(--both)"]}
    stroke = {"field": "line", "type": "nominal", "scale": by_line, "legend": None}
    line = {"x": order, "y": _score_axis(), "stroke": stroke}
    point = {"x": order, "y": _score_axis(), "color": colour, "shape": shape, "description": {"field": "said"}}
    layers = [
        {"mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.6, "aria": False}, "encoding": line},
        {"mark": {**POINT, "size": 60}, "encoding": point},
    ]
    facet = {"field": "strategy", "type": "nominal", "sort": None}
    spec = {
        "data": {"values": rows},
        "facet": facet,
        "columns": 4,
        "spec": {"width": 150, "height": 150, "layer": layers},
        "resolve": {"scale": {"x": "independent"}},
    }
    return _svg(spec, "Scores step by step")


def costs(results: Sequence[CellResult]) -> str:
    """Of one task and model: what each strategy takes when nothing is shared or replayed, against its score."""
    rows = list[Row]()
    for each in results:
        spent, steps = computed([each])
        trained = sum(step.train_steps for step in steps)
        tokens = spent.prompt_tokens + spent.completion_tokens
        said = f"{title(each.strategy)}: {_percent(each.score)} for {tokens:,} tokens, {trained:,} training steps"
        base = {"strategy": title(each.strategy), "kind": _kind(each.strategy), "said": said}
        rows.append({**base, "tokens": max(1, tokens) / max(1, len(each.seeds)), "score": 100 * each.score})
    if not rows:
        return ""
    x: Row = {"field": "tokens", "type": "quantitative", "title": "LM tokens, in and out, per seed (log)"}
    x["scale"] = {"type": "log", "nice": True}
    x["axis"] = {"format": "~s", "tickCount": 6, "grid": True}
    shared = {"x": x, "y": _score_axis(), "description": {"field": "said"}}
    name = {"type": "text", "fontSize": 12, "color": "var(--ink)", "aria": False}
    rows.sort(key=lambda row: (row["tokens"], row["score"]))
    halves = ((rows[::2], -13), (rows[1::2], 14))
    layers = [
        _layer(rows, {**POINT, "size": 110}, {**shared, "color": _by_kind(COLOURS), "shape": _by_kind(SHAPES)}),
        # Strategies of equal cost would write over each other: every other name stands below its mark.
        *(_layer(part, {**name, "dy": dy}, {**shared, "text": {"field": "strategy"}}) for part, dy in halves),
    ]
    return _svg({"width": 560, "height": 260, "layer": layers}, "Score against cost")


def losses(results: Sequence[CellResult]) -> str:
    """Of one task and model: the training loss of each weight step, epoch by epoch, a line per seed."""
    rows, seen = list[Row](), set[tuple[int, str]]()
    for each in results:
        for seed in each.seeds:
            for step in seed.steps:
                if len(step.losses) < 2 or (seed.seed, step.path) in seen:
                    continue
                seen.add((seed.seed, step.path))
                rows += [
                    {"step": title(step.path), "seed": str(seed.seed), "epoch": epoch, "loss": loss}
                    for epoch, loss in enumerate(step.losses, 1)
                ]
    if not rows:
        return ""
    line = {
        "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1, "format": "d"}},
        "y": {"field": "loss", "type": "quantitative", "title": "mean training loss"},
        "detail": {"field": "seed"},
        "color": {"value": "var(--weights)"},
    }
    inner = {"width": 150, "height": 120, "mark": {"type": "line", "point": {"size": 12}}, "encoding": line}
    facet = {"field": "step", "type": "nominal", "sort": None}
    return _svg({"data": {"values": rows}, "facet": facet, "columns": 4, "spec": inner}, "Training loss by epoch")


def _score_axis() -> Row:
    return {"field": "score", "type": "quantitative", "scale": {"domain": [0, 100]}, "title": "score, %"}


def _by_kind(values: Sequence[str]) -> Row:
    return {"field": "kind", "type": "nominal", "scale": {"domain": [*KINDS.values()], "range": values}}


def _layer(rows: Sequence[Row], mark: Row, encoding: Row) -> Row:
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _kind(strategy: str) -> str:
    return KINDS["".join(sorted(set(Strategy.of(strategy).steps)))]


def _percent(score: float) -> str:
    return f"{100 * score:.1f} %"


_MARK = re.compile(r'<(path|line|rect)( aria-label="([^"]*)"[^>]*)/>')


def _svg(spec: Row, label: str) -> str:
    import vl_convert  # 84 MB with its own JavaScript engine: an extra, loaded when a page is made

    drawn: str = vl_convert.vegalite_to_svg({"$schema": SCHEMA, "config": CONFIG, **spec}, vl_version="5.20")
    named = drawn.replace("<svg ", f'<svg role="graphics-document" aria-label="{escape(label)}" ', 1)
    # A title is what browsers show on hover; the label is escaped already.
    return _MARK.sub(r"<\1\2><title>\3</title></\1>", named)

"""Plots as SVG, drawn by Vega-Lite when the report is made.

There is no script and no style in them, so that a page with a strict content security policy shows them, and colours
are the page's own CSS variables, so that they follow its theme. Each mark says what it is to screen readers, and on
hover.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from ..pipeline.steps import Kinds
from ..pipeline.strategy import Strategy
from .cells import title
from .learning import longest
from .model import TaskView

Row = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
"""A name, which nothing fetches."""
AS_WRITTEN = "as written"
"""The group of the strategy without steps."""
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


def scores(task: TaskView, kinds: Kinds) -> str:
    """Every cell's score with its interval, its seeds, and its baseline."""
    rows, seeds, baselines = list[Row](), list[Row](), list[Row]()
    for cell in task.cells:
        result, score, gate = cell.scored, cell.score, cell.record.gate
        if result is None or score is None:
            continue
        base = {"strategy": cell.title, "kind": _group(result.strategy, kinds)}
        low, high = 100 * score.low, 100 * score.high
        said = f"{cell.title}: {_percent(score.mean)} [{low:.1f} %, {high:.1f} %]"
        rows.append({**base, "score": 100 * score.mean, "low": low, "high": high, "said": said})
        for seed in result.seeds:
            said = f"{cell.title}, seed {seed.seed}: {_percent(seed.score)}"
            seeds.append({**base, "score": 100 * seed.score, "said": said})
        if gate and gate.baseline is not None:
            said = f"{cell.title}, baseline: {_percent(gate.baseline)}"
            baselines.append({**base, "score": 100 * gate.baseline, "said": said})
    if not rows:
        return ""
    y = {"field": "strategy", "type": "nominal", "sort": None, "title": None}
    shared = {"x": _score_axis(), "y": y, "description": {"field": "said"}}
    bars = {"color": _by_group(0, kinds), **shared, "x": {**_score_axis(), "field": "low"}, "x2": {"field": "high"}}
    before = {"type": "tick", "thickness": 2.5, "size": 20, "color": "var(--ink)"}
    layers = [
        _layer(rows, {"type": "rule", "strokeWidth": 4, "opacity": 0.45}, bars),
        _layer(baselines, before, shared),
        _layer(seeds, {"type": "tick", "thickness": 1.5, "size": 12}, {**shared, "color": _by_group(0, kinds)}),
        _layer(rows, {**POINT, "size": 110}, {**shared, "color": _by_group(0, kinds), "shape": _by_group(1, kinds)}),
    ]
    return _svg({"width": 560, "height": {"step": 28}, "layer": layers}, "Scores of strategies with their intervals")


def curves(task: TaskView) -> str:
    """V, dev and test scores of the programs on the way, for each longest strategy."""
    known = {reading.program: reading for reading in task.readings}
    rows = list[Row]()
    for strategy in longest(result.strategy for result in task.results):
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


def costs(task: TaskView, kinds: Kinds) -> str:
    """What each strategy takes when nothing is shared or replayed, against its score."""
    rows = list[Row]()
    for cell in task.cells:
        if cell.scored is None or cell.score is None or cell.cost is None:
            continue
        tokens, trained = cell.cost.tokens, cell.cost.train_steps
        said = f"{cell.title}: {_percent(cell.score.mean)} for {tokens:,} tokens, {trained:,} training steps"
        base = {"strategy": cell.title, "kind": _group(cell.record.strategy, kinds), "said": said}
        rows.append({**base, "tokens": max(1, tokens) / len(cell.scored.seeds), "score": 100 * cell.score.mean})
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
        _layer(rows, {**POINT, "size": 110}, {**shared, "color": _by_group(0, kinds), "shape": _by_group(1, kinds)}),
        # Strategies of equal cost would write over each other: every other name stands below its mark.
        *(_layer(part, {**name, "dy": dy}, {**shared, "text": {"field": "strategy"}}) for part, dy in halves),
    ]
    return _svg({"width": 560, "height": 260, "layer": layers}, "Score against cost")


def losses(task: TaskView) -> str:
    """The training loss of each weight step, epoch by epoch, a line per seed."""
    steps = {}
    for result in task.results:
        for seed in result.seeds:
            steps.update({(seed.seed, step.path): step for step in seed.steps if len(step.losses) > 1})
    rows = list[Row]()
    for (number, path), step in steps.items():
        for epoch, loss in enumerate(step.losses, 1):
            rows.append({"step": title(path), "seed": str(number), "epoch": epoch, "loss": loss})
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


def step_colours(kinds: Kinds) -> str:
    """The style that gives each kind of step its colour, in light and dark."""
    colours = (f"--step-{letter}: light-dark({', '.join(kind.colours)});" for letter, kind in kinds.items())
    return f":root {{ {' '.join(colours)} }}\n"


def _groups(kinds: Kinds) -> dict[str, tuple[str, str]]:
    """Colour and mark of the strategies without steps, with one kind of step alone, and with several kinds."""
    alone = {kind.only: (f"var(--step-{letter})", kind.mark) for letter, kind in kinds.items()}
    return {AS_WRITTEN: ("var(--zero)", "circle"), **alone, _several(kinds): ("var(--both)", "diamond")}


def _several(kinds: Kinds) -> str:
    return "both" if len(kinds) == 2 else "several kinds"


def _by_group(place: int, kinds: Kinds) -> Row:
    """By group its colour (place 0) or its mark (place 1)."""
    groups = _groups(kinds)
    drawn = {"domain": [*groups], "range": [look[place] for look in groups.values()]}
    return {"field": "kind", "type": "nominal", "scale": drawn}


def _layer(rows: Sequence[Row], mark: Row, encoding: Row) -> Row:
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _group(strategy: str, kinds: Kinds) -> str:
    letters = Strategy.of(strategy).kinds
    if len(letters) > 1:
        return _several(kinds)
    return next((kinds[letter].only for letter in letters), AS_WRITTEN)


def _percent(score: float) -> str:
    return f"{100 * score:.1f} %"


_MARK = re.compile(r'<(path|line|rect)( aria-label="([^"]*)"[^>]*)/>')


def _svg(spec: Row, label: str) -> str:
    import vl_convert  # 84 MB with its own JavaScript engine: an extra, loaded when a page is made

    drawn: str = vl_convert.vegalite_to_svg({"$schema": SCHEMA, "config": CONFIG, **spec}, vl_version="5.20")
    named = drawn.replace("<svg ", f'<svg role="graphics-document" aria-label="{escape(label)}" ', 1)
    # A title is what browsers show on hover; the label is escaped already.
    return _MARK.sub(r"<\1\2><title>\3</title></\1>", named)

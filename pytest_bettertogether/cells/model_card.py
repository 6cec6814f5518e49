"""The model card of a frozen program, in Markdown."""

from collections.abc import Mapping
from typing import Any

from ..gate.intervals import mean_interval
from ..pipeline.inert_text import markdown as shown
from ..report.cells import title
from ..results.cell_results import CellResult, SeedResult, StepRecord


def card(result: CellResult, seed: SeedResult, about: Mapping[str, Any]) -> str:
    """Task, score with interval, seeds, provenance, and how to evaluate it again.

    Names and values of others are shown, and never are markup: the card stands where hubs render it.
    """
    low, high = mean_interval([[example.score for example in seed.examples]], result.clusters or None)
    others = ", ".join(f"{other.seed}: {other.score:.1%}" for other in result.seeds)
    engine, recipe, identity = (result.provenance[name] for name in ("engine", "recipe", "identity"))
    task, model = shown(result.task), shown(result.model)
    weights = ", and the LoRA weights in `adapter/`, which belong to the base model below" if seed.adapter else ""
    facts = [
        f"task: {result.task}; test split {identity['test']}, {result.n} examples; metric {identity['metric']}",
        f"score: {seed.score:.1%}, 95 % interval {low:.1%} to {high:.1%}",
        f"all seeds of the cell: {others}",
        f"strategy: {title(result.strategy)}",
        *(f"step {step.path}: {_step(step)}" for step in seed.steps if seed.selected.startswith(step.path)),
        f"adapter: {seed.adapter or 'none'}",
        f"engine: {', '.join(f'{name} {value}' for name, value in engine.items() if value)}",
        f"recipe: {', '.join(f'{name}={value}' for name, value in recipe.items())}",
        *(f"{name}: {value}" for name, value in about.items() if isinstance(value, str) and value),
    ]
    lines = [
        f"# {task}: {title(seed.selected)} on {model}, seed {seed.seed}",
        "",
        f"A program optimised by pytest-bettertogether: the prompts and demos in `program.json`{weights}.",
        "",
        *(f"- {shown(fact, 2000)}" for fact in facts),
        "",
        "The score was measured on this task's test split and says nothing of other data. Evaluate it without",
        "optimising, in a suite:",
        "",
        "```python",
        'TASK = Task(program=frozen(YourProgram, "this folder"), data=..., metric=...)',
        "",
        "",
        '@pytest.mark.bettertogether(TASK, strategies=["zero"])',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _step(step: StepRecord) -> str:
    passed = f"{step.traces_passed} of the traces passed"
    if step.train_rows:
        return f"{passed}, {step.train_rows} rows, {step.train_steps} training steps"
    return f"{passed}, chose {step.chosen or 'nothing'}"

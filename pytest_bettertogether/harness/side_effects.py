"""What fine-tuning costs elsewhere: lm-eval tasks on the base model and on each seed's weights, in one engine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engines.protocol import Backend
from ..pipeline.adapter import Adapter
from ..pipeline.data import Task
from ..pipeline.errors import DataError
from ..results.side_effects import Rows, SideEffect
from ..running.progress import Progress
from .loading import Spec, load, spec_name
from .measuring import Form, identity, lm_eval_version, measure, metric_key
from .task import Marking, OwnForm

Wanted = Sequence[Spec | Task]
"""lm-eval tasks as for `harness_task`, or what that returned."""


def measure_side_effects(
    wanted: Wanted,
    form: Form,
    folder: Path,
    engine: Backend,
    adapters: Mapping[int, Adapter | None],
    limit: int | None,
    progress: Progress,
) -> tuple[SideEffect, ...]:
    """Measure each task on the base model and on every seed's adapter, by seed; `limit` takes the first documents.

    What is greedy, or a matter of likelihoods, is computed once for the same weights. Raises DataError for tasks that
    cannot be loaded or are named twice.
    """
    if isinstance(wanted, str | Path | Mapping | Task):
        raise DataError(f"harness() takes a list of lm-eval tasks, as in harness([{wanted!r}])")
    tasks = [loaded for named in wanted for loaded in _loaded(named, form, folder)]
    names = [str(task.task_name) for task, _ in tasks]
    if not names or len(set(names)) < len(names):
        raise DataError(f"harness() takes different lm-eval tasks, at least one: got {', '.join(names) or 'none'}")
    return tuple(_side_effect(task, how, engine, adapters, limit, progress) for task, how in tasks)


def _loaded(wanted: Spec | Task, form: Form, folder: Path) -> Iterator[tuple[Any, Form]]:
    if not isinstance(wanted, Task):
        yield from ((task, form) for task in load(wanted, folder))
        return
    marking = wanted.metric
    if not isinstance(marking, Marking) or not isinstance(wanted.program(), OwnForm):
        raise DataError(f"harness() takes lm-eval tasks in their own form, not the task {wanted.name!r}")
    if form != Form():
        raise DataError(f"harness(): {spec_name(marking.source.spec)!r} says itself how it is put: leave out {form}")
    yield marking.source.task, marking.source.form


def _side_effect(
    task: Any,
    form: Form,
    engine: Backend,
    adapters: Mapping[int, Adapter | None],
    limit: int | None,
    progress: Progress,
) -> SideEffect:
    from .lm import EngineLM, samples

    documents = None if limit is None else list(range(min(limit, len(task.eval_docs))))
    measured: dict[tuple[str, int], tuple[float, ...]] = {}
    ids: tuple[str, ...] = ()
    progress.begin(f"harness {task.task_name}", (len(documents or task.eval_docs)) * (1 + len(adapters)))

    def row(adapter: Adapter | None, seed: int) -> tuple[float, ...]:
        nonlocal ids
        key = (adapter.digest if adapter else "", seed if samples(task) else 0)
        if key not in measured:
            scores = measure(task, EngineLM(engine, adapter, key[1]), form, documents)
            ids = tuple(score.id for score in scores)
            measured[key] = tuple(score.score for score in scores)
        progress.advance(len(ids))
        return measured[key]

    before: Rows = tuple(row(None, seed) for seed in adapters)
    after: Rows = tuple(row(adapter, seed) for seed, adapter in adapters.items())
    about = engine.describe()
    provenance = {name: about[name] for name in ("model", "revision", "weights", "backend") if about.get(name)}
    provenance["adapters"] = " ".join(adapter.digest if adapter else "none" for adapter in adapters.values())
    facts = identity(task, form)
    if documents is not None:
        facts["documents"] += f", the first {len(documents)}"
    return SideEffect(
        task=str(task.task_name),
        metric=metric_key(task, form),
        ids=ids,
        before=before,
        after=after,
        identity=facts,
        provenance={**provenance, "lm_eval": lm_eval_version()},
    )

"""lm-eval tasks by name, YAML file or dict, without its index of fourteen thousand names, its bars and its caches.

A task file is data. `!function` runs Python: it is followed into the suite's own folder and nowhere else. Templates
render in a sandbox (templates.py), and metrics are lm-eval's own. (A stock task's `!function` runs the code that was
installed with lm-eval.)
"""

import importlib.util
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from ..pipeline.errors import DataError
from ..pipeline.extras import missing
from .offline import is_offline
from .templates import sandboxed

Spec = str | Path | Mapping[str, Any]
"""A stock task's name, a YAML file, or a task's configuration."""

INSTALL = "pip install 'pytest-bettertogether[lm-eval]'"
LOCAL = {"json", "csv", "parquet", "text"}
"""Kinds of files that lm-eval's data sets may be read from; all else comes from the hub or its cache."""


def spec_name(spec: Spec) -> str:
    """What a task is called before it is loaded: for tables and baselines."""
    if isinstance(spec, Mapping):
        return str(spec.get("task", "lm-eval"))
    return Path(spec).stem if _is_file(spec) else str(spec)


def load(spec: Spec, folder: Path) -> list[Any]:
    """The lm-eval tasks that `spec` means (several if it is a group's or tag's name).

    Relative files, of a spec or of its `data_files`, are looked up in `folder` or beside the YAML file. Raises
    DataError for what cannot be found or read, and where lm-eval is not installed.
    """
    needs_lm_eval()
    with quiet(), sandboxed():
        manager = _manager()
        try:
            if isinstance(spec, Mapping):
                return _build(manager, deepcopy(dict(spec)), folder)
            if _is_file(spec):
                path = folder / spec
                return _build(manager, {"task": path.stem, **_read(path, folder.resolve(), ())}, path.parent)
            return _stock(manager, str(spec))
        except DataError:
            raise
        except Exception as error:  # whatever lm-eval, datasets or the task's own functions raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"lm-eval task {spec_name(spec)!r} cannot be loaded: {first}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, logs and warnings of lm-eval and its friends: pytest's terminal is the user's."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def needs_lm_eval() -> None:
    """Raise DataError, with the command that installs it, where lm-eval is missing."""
    if lacking := missing("this needs", "lm-eval", "lm_eval", "yaml", "jinja2", "torch"):
        raise DataError(lacking)
    try:
        import lm_eval  # noqa: F401 - only whether it can be imported, with all that it imports
    except ImportError as error:
        raise DataError(f"this needs lm-eval ({error}): {INSTALL}") from None


def _manager() -> Callable[..., Any]:
    needs_lm_eval()
    from lm_eval.tasks import TaskManager

    return TaskManager  # type: ignore[no-any-return]  # lm-eval ships no types


def _is_file(spec: str | Path) -> bool:
    return isinstance(spec, Path) or spec.endswith((".yaml", ".yml"))


def _build(manager: Callable[..., Any], config: dict[str, Any], folder: Path) -> list[Any]:
    if not isinstance(config.get("task"), str) or "group" in config:
        raise DataError("a group of lm-eval tasks in a file or dict is not read: name its tasks, each by itself")
    _check_inert(config)
    if is_offline():
        _check_local(config)
    data = config.get("dataset_kwargs") or {}
    if config.get("dataset_path") not in LOCAL:
        return _tasks(manager(include_defaults=False).load([config]))
    with tempfile.TemporaryDirectory() as aside:  # datasets copies what it reads into a cache in the home folder
        where = {"data_files": _beside(data.get("data_files"), folder), "cache_dir": aside, "keep_in_memory": True}
        config["dataset_kwargs"] = {**data, **where}
        return _tasks(manager(include_defaults=False).load([config]))


def _check_local(config: Mapping[str, Any]) -> None:
    """Raise DataError for data that a request would be made for; nothing has been asked yet."""
    for text in _texts([config.get(key) for key in ("dataset_path", "dataset_name", "dataset_kwargs")]):
        if "://" in text or text.startswith("//"):
            raise DataError(
                f"--bt-offline: the task's data are at {text[:200]!r}, which is not on this machine: fetch the file "
                "and name it in data_files, relative to the suite"
            )


def _texts(value: Any) -> Iterator[str]:
    """All texts in a structure, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _check_inert(config: Mapping[str, Any]) -> None:
    """Raise DataError for what would run code that is nobody's of this suite."""
    import lm_eval.api.metrics  # noqa: F401 - registers them
    from lm_eval.api.registry import metric_registry

    if config.get("use_prompt"):
        raise DataError(f"use_prompt: {config['use_prompt']} reads a file of somebody's: write doc_to_text instead")
    for metric in config.get("metric_list") or ():
        name = metric.get("metric") if isinstance(metric, Mapping) else metric
        own = callable(name) or callable(config.get("process_results"))
        if not own and (name not in metric_registry or metric.get("hf_evaluate")):
            raise DataError(
                f"metric {name!r} is none of lm-eval's own, and code that a name leads to is not run: name one of "
                "those, or compute it with process_results: !function module.name"
            )


def _beside(files: Any, folder: Path) -> Any:
    """File names, in whatever structure, made absolute where there is such a file in `folder`."""
    if isinstance(files, Mapping):
        return {key: _beside(file, folder) for key, file in files.items()}
    if isinstance(files, list | tuple):
        return [_beside(file, folder) for file in files]
    return str(folder / files) if isinstance(files, str) and (folder / files).is_file() else files


def _stock(manager: Callable[..., Any], name: str) -> list[Any]:
    """A stock task by name. Its file is found by its text; lm-eval's index takes half a minute to make."""
    import lm_eval.tasks

    wanted = re.compile(rf"^task:[ \t]*(['\"]?){re.escape(name)}\1[ \t]*$", re.MULTILINE)
    for file in sorted(Path(lm_eval.tasks.__file__).parent.rglob("*.y*ml")):
        if wanted.search(file.read_text(encoding="utf-8", errors="replace")):
            return _tasks(manager(include_defaults=False).load([str(file)]))
    everything = manager()  # a group or a tag, or a name that a file makes of others
    if name not in everything.all_tasks:
        near = [known for known in everything.all_tasks if name.lower() in known.lower()][:5]
        hint = f"; like it: {', '.join(near)}" if near else ""
        raise DataError(f"lm-eval has no task {name!r}{hint}: give a name of `lm-eval ls tasks`, or a .yaml file")
    return _tasks(everything.load([name]))


def _tasks(loaded: Mapping[str, Any]) -> list[Any]:
    return list(loaded["tasks"].values())


def _read(path: Path, folder: Path, within: tuple[Path, ...]) -> dict[str, Any]:
    """A YAML file's configuration, with what it includes; functions only from `folder`."""
    import yaml

    path = path.resolve()
    if path in within:
        raise DataError(f"{path}: includes itself")

    class Loader(yaml.SafeLoader):
        """One file's: !function is looked up beside it."""

    Loader.add_constructor("!function", partial(_function, path.parent, folder))
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"lm-eval task {path}: cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise DataError(f"lm-eval task {path}: expected keys and values, as in `task: name`")
    included = config.pop("include", [])
    merged: dict[str, Any] = {}
    for file in included if isinstance(included, list) else [included]:
        merged.update(_read(path.parent / file, folder, (*within, path)))
    return {**merged, **config}


def _function(beside: Path, folder: Path, loader: Any, node: Any) -> Any:
    """The Python object that `!function module.name` means. Raises DataError for a module outside of `folder`."""
    written = str(loader.construct_scalar(node))
    module, _, name = written.rpartition(".")
    file = (beside / f"{module.replace('.', '/')}.py").resolve()
    if not module or not file.is_file() or not file.is_relative_to(folder):
        raise DataError(
            f"lm-eval task in {beside}: !function {written} runs code, which is only done with Python files in the "
            f"suite's own folder, {folder}: there is no {file.name} in it that this could mean"
        )
    found = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert found is not None
    assert found.loader is not None
    code = importlib.util.module_from_spec(found)
    found.loader.exec_module(code)
    try:
        return getattr(code, name)
    except AttributeError:
        raise DataError(f"lm-eval task in {beside}: !function {written}: {file} has no {name}") from None

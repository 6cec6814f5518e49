"""What the user asked of this session, read from the options and checked."""

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from ..command.arguments import short
from ..engines.kinds import is_url, read_argument
from ..engines.model import Model
from ..engines.registry import BUILT_IN, check_offline, choose, find, of_server
from ..optimize.step import Further, kinds_with, own_values
from ..pipeline.atomic import replaced_mode
from ..pipeline.data_folder import Where
from ..pipeline.extras import missing_for_report
from ..pipeline.steps import Kinds
from ..pipeline.strategy import Strategy
from .options import OPTIONS, Option
from .outlets import BUILT_IN as BUILT_IN_REPORTS
from .outlets import Outlet, read_outlets
from .placement import check
from .steps import read_steps

DATA_DIR = "BT_DATA_DIR"
"""Names the data folder in the environment."""

LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes that file systems allow for one name, and for a path."""

CI = ("CI", "BUILD_NUMBER")
"""Set in the environment by CI services, as pytest itself asks."""


@dataclass(frozen=True)
class Settings:
    """What the user asked of this session."""

    models: tuple[Model, ...]
    steps: Further
    """Those that strategies may name beside the built-in ones."""
    strategies: tuple[Strategy, ...]
    """Empty: each suite's own."""
    seeds: tuple[int, ...]
    limit: int | None
    gate: bool
    alpha: float
    """Of the whole session."""
    margin: float
    """The drop that has to be exceeded, within 0...1."""
    detect: float
    """The drop that a gate should find, within 0...1."""
    too_small_fails: bool
    update_baselines: Literal["all", "new"] | None
    prune_baselines: bool
    baseline_ref: str | None
    select: Literal["last", "best"]
    dev: bool
    journal: Path
    fresh: bool
    replay_tests: bool
    export: Path | None
    plan: bool
    budget: tuple[int | None, int | None, float | None]
    """LM calls, tokens and minutes at most."""
    offline: bool
    where: Where
    """Where data are."""
    force: bool
    """Run tasks on models that cannot do what they need."""
    reports: tuple[tuple[str, Path], ...]
    """(kind, file) of each report to write."""
    outlets: Mapping[str, Outlet]
    """What writes the kinds of report that are not built in."""


def read_settings(config: pytest.Config) -> Settings:
    """The options as values. Raises pytest.UsageError, in one line, for those that cannot be served."""
    value = {option.name: _value(config, option) for option in OPTIONS}
    update = config.getoption("bt_update_baselines")
    _check_writing(config, update, value)
    offline = _offline(config)
    steps = read_steps(config)
    models = _models(config, value, offline, own_values(steps))
    outlets = read_outlets(config)
    check(config, sum(model.backend != "server" for model in models))
    return Settings(
        models=models,
        steps=steps,
        strategies=_strategies(config, value["strategy"] or (), kinds_with(steps)),
        seeds=tuple(value["seeds"]),
        limit=value["limit"],
        gate=value["gate"] == "on" and not value["limit"] and value["select"] == "last",
        alpha=value["alpha"],
        margin=value["min-effect"] / 100,
        detect=value["detect"] / 100,
        too_small_fails=value["too-small"] == "fail",
        update_baselines=update,
        prune_baselines=config.getoption("bt_prune_baselines"),
        baseline_ref=value["baseline-ref"],
        select=value["select"],
        dev=config.getoption("--bt-dev-scores"),
        journal=_journal(config, value["journal"]),
        fresh=config.getoption("--bt-fresh"),
        replay_tests=config.getoption("--bt-replay-tests"),
        export=_export(config, value["export"]),
        plan=_plan(config),
        budget=(value["max-calls"], value["max-tokens"], value["max-minutes"]),
        offline=offline,
        where=_where(config, value["data-dir"], value["retrieval"]),
        force=config.getoption("--bt-force"),
        reports=tuple(_destination(config, text, outlets) for text in dict.fromkeys(value["report"] or ())),
        outlets=outlets,
    )


def _check_writing(config: pytest.Config, update: str | None, value: Mapping[str, Any]) -> None:
    """Raise UsageError where baseline files would be written that must not be."""
    prune = config.getoption("bt_prune_baselines")
    if not update and not prune:
        return
    option = "--bt-update-baselines" if update else "--bt-prune-baselines"
    if update and value["limit"]:
        raise pytest.UsageError("--bt-update-baselines records whole splits: leave out --bt-limit")
    if update and value["select"] == "best":
        raise pytest.UsageError("--bt-update-baselines records what strategies end with: leave out --bt-select=best")
    if value["baseline-ref"]:
        raise pytest.UsageError(f"{option} writes the files in the working tree: leave out --bt-baseline-ref")
    if any(os.environ.get(name) for name in CI) and not config.getoption("bt_allow_ci_update"):
        raise pytest.UsageError(
            f"{option} is refused in CI ({' or '.join(CI)} is set): a run that records its own bar gates nothing. "
            "Record on your machine and commit the file, or add --bt-allow-ci-update"
        )


def _plan(config: pytest.Config) -> bool:
    plan = bool(config.getoption("--bt-plan"))
    if plan and getattr(config.option, "dist", "no") != "no":
        raise pytest.UsageError("--bt-plan runs nothing that workers could share: add -n0")
    return plan


def _value(config: pytest.Config, option: Option) -> Any:
    """An option's value: the command line wins over the ini file, the ini file over the default."""
    given = config.getoption(option.ini)
    if given is not None:
        return given
    written = config.getini(option.ini)
    if not written:
        return option.default
    try:
        return [option.parse(text) for text in written] if option.many else option.parse(written)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"{_origin(config, option.name)}: {error}") from None


def _offline(config: pytest.Config) -> bool:
    try:
        return bool(config.getoption("--bt-offline") or config.getini("bt_offline"))
    except (ValueError, pytest.UsageError) as error:  # which, depends on pytest's version
        raise pytest.UsageError(f"{_origin(config, 'offline', written=True)}: {error}") from None


def _where(config: pytest.Config, written: str | None, retrieval: str) -> Where:
    """The data folder: of the command line, the ini file or the environment, in this order."""
    origin, base = _origin(config, "data-dir"), config.rootpath
    if config.getoption("bt_data_dir"):
        base = config.invocation_params.dir
    elif not written:
        written, origin, base = os.environ.get(DATA_DIR), DATA_DIR, config.invocation_params.dir
    folder = _path(origin, base, written) if written else None
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"{origin}: {folder} is no folder: name the one that holds your copies of data sets")
    return Where(folder, config.rootpath, _offline(config), None, retrieval)


def _origin(config: pytest.Config, name: str, written: bool = False) -> str:
    """Where an option's value comes from, for a message about it: the command line, or the configuration file."""
    ini = f"bt_{name.replace('-', '_')}"
    if config.getoption(ini) or not (written or config.getini(ini)):
        return f"--bt-{name}"
    return ini + (f" in {config.inipath}" if config.inipath else "")


def _strategies(config: pytest.Config, written: Iterable[str], kinds: Kinds) -> tuple[Strategy, ...]:
    """The strategies to run, each once."""
    try:
        return tuple(dict.fromkeys(Strategy.parse(text, kinds) for text in written))
    except ValueError as error:
        raise pytest.UsageError(f"{_origin(config, 'strategy')}: {error}") from None


def _models(
    config: pytest.Config, value: Mapping[str, Any], offline: bool, own: Mapping[str, Any]
) -> tuple[Model, ...]:
    """The models to run, each with its engine, the steps' own recipe values and those that were set."""
    known = dict(BUILT_IN)

    def register(name: str, path: str, **details: Any) -> None:
        if name in known:
            raise pytest.UsageError(f"pytest_bettertogether_models: model {name!r} is registered twice")
        try:
            known[name] = of_server(path, name, **details) if is_url(path) else Model(name, path, **details)
        except ValueError as error:
            raise pytest.UsageError(f"pytest_bettertogether_models: model {name!r}: {error}") from None

    config.hook.pytest_bettertogether_models(register=register)
    try:
        models = [find(name, known) for name in dict.fromkeys(value["model"])]
    except ValueError as error:
        raise pytest.UsageError(f"{_origin(config, 'model')}: {error}") from None
    try:
        pairs = dict(text.split("=", 1) for text in value["set"] or ())
        recipes = [replace(model.recipe, own=own).override_text(pairs) for model in models]
        models = [
            replace(model, recipe=recipe, overridden=frozenset(pairs))
            for model, recipe in zip(models, recipes, strict=True)
        ]
    except ValueError as error:
        raise pytest.UsageError(f"{_origin(config, 'set')}: {error}") from None
    arguments = {}
    for pair in value["engine"] or ():
        key, _, text = pair.partition("=")
        arguments[key.strip()] = read_argument(text)
    try:
        models = [choose(model, value["backend"] or "", value["server"] or "", arguments) for model in models]
        for model in models if offline else ():
            check_offline(model)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    return tuple(models)


def _journal(config: pytest.Config, written: str) -> Path:
    origin = _origin(config, "journal")
    folder = _path(origin, config.rootpath, written)
    _writable(origin, folder)
    return folder


def _export(config: pytest.Config, written: str | None) -> Path | None:
    if not written:
        return None
    origin = _origin(config, "export")
    folder = _path(origin, config.invocation_params.dir, written)
    _writable(origin, folder)
    return folder


def _destination(config: pytest.Config, text: str, outlets: Iterable[str]) -> tuple[str, Path]:
    kind, _, written = text.partition(":")
    origin = _origin(config, "report")
    kinds = (*BUILT_IN_REPORTS, *outlets)
    if kind not in kinds or not written:
        raise pytest.UsageError(f"{origin}: {text!r}: expected {' or '.join(f'{known}:PATH' for known in kinds)}")
    path = _path(origin, config.invocation_params.dir, written)
    path = path.parent.resolve() / path.name  # without what goes up and down again; a link in its place stays one
    lacking = missing_for_report(kind)
    if lacking:
        raise pytest.UsageError(f"{origin}: {lacking}")
    if path.is_dir():
        raise pytest.UsageError(
            f"{origin}: {path} is a folder: name a file in it, as in {kind}:{written}/report.{kind}"
        )
    _writable(origin, path.parent)
    try:
        replaced_mode(path)
    except OSError as error:
        raise pytest.UsageError(f"{origin}: {path} {error.strerror}") from None
    return kind, path


def _path(origin: str, base: Path, written: str) -> Path:
    """The path that was written, taken from `base`. Raises UsageError for one that no file could have."""
    try:
        path = base / Path(written).expanduser()
        sizes = [len(os.fsencode(part)) for part in path.parts]
    except (RuntimeError, ValueError) as error:  # ~somebody who has no home here; half a character
        raise pytest.UsageError(f"{origin}: {short(written)}: {error}: name another path") from None
    if max(sizes) > LONGEST_NAME or sum(sizes) + len(sizes) > LONGEST_PATH or "\0" in written:
        raise pytest.UsageError(f"{origin}: {short(written)} is no name that a file can have: name another path")
    return path


def _writable(origin: str, folder: Path) -> None:
    """Raise UsageError unless files can be written into `folder`, once it is made."""
    home = next(path for path in (folder, *folder.parents) if path.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise pytest.UsageError(f"{origin}: cannot write to {home}: name a folder that can be written, or made")

"""The command line and its twins in the ini file: every `--bt-` option, its validation, the settings they make."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from ..models import BUILT_IN, Model, find
from ..strategy import Strategy

REPORTS = ("json", "md")


@dataclass(frozen=True)
class Settings:
    """What the user asked of this session."""

    models: tuple[Model, ...]
    strategies: tuple[Strategy, ...]
    """Empty: each suite's own."""
    seeds: tuple[int, ...]
    limit: int | None
    gate: bool
    update_baselines: bool
    select: Literal["last", "best"]
    journal: Path
    fresh: bool
    offline: bool
    reports: tuple[tuple[str, Path], ...]
    """(kind, file) of each report to write."""


@dataclass(frozen=True)
class _Option:
    """An option that has an ini twin: `--bt-seeds` and `bt_seeds`."""

    name: str
    help: str
    metavar: str = ""
    parse: Callable[[str], Any] = str
    many: bool = False
    default: Any = None

    @property
    def ini(self) -> str:
        return f"bt_{self.name}"


# What the parsers below return stays plain strings and numbers: xdist sends options to its workers as such.


def _strategy(text: str) -> str:
    try:
        return Strategy.parse(text).id
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers or ranges, as in 0,1,2 or 0-4")
        seeds.extend(range(int(first), int(last or first) + 1))
    if not seeds or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{text!r}: expected different seeds, as in 0,1,2 or 0-4")
    return seeds


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def _report(text: str) -> str:
    kind, colon, path = text.partition(":")
    if kind not in REPORTS or not colon or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {' or '.join(f'{each}:PATH' for each in REPORTS)}")
    return text


def _assignment(text: str) -> str:
    key, equals, value = text.partition("=")
    if not key.strip() or not equals or not value.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE, as in lora.rank=8")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {' or '.join(allowed)}")
        return text

    return parse


OPTIONS = (
    _Option(
        "model",
        "Model to run the suites on: a registered name, a local folder or a hub id; repeatable (default: tiny).",
        "NAME",
        many=True,
        default=("tiny",),
    ),
    _Option(
        "strategy",
        "Run only this strategy: zero, or steps p (prompts) and w (weights) as in pwp or 'p -> w -> p'; "
        "repeatable (default: the suite's own, or else the paper's eight).",
        "STEPS",
        _strategy,
        many=True,
    ),
    _Option(
        "seeds",
        "Seeds that each cell runs with, as in 0,1,2 or 0-4 (default: 0-2).",
        "LIST",
        _seeds,
        default=(0, 1, 2),
    ),
    _Option(
        "limit", "Use the first N examples of each split; scores are then not gated (default: all).", "N", _positive
    ),
    _Option(
        "gate",
        "off: score and report, but let every result pass its baseline (default: on; off with --bt-limit).",
        "on|off",
        _one_of("on", "off"),
        default="on",
    ),
    _Option(
        "select",
        "Which program a strategy returns: its last, or the best of its prefixes by dev score (default: last).",
        "last|best",
        _one_of("last", "best"),
        default="last",
    ),
    _Option(
        "set",
        "Override a value of the recipe, as in lora.rank=8 or search.candidates=3; repeatable (default: none).",
        "KEY=VALUE",
        _assignment,
        many=True,
    ),
    _Option(
        "report",
        "Write a report when all is done: json:PATH (schema 1) or md:PATH; repeatable (default: none).",
        "KIND:PATH",
        _report,
        many=True,
    ),
    _Option(
        "journal",
        "Folder, relative to the rootdir, that keeps completions and adapters, so that nothing is paid for twice "
        "(default: .bettertogether).",
        "DIR",
        default=".bettertogether",
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """All options in one group, and the ini twins of those worth keeping in a file."""
    group = parser.getgroup("bettertogether", "language-model programs: optimise, evaluate, gate")
    for each in OPTIONS:
        kwargs: dict[str, Any] = {"action": "append"} if each.many else {}
        group.addoption(f"--bt-{each.name}", type=each.parse, metavar=each.metavar, help=each.help, **kwargs)
        twin = f"As --bt-{each.name}{', one per line' if each.many else ''}. {each.help}"
        if each.many:
            parser.addini(each.ini, twin, type="linelist", default=[])
        else:
            parser.addini(each.ini, twin, type="string", default="")
    group.addoption(
        "--bt-offline",
        action="store_true",
        help="Touch no network: models and data must be on this machine (default: off).",
    )
    parser.addini("bt_offline", "As --bt-offline (default: false).", type="bool", default=False)
    group.addoption(
        "--bt-fresh",
        action="store_true",
        help="Compute everything anew and replace what the journal holds of it (default: replay what is there).",
    )
    group.addoption(
        "--bt-update-baselines",
        action="store_true",
        help="Record the scores of the cells that run as their baselines (default: compare with the recorded ones).",
    )


def read_settings(config: pytest.Config) -> Settings:
    """The options as values. Raises pytest.UsageError, in one line, for those that cannot be served."""
    value = {each.name: _value(config, each) for each in OPTIONS}
    update = config.getoption("--bt-update-baselines")
    if update and value["limit"]:
        raise pytest.UsageError("--bt-update-baselines records whole splits: leave out --bt-limit")
    if update and value["select"] == "best":
        raise pytest.UsageError("--bt-update-baselines records what strategies end with: leave out --bt-select=best")
    return Settings(
        models=_models(config, value["model"], value["set"] or ()),
        strategies=tuple(Strategy.parse(text) for text in dict.fromkeys(value["strategy"] or ())),
        seeds=tuple(value["seeds"]),
        limit=value["limit"],
        gate=value["gate"] == "on" and not value["limit"] and value["select"] == "last",
        update_baselines=update,
        select=value["select"],
        journal=_journal(config, value["journal"]),
        fresh=config.getoption("--bt-fresh"),
        offline=_offline(config),
        reports=tuple(_destination(config, text) for text in dict.fromkeys(value["report"] or ())),
    )


def _value(config: pytest.Config, option: _Option) -> Any:
    """The command line wins over the ini file, the ini file over the default."""
    given = config.getoption(f"--bt-{option.name}")
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


def _origin(config: pytest.Config, name: str, written: bool = False) -> str:
    """Where an option's value comes from, for a message about it: the command line, or the configuration file."""
    if config.getoption(f"--bt-{name}") or not (written or config.getini(f"bt_{name}")):
        return f"--bt-{name}"
    return f"bt_{name}" + (f" in {config.inipath}" if config.inipath else "")


def _models(config: pytest.Config, names: Sequence[str], assignments: Sequence[str]) -> tuple[Model, ...]:
    """The models to run, with the recipe values that were set."""
    known = dict(BUILT_IN)

    def register(name: str, path: str, **details: Any) -> None:
        if name in known:
            raise pytest.UsageError(f"pytest_bettertogether_models: model {name!r} is registered twice")
        known[name] = Model(name, path, **details)

    config.hook.pytest_bettertogether_models(register=register)
    try:
        models = [find(name, known) for name in dict.fromkeys(names)]
    except ValueError as error:
        raise pytest.UsageError(f"{_origin(config, 'model')}: {error}") from None
    try:
        pairs = dict(text.split("=", 1) for text in assignments)
        return tuple(
            replace(model, recipe=model.recipe.override_text(pairs), overridden=frozenset(pairs)) for model in models
        )
    except ValueError as error:
        raise pytest.UsageError(f"{_origin(config, 'set')}: {error}") from None


def _journal(config: pytest.Config, written: str) -> Path:
    folder = config.rootpath / Path(written).expanduser()
    _writable(_origin(config, "journal"), folder)
    return folder


def _destination(config: pytest.Config, text: str) -> tuple[str, Path]:
    kind, _, written = text.partition(":")
    path = config.invocation_params.dir / Path(written).expanduser()
    if path.is_dir():
        raise pytest.UsageError(
            f"{_origin(config, 'report')}: {path} is a folder: name a file in it, as in {kind}:{written}/report.{kind}"
        )
    _writable(_origin(config, "report"), path.parent)
    return kind, path


def _writable(origin: str, folder: Path) -> None:
    """Raise UsageError unless files can be written into `folder`, once it is made."""
    home = next(each for each in (folder, *folder.parents) if each.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise pytest.UsageError(f"{origin}: cannot write to {home}: name a folder that can be written, or made")

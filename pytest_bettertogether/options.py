"""The command line: every `--bt-` option, its validation, and the settings they make."""

import argparse
from dataclasses import dataclass
from typing import Any

import pytest

from .models import BUILT_IN, Model, find
from .strategy import Strategy


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


def add_options(parser: pytest.Parser) -> None:
    """All options, in one group."""
    group = parser.getgroup("bettertogether", "language-model programs: optimise, evaluate, gate")
    group.addoption(
        "--bt-model",
        action="append",
        metavar="NAME",
        help="Model to run the suites on: a registered name, a local folder or a hub id; repeatable (default: tiny).",
    )
    group.addoption(
        "--bt-strategy",
        action="append",
        type=_strategy,
        metavar="STEPS",
        help="Run only this strategy: zero, or steps p (prompts) and w (weights) as in pwp or 'p -> w -> p'; "
        "repeatable (default: the suite's own, or else the paper's eight).",
    )
    group.addoption(
        "--bt-seeds",
        type=_seeds,
        default="0-2",
        metavar="LIST",
        help="Seeds that each cell runs with, as in 0,1,2 or 0-4 (default: 0-2).",
    )
    group.addoption(
        "--bt-limit",
        type=_positive,
        metavar="N",
        help="Use the first N examples of each split; scores are then not gated (default: all).",
    )
    group.addoption(
        "--bt-gate",
        choices=("on", "off"),
        default="on",
        help="off: score and report, but let every result pass its baseline (default: on; off with --bt-limit).",
    )
    group.addoption(
        "--bt-update-baselines",
        action="store_true",
        help="Record the scores of the cells that run as their baselines (default: compare with the recorded ones).",
    )


def read_settings(config: pytest.Config) -> Settings:
    """The options as values. Raises pytest.UsageError for those that cannot be served."""
    option = config.getoption
    if option("--bt-update-baselines") and option("--bt-limit"):
        raise pytest.UsageError("--bt-update-baselines records whole splits: leave out --bt-limit")
    try:
        known = _registered(config)
        models = tuple(find(name, known) for name in dict.fromkeys(option("--bt-model") or ["tiny"]))
    except ValueError as error:
        raise pytest.UsageError(f"--bt-model: {error}") from None
    return Settings(
        models=models,
        strategies=tuple(Strategy.parse(text) for text in dict.fromkeys(option("--bt-strategy") or ())),
        seeds=tuple(option("--bt-seeds")),
        limit=option("--bt-limit"),
        gate=option("--bt-gate") == "on" and not option("--bt-limit"),
        update_baselines=option("--bt-update-baselines"),
    )


def _registered(config: pytest.Config) -> dict[str, Model]:
    """The built-in models and those that conftest.py and other plugins add."""
    known = dict(BUILT_IN)

    def register(name: str, path: str, **details: Any) -> None:
        if name in known:
            raise ValueError(f"model {name!r} is registered twice")
        known[name] = Model(name, path, **details)

    config.hook.pytest_bettertogether_models(register=register)
    return known


# The values stay plain strings and numbers: xdist sends them to its workers as such.


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

"""Readers of what stands on a command line: a value each, or a line that says what was expected.

What they return stays plain strings and numbers: xdist sends options to its workers as such.
"""

import argparse
from collections.abc import Callable

DIGITS = 12
"""Digits of the largest whole number that is read: more are a slip, and Python refuses thousands of them."""
SEEDS = 1000
"""Seeds that a cell may run with: it is optimised anew for each."""


def seeds(text: str) -> list[int]:
    """Different seeds: numbers and ranges."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _whole(first) or (dash and not _whole(last)):
            raise argparse.ArgumentTypeError(f"{short(text)}: expected whole numbers or ranges, as in 0,1,2 or 0-4")
        several = range(int(first), int(last or first) + 1)
        if len(seeds) + len(several) > SEEDS:
            raise argparse.ArgumentTypeError(f"{short(text)}: expected at most {SEEDS} seeds, as in 0,1,2 or 0-4")
        seeds.extend(several)
    if not seeds or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{short(text)}: expected different seeds, as in 0,1,2 or 0-4")
    return seeds


def positive(text: str) -> int:
    """A whole number from 1."""
    if not _whole(text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{short(text)}: expected a whole number from 1")
    return int(text)


def share(text: str) -> float:
    """A probability below one half."""
    value = _number(text)
    if not 0 < value < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a probability between 0 and 0.5, as in 0.05")
    return value


def points(text: str) -> float:
    """Points of the score."""
    value = _number(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"{text!r}: expected points of the score from 0 to 100, as in 2.5")
    return value


def minutes(text: str) -> float:
    """Minutes, or parts of one."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected minutes, as in 30 or 0.5")
    return value


def _whole(text: str) -> bool:
    return text.isdecimal() and len(text) <= DIGITS


def short(text: str) -> str:
    """The text in quotes for a message of one line, cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{short(text)}: expected a number") from None


def assignment(text: str) -> str:
    """KEY=VALUE, of a recipe."""
    key, equals, value = text.partition("=")
    if not key.strip() or not equals or not value.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE, as in lora.rank=8")
    return text


def pair(text: str) -> str:
    """KEY=VALUE, of an engine; the value may be empty."""
    key, equals, _ = text.partition("=")
    if not key.strip() or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE, as in max_model_len=4096")
    return text


def one_of(*allowed: str) -> Callable[[str], str]:
    """A reader that takes nothing but these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {' or '.join(allowed)}")
        return text

    return parse

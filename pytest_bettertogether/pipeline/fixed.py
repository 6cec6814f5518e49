"""Mappings that nobody can change, and plain data made of them: what frozen values hold in place of dicts and lists."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class Fixed(Mapping[str, Value]):
    """A read-only copy of a mapping; equal to any mapping of the same items, and hashable where its values are."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Value] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def fixed(value: Any) -> Any:
    """The value with read-only copies of the mappings and lists in it, at any depth; anything else as it is."""
    if isinstance(value, Mapping):
        return Fixed({key: fixed(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return tuple(fixed(inner) for inner in value)
    return value


def plain(value: Any) -> Any:
    """The value with dicts and lists in place of mappings and tuples: as JSON writes it."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def unfit_for_json(value: Any, place: str) -> str:
    """What in a value JSON would not give back as it was, for a message that begins with `place`; empty if nothing."""
    if value is None or isinstance(value, str | bool | int):
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{place} is {value}, which is no JSON number"
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                return f"{place} has the key {key!r}, which is no text"
            if wrong := unfit_for_json(inner, f"{place}[{key!r}]"):
                return wrong
        return ""
    if isinstance(value, list | tuple):
        wrong_items = (unfit_for_json(inner, f"{place}[{i}]") for i, inner in enumerate(value))
        return next(filter(None, wrong_items), "")
    return f"{place} is a {type(value).__name__}, which JSON does not have"

"""Records to JSON values and back: a record's fields and their types say all that reading needs to know."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def from_json(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """Read what `dataclasses.asdict` made of a record, also after a way through JSON, where tuples become lists.

    Args:
        kind: The record's dataclass. Its fields hold JSON values, records, and tuples and dicts of these.
        data: The record's values by field; a field with a default may be missing.

    Raises:
        TypeError: A field without a default is missing, there is one too many, or a value is not of the field's form.
        AttributeError: Something else stands where a record or a dict should.
    """
    readers = _fields(kind)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
    return kind(**{name: readers[name](value) if name in readers else value for name, value in data.items()})


@cache
def _fields(kind: type) -> dict[str, Callable[[Any], Any]]:
    """A reader for each field of a record."""
    return {name: _reader(hint) for name, hint in get_type_hints(kind).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    """How a value of a type is read; values that JSON holds as they are come back as they are."""
    if is_dataclass(hint):
        return lambda value: from_json(hint, value)  # type: ignore[arg-type]  # mypy takes it for an instance too
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is dict:
        read = _reader(arguments[1])
        return lambda value: {key: read(held) for key, held in value.items()}
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    return lambda value: value


def _tuple_reader(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    if arguments[-1] is Ellipsis:
        read = _reader(arguments[0])
        return lambda values: tuple(read(value) for value in values)
    readers = [_reader(argument) for argument in arguments]
    return lambda values: tuple(reader(value) for reader, value in zip(readers, values, strict=True))

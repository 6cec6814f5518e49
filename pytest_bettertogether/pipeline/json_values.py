"""Records to JSON values and back: a record's fields and their types say all that reading needs to know."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
Reader = Callable[[Any], Any]

EXPECTED: Mapping[type, str] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
"""What JSON calls the values of these types."""


def from_json(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """Read what `dataclasses.asdict` made of a record, also after a way through JSON, where tuples become lists.

    Args:
        kind: The record's dataclass. Its fields hold JSON values, records, and tuples and mappings of these.
        data: The record's values by field; a field with a default may be missing.

    Raises:
        TypeError: A field without a default is missing, there is one too many, or a value is not of the field's type.
            The message begins with the place: `seeds: 0: usage: lm_calls: expected a whole number, found 'x'`.
    """
    readers = _fields(kind)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
    values = {}
    for name, value in _mapping(data).items():
        if name not in readers:
            raise TypeError(f"{name}: there is no such value")
        values[name] = _placed(name, readers[name], value)
    return kind(**values)


@cache
def _fields(kind: type) -> dict[str, Reader]:
    """A reader for each field of a record."""
    return {name: _reader(hint) for name, hint in get_type_hints(kind).items()}


def _reader(hint: Any) -> Reader:
    """How a value of a type is read; what may be any JSON value comes back as it is."""
    if is_dataclass(hint):
        return lambda value: from_json(hint, value)  # type: ignore[arg-type]  # mypy takes it for an instance too
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin in (dict, Mapping):
        return _mapping_reader(arguments[1])
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if origin is Literal:
        return _literal_reader(arguments)
    return _scalar_reader(hint) if hint in EXPECTED else lambda value: value


def _tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    if arguments[-1] is Ellipsis:
        read = _reader(arguments[0])
        return lambda values: tuple(_placed(i, read, value) for i, value in enumerate(_list(values)))
    readers = [_reader(argument) for argument in arguments]

    def read_fixed(values: Any) -> tuple[Any, ...]:
        if len(_list(values)) != len(readers):
            raise TypeError(f"expected a list of {len(readers)}, found {len(values)}")
        return tuple(reader(value) for reader, value in zip(readers, values, strict=True))

    return read_fixed


def _mapping_reader(hint: Any) -> Reader:
    read = _reader(hint)
    return lambda values: {key: _placed(key, read, value) for key, value in _mapping(values).items()}


def _literal_reader(allowed: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if value not in allowed:
            raise TypeError(f"expected one of {', '.join(map(str, allowed))}, found {_shown(value)}")
        return value

    return read


def _scalar_reader(kind: type) -> Reader:
    # JSON has one kind of number, so that 1.0 may come back as 1; a bool, which Python counts as an int, is none.
    taken = (int, float) if kind is float else kind

    def read(value: Any) -> Any:
        if not isinstance(value, taken) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"expected {EXPECTED[kind]}, found {_shown(value)}")
        if kind is float and isinstance(value, int):
            try:
                float(value)
            except OverflowError:
                raise TypeError("expected a number, found one beyond any float") from None
        return value

    return read


def _placed(place: str | int, read: Reader, value: Any) -> Any:
    try:
        return read(value)
    except TypeError as error:
        raise TypeError(f"{place}: {error}") from None


def _list(values: Any) -> Any:
    if not isinstance(values, list | tuple):
        raise TypeError(f"expected a list, found {_shown(values)}")
    return values


def _mapping(values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise TypeError(f"expected an object with values by name, found {_shown(values)}")
    return values


def _shown(value: Any) -> str:
    """A value in a message: texts and numbers cut, the others by their kind."""
    if isinstance(value, str):
        return ascii(value if len(value) <= 40 else value[:40] + "...")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a number of more than 20 digits"
    kinds = {list: "a list", tuple: "a list", dict: "an object", NoneType: "null"}
    return kinds.get(type(value), str(value))

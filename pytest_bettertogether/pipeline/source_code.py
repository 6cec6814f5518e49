"""A user's code by its source, so that results of changed code are not taken for those of the code as it is."""

import hashlib
import inspect
from dataclasses import is_dataclass
from typing import Any


def source_digest(thing: Any) -> str:
    """8 hex digits of a function's, class's or module's source; empty where there is none, of what was typed in."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:8]


def named_by_source(function: Any) -> str:
    """The name of a function, or of a callable object's class, and the digest of its source where that can be read."""
    made_of = function if inspect.isroutine(function) else type(function)
    name = repr(function) if is_dataclass(function) else str(made_of.__qualname__)
    source = source_digest(made_of)
    return f"{name}:{source}" if source else name


def class_digests(cls: type) -> str:
    """The digests of the modules that a class and its bases are written in, ours and Python's own left out.

    A module's whole source counts, since methods call what stands beside their class.
    """
    modules = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("builtins", "abc", "typing", __name__.partition(".")[0]):
            modules[base.__module__] = inspect.getmodule(base)
    return " ".join(f"{name}:{source_digest(module)}" for name, module in sorted(modules.items()))

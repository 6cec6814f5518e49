"""A program object of its own for each example, since many are under way at once and `forward` may write to `self`."""

from copy import copy
from typing import Any

from ..pipeline.program import Program


def isolated(program: Program) -> Program:
    """Return a copy of the program that shares its predictors and search sites, and no state.

    Its sub-programs are copied too, and so is each list, dict or set that is an attribute: whatever `forward` assigns
    or appends there is seen by no other example. All other objects are shared, and so is what is nested in a
    container: a corpus or an index is not copied a thousand times.
    """
    return _copied(program, {})


def _copied(program: Program, known: dict[int, Any]) -> Program:
    """Copy one program; `known` holds what was copied before by its id, so that two names for one object stay two."""
    twin = known[id(program)] = copy(program)
    for name, value in vars(program).items():
        if not isinstance(value, Program | list | dict | set):
            continue
        own = known.get(id(value))
        if own is None and isinstance(value, Program):
            own = _copied(value, known)
        elif own is None:
            own = known[id(value)] = copy(value)
        vars(twin)[name] = own
    return twin

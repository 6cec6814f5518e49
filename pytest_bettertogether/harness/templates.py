"""Templates of lm-eval tasks, rendered in a sandbox: text out of a document, no code, and no more than so much.

lm-eval renders each template of a task through one plain environment of its module `lm_eval.utils`, in which a
template reaches every module of the process (`cycler.__init__.__globals__.os`). A task has no way to bring its own.
So `sandboxed` exchanges that one name while a call of ours is under way, and puts the old one back: other users of
lm-eval in the process never meet the sandbox.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from ..pipeline.errors import DataError

STEPS = 200_000
"""Turns of loops, calls and operations of one rendering, at most."""

LENGTH = 10_000_000
"""Characters or items of anything that a rendering makes, at most."""

NUMBER = 100_000
"""Whole numbers that calls and filters take, at most: a width or a count makes that many characters."""

WIDTH = re.compile(r"\d{5,}|\*")
"""A width in a format that is too large, or comes from elsewhere."""


@contextmanager
def sandboxed() -> Iterator[None]:
    """Render in the sandbox whatever lm-eval renders meanwhile; a template that is stopped raises DataError."""
    from lm_eval import utils

    before, utils.env = utils.env, environment(utils.regex_replace)
    try:
        yield
    finally:
        utils.env = before


@contextmanager
def in_words() -> Iterator[None]:
    """Raise DataError, in a sentence, for whatever a template raises: it may be wrong in as many ways as Python."""
    from jinja2.exceptions import SecurityError, TemplateError

    try:
        yield
    except (SecurityError, OverflowError, RecursionError) as error:
        raise DataError(
            f"a template of the lm-eval task was stopped: {_first(error)}; a template may only put its document's "
            "fields into words: write what needs more as a Python function beside the suite, with !function"
        ) from error
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"a template of the lm-eval task cannot be rendered: {_first(error)}: mend it") from error


def environment(regex_replace: Callable[..., str]) -> Any:
    """Return a jinja2 environment that renders as lm-eval's own does, in a sandbox and within the bounds above."""
    from jinja2 import StrictUndefined, Template, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Guarded(Template):
        def render(self, *args: Any, **kwargs: Any) -> str:
            with in_words():
                return super().render(*args, **kwargs)

    class Sandbox(ImmutableSandboxedEnvironment):
        """Counts the steps of a rendering and looks at the size of what each makes."""

        intercepted_binops = frozenset(("+", "*", "**", "%"))
        template_class = Guarded
        steps = 0

        def step(self) -> None:
            self.steps += 1
            if self.steps > STEPS:
                raise OverflowError(f"it takes more than {STEPS:,} steps")

        def turns(self, items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                self.step()
                yield item

        def from_string(self, *args: Any, **kwargs: Any) -> Any:
            self.steps = 0  # of the rendering that follows
            with in_words():
                return super().from_string(*args, **kwargs)

        def _parse(self, *args: Any, **kwargs: Any) -> Any:
            tree = super()._parse(*args, **kwargs)
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = nodes.Filter(loop.iter, "_turns", [], [], None, None, lineno=loop.lineno)
            return _with_sizes(tree, nodes)

        def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            self.step()
            subject = getattr(function, "__self__", None)
            _check_arguments(getattr(function, "__name__", ""), (subject, *args), kwargs)
            return _sized(super().call(context, function, *args, **kwargs))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            self.step()
            _check_operation(operator, left, right)
            return _sized(super().call_binop(context, operator, left, right))

        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            raise SecurityError(f"access to {attribute!r} of a {type(obj).__name__} is not allowed")

    def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # jinja2's marks of what a filter is handed are among its attributes
        def checked(*args: Any, **kwargs: Any) -> Any:
            sandbox.step()
            _check_arguments(name, args, kwargs)
            made = function(*args, **kwargs)
            return sandbox.turns(made) if isinstance(made, Iterator) else _sized(made)

        return checked

    sandbox = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters["regex_replace"] = regex_replace
    sandbox.filters = {name: bounded(name, function) for name, function in sandbox.filters.items()}
    sandbox.filters["_turns"] = sandbox.turns
    sandbox.filters["_sized"] = _sized
    del sandbox.globals["lipsum"]  # draws at random, as much as it is asked for
    del sandbox.filters["random"]
    return sandbox


def _with_sizes(tree: Any, nodes: Any) -> Any:
    """Look at the size of each `a ~ b` too, which the sandbox does not intercept."""
    for node in list(tree.find_all(nodes.Node)):
        for field, value in list(node.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(node, field, nodes.Filter(value, "_sized", [], [], None, None, lineno=value.lineno))
            elif isinstance(value, list):
                value[:] = [
                    nodes.Filter(item, "_sized", [], [], None, None, lineno=item.lineno)
                    if isinstance(item, nodes.Concat)
                    else item
                    for item in value
                ]
    return tree


def _check_arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise OverflowError for what one call could make too large, before it is made."""
    given = [*args, *kwargs.values()]
    if any(isinstance(value, int) and abs(value) > NUMBER for value in given) and name not in ("int", "abs", "string"):
        raise OverflowError(f"{name or 'a call'} is given a number above {NUMBER:,}")
    if name in ("format", "format_map") and any(isinstance(value, str) and WIDTH.search(value) for value in given):
        raise OverflowError("a format asks for a width of five digits or more")
    lengths = [len(value) for value in given if isinstance(value, str | list | tuple)]
    if name in ("replace", "join", "regex_replace", "expandtabs", "indent") and len(lengths) > 1:
        largest = sorted(lengths)[-2:]
        if largest[0] * largest[1] > LENGTH * 10:
            raise OverflowError(f"{name} could make more than {LENGTH:,} characters")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    if operator == "**" and abs(right) * max(1, abs(left)).bit_length() > 4096:
        raise OverflowError("a power is too large")
    if operator == "%" and isinstance(left, str) and WIDTH.search(left):
        raise OverflowError("a format asks for a width of five digits or more")
    if operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int) and len(many) * times > LENGTH:
                raise OverflowError(f"a repetition makes more than {LENGTH:,} items")


def _sized(made: Any) -> Any:
    """Return what was made, unless it is too large."""
    if isinstance(made, str | list | tuple | dict) and len(made) > LENGTH:
        raise OverflowError(f"it makes more than {LENGTH:,} characters or items")
    if isinstance(made, int) and made.bit_length() > 8192:
        raise OverflowError("a number is too large")
    return made


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""The hooks that a conftest.py or another plugin may implement."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # every pytest run loads this module
    from ..pipeline.recipe import Recipe
    from ..report.model import Report


class RegisterModel(Protocol):
    """What the hook `pytest_bettertogether_models` is given: call it once for each model."""

    def __call__(
        self,
        name: str,
        path: str,
        *,
        revision: str = ...,
        backend: str = ...,
        recipe: "Recipe" = ...,
        abilities: frozenset[str] = ...,
        server: str = ...,
        engine: Mapping[str, Any] = ...,
    ) -> None:
        """Give the model at `path` (a local folder, a hub id, or the URL of a server) a name for --bt-model."""
        ...


def pytest_bettertogether_models(register: RegisterModel) -> None:
    """Give models a name for --bt-model; called once, before tests are collected.

    In the root conftest.py (one further down is read too late)::

        @pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
        def pytest_bettertogether_models(register: RegisterModel) -> None:
            register("mistral", "mistralai/Mistral-7B-Instruct-v0.2", revision="3ad372f")
            register("small", "https://api.example.com/v1#small-1")

    The arguments are those of `Model`: name, path (a local folder, a hub id, or the URL of a server), revision,
    backend (hf, vllm, server or "module:Class"), recipe, abilities (what tasks may need that it can do), server
    (where a server has what `path` is the local copy of), engine (a dict, as --bt-engine).
    """


def pytest_bettertogether_steps(register: Callable[[Any], None]) -> None:
    """Let strategies name further optimisation steps; called once, before strategies are read.

    In the root conftest.py (one further down is read too late), or in a plugin::

        @pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
        def pytest_bettertogether_steps(register):
            register(ChooseInstruction())

    A step is an object as `pytest_bettertogether.optimize.step.Step` describes it. A package needs no hook: it
    names its step as an entry point of the group `pytest_bettertogether.steps`.
    """


def pytest_bettertogether_reports(register: "Callable[[str, Callable[[Report], str]], None]") -> None:
    """Let --bt-report name further kinds of report; called once, before tests are collected.

    In the root conftest.py (one further down is read too late), or in a plugin::

        @pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
        def pytest_bettertogether_reports(register):
            register("csv", csv_report)  # --bt-report=csv:PATH

    The function is given a `pytest_bettertogether.report.model.Report`, which holds all that reports show, and returns
    the text of the file.
    """

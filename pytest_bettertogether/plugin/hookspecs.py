"""The hooks that a conftest.py or another plugin may implement."""

from collections.abc import Callable


def pytest_bettertogether_models(register: Callable[..., None]) -> None:
    """Give models a name for --bt-model; called once, before tests are collected.

    In the root conftest.py (one further down is read too late)::

        @pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
        def pytest_bettertogether_models(register):
            register("mistral", "mistralai/Mistral-7B-Instruct-v0.2", revision="3ad372f")

    The arguments are those of `pytest_bettertogether.models.Model`: name, path (a local folder
    or a hub id), revision, backend ("module:Class"), recipe.
    """

"""The hooks that a conftest.py or another plugin may implement."""

from collections.abc import Callable


def pytest_bettertogether_models(register: Callable[..., None]) -> None:
    """Give models a name for --bt-model; called once, before tests are collected.

    In the root conftest.py (one further down is read too late)::

        @pytest.hookimpl(optionalhook=True)  # lets `pytest -p no:bettertogether` work
        def pytest_bettertogether_models(register):
            register("mistral", "mistralai/Mistral-7B-Instruct-v0.2", revision="3ad372f")
            register("small", "https://api.example.com/v1#small-1")

    The arguments are those of `pytest_bettertogether.engines.registry.Model`: name, path (a local folder,
    a hub id, or the URL of a server), revision, backend (hf, vllm, server or "module:Class"), recipe,
    server (where a server has what `path` is the local copy of), engine (a dict, as --bt-engine).
    """

"""The engines by name: what `--bt-backend` accepts, what must be installed for each, and what each can be told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from .devices import usable

BACKENDS: Mapping[str, str] = {
    "hf": "pytest_bettertogether.engines.hf.engine:HuggingFace",
    "vllm": "pytest_bettertogether.engines.vllm.engine:VLLM",
    "server": "pytest_bettertogether.engines.server.engine:Server",
}

BLOCKS: Mapping[str, int] = {"vllm": 0}
"""`search.block` of engines for which one large batch is cheaper than asking fewer things: all of V at once."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Arguments = Mapping[str, Any]
"""What an engine is told by `--bt-engine KEY=VALUE`, or by a model's registration."""


@dataclass(frozen=True)
class ServerOptions:
    """How a server is asked."""

    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 120.0
    """Seconds that a request may take."""
    retries: int = 10
    """How often a request is repeated that was not answered."""
    errors: int = 200
    """Requests of a run that may fail, beyond as many as were answered."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""

    def __post_init__(self) -> None:
        counts = (self.retries, self.errors)
        if self.concurrency < 1 or self.timeout <= 0 or min(counts) < 0 or not self.api_key_env:
            raise ValueError(f"{self} has a value that cannot be: concurrency from 1, timeout above 0, others from 0")

    @classmethod
    def of(cls, arguments: Arguments) -> "ServerOptions":
        """Raises ValueError that says what is known, or which type was expected."""
        known = {each.name: type(each.default) for each in fields(cls)}
        for key, value in arguments.items():
            if key not in known:
                raise ValueError(f"{key}: the server engine knows {', '.join(known)}")
            if type(value) is not known[key] and not (known[key] is float and type(value) is int):
                raise ValueError(f"{key}={value!r}: expected {known[key].__name__}")
        return cls(**arguments)


OURS = {
    "model": "it is what --bt-model names",
    "tokenizer": "it is the model's own",
    "revision": "it is the registration's",
    "dtype": "set the recipe's, as in --bt-set=dtype=float32",
    "enable_lora": "it is always on",
    "max_loras": "it follows from how adapters are used",
    "enable_sleep_mode": "it is on where a GPU is",
    "trust_remote_code": "code of a model's is never run",
}
"""Engine arguments of vLLM that are not the user's to set."""


def check_arguments(backend: str, arguments: Arguments) -> None:
    """Raise ValueError for arguments that the engine cannot take, as far as that is known without loading it."""
    if backend == "server":
        ServerOptions.of(arguments)
    elif backend == "vllm":
        for key in sorted(arguments.keys() & OURS.keys()):
            raise ValueError(f"{key} is not yours to set: {OURS[key]}")
    elif arguments:
        raise ValueError(f"{next(iter(arguments))}: the {backend} engine takes no arguments; see --bt-set for recipes")


def read_argument(text: str) -> Any:
    """A value as its text has it: a number, true or false, JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def default() -> str:
    """The engine vllm where it is installed and a GPU is there, else hf."""
    return "vllm" if find_spec("vllm") and usable() else "hf"


def missing(backend: str) -> str:
    """What is not installed for it and how to install that; empty if nothing is."""
    if backend == "vllm" and not find_spec("vllm"):
        return (
            "vLLM is not installed: pip install 'pytest-bettertogether[vllm]', or for a machine without a GPU what "
            "the README says under Engines"
        )
    if backend == "server" and not find_spec("openai"):
        return "the openai client is not installed: pip install 'pytest-bettertogether[server]'"
    return ""


def is_url(text: str) -> bool:
    """Whether it is meant as the URL of a server."""
    return text.startswith(("http://", "https://"))


def check_url(text: str) -> None:
    """Raise ValueError for a URL that holds what must not be written down, or no server."""
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "the URL of a server must not hold credentials or a query, for it goes into reports: "
            "put the key into the environment variable OPENAI_API_KEY"
        )
    if not parts.hostname:
        raise ValueError(f"{text!r}: expected http://host:port/v1, and #model-name where it serves several")


def is_local(url: str) -> bool:
    """Whether a server's URL stays on this machine."""
    return urlsplit(url).hostname in LOOPBACK


def split_url(text: str) -> tuple[str, str]:
    """The base URL, and the name of the model there; the name is empty where none is given."""
    base, _, served = text.partition("#")
    return base.rstrip("/"), served

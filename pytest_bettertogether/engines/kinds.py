"""The engines by name: what `--bt-backend` accepts, what must be installed for each, and what each can be told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from ..pipeline.extras import missing
from .devices import usable

BACKENDS: Mapping[str, str] = {
    "hf": "pytest_bettertogether.engines.hf.engine:HuggingFace",
    "vllm": "pytest_bettertogether.engines.vllm.engine:VLLM",
    "server": "pytest_bettertogether.engines.server.engine:Server",
}

BLOCKS: Mapping[str, int] = {"vllm": 0}
"""`search.block` of engines for which one large batch is cheaper than asking fewer things: all of V at once."""

Arguments = Mapping[str, Any]
"""What an engine is told by `--bt-engine KEY=VALUE`, or by a model's registration."""


DAY = 86_400
"""Seconds of a day."""

MIB = 1 << 20
"""Bytes of a mebibyte."""

HF = ("torch", "transformers", "peft", "safetensors", "jinja2", "huggingface_hub")
"""The modules that the hf engine imports, sooner or later."""

NO_ANSWER = ("retry", "invalid", "unparsable")
"""What becomes of a server's reply that brings no answer: repeated and then an error, an error at once, or scored 0."""


@dataclass(frozen=True)
class ServerOptions:
    """How a server is asked."""

    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 120.0
    """Seconds that a request may take in all, from its connection to the last byte of the reply."""
    retries: int = 10
    """How often a request is repeated that was not answered."""
    max_wait: float = 600.0
    """Seconds that a request may wait in all before its repetitions, the server's Retry-After included."""
    max_reply_mib: int = 16
    """Mebibytes that a reply may have, decompressed."""
    errors: int = 200
    """Requests of a run that may fail, beyond as many as were answered."""
    no_answer: str = "retry"
    """What becomes of a reply without an answer (null content, a refusal, a content filter): `retry` repeats it twice,
    after which the cell is invalid; `invalid` does not repeat it; `unparsable` scores it 0, as the user then said."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""

    def __post_init__(self) -> None:
        if not (
            1 <= self.concurrency <= 4096
            and 0 < self.timeout <= DAY
            and 0 <= self.max_wait <= DAY
            and 1 <= self.max_reply_mib <= 1024
            and min(self.retries, self.errors) >= 0
            and self.no_answer in NO_ANSWER
            and self.api_key_env
        ):
            raise ValueError(
                f"{self} has a value that cannot be: concurrency from 1 to 4096, timeout above 0 and max_wait from 0, "
                f"both to {DAY} s, max_reply_mib from 1 to 1024, retries and errors from 0, "
                f"no_answer {', '.join(NO_ANSWER)}"
            )

    @classmethod
    def of(cls, arguments: Arguments) -> "ServerOptions":
        """Raises ValueError that says what is known, or which type was expected."""
        known = {option.name: type(option.default) for option in fields(cls)}
        for key, value in arguments.items():
            if key not in known:
                raise ValueError(f"{key}: the server engine knows {', '.join(known)}")
            if type(value) is not known[key] and not (known[key] is float and type(value) is int):
                raise ValueError(f"{key}={value!r}: expected {known[key].__name__}")
        return cls(**arguments)


RESERVED_VLLM_ARGUMENTS = {
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
        for key in sorted(arguments.keys() & RESERVED_VLLM_ARGUMENTS.keys()):
            raise ValueError(f"{key} is not yours to set: {RESERVED_VLLM_ARGUMENTS[key]}")
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


def missing_for(backend: str) -> str:
    """What is not installed for it and how to install that; empty if nothing is."""
    if backend == "vllm" and not find_spec("vllm"):
        return (
            "vLLM is not installed: pip install 'pytest-bettertogether[vllm]', or for a machine without a GPU what "
            "docs/engines.md says"
        )
    if backend == "server" and not find_spec("httpx2"):
        return "the HTTP client httpx2 is not installed: pip install 'pytest-bettertogether[server]'"
    if backend == "hf":
        return missing("models are run with", "hf", *HF)
    return ""


def is_url(text: str) -> bool:
    """Whether it is meant as the URL of a server."""
    return text.startswith(("http://", "https://"))


def check_url(text: str) -> None:
    """Raise ValueError for a URL that holds what must not be written down, or no server."""
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
        spelt = parts.scheme in ("http", "https") and host and text.isprintable() and " " not in text
    except ValueError:  # a port that is no number or above 65535, or half a bracket
        spelt = ""
    if not spelt:
        raise ValueError(
            f"{text!r}: expected http://host:port/v1 with a port up to 65535, and #model-name where it serves several"
        )
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "the URL of a server must not hold credentials or a query, for it goes into reports: "
            "put the key into the environment variable OPENAI_API_KEY"
        )


def is_local(url: str) -> bool:
    """Whether a server's URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def split_url(text: str) -> tuple[str, str]:
    """The base URL, and the name of the model there; the name is empty where none is given."""
    base, _, served = text.partition("#")
    return base.rstrip("/"), served

"""What a report tells of the command line that made it: reports are published, so that no secret may stand in them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

HIDDEN = "***"
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<place>[^/?#\s]*)(?P<path>[^?#\s]*)(?P<rest>[^\s]*)")
_NAMED = re.compile(r"(?P<name>[\w.-]+)(?P<sign>=|:\s+)(?P<value>.+)", re.DOTALL)
_USER = re.compile(r"[^\s/=:@\[\]]+:[^\s/:@\[\]]+@(?=[\w.-])")
"""User and password before a server's name, where no scheme makes a URL of it."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SECRET = frozenset(
    ("apikey", "auth", "authorization", "bearer", "cookie", "credential", "credentials", "key", "login", "pass", "pat")
) | {"passphrase", "passwd", "password", "pin", "pw", "pwd", "secret", "secrets", "signature", "token"}
"""A name with one of these words has a value that is not written: `--api-key`, `hf_token`, `headers.Authorization`."""


def without_secrets(arguments: Iterable[str], root: Path | None = None) -> list[str]:
    """The arguments of a command line, fit to be published.

    A URL loses user, password, query, and a fragment that has a value in it. An option, or a `key=value` within one,
    loses its value where its name tells of a secret. A path within `root` is written relative to it.
    """
    return list(_shown(arguments, root))


def _shown(arguments: Iterable[str], root: Path | None) -> Iterator[str]:
    hiding = False
    for argument in map(str, arguments):
        if hiding and not argument.startswith("-"):
            yield HIDDEN
            hiding = False
            continue
        hiding = argument.startswith("--") and "=" not in argument and _secret(argument)
        public = _USER.sub("", _URL.sub(_place, _hidden(argument)))
        yield public.replace(f"{root}/", "") if root else public


def _hidden(text: str) -> str:
    """A text in which the value behind a secret's name is hidden; names may be nested, as in `--engine=api_key=x`."""
    found = _NAMED.match(text)
    if found is None:
        return text
    value = HIDDEN if _secret(found["name"]) else _hidden(found["value"])
    return f"{found['name']}{found['sign']}{value}"


def _secret(name: str) -> bool:
    return not _SECRET.isdisjoint(word.lower() for word in _WORDS.findall(name))


def _place(url: re.Match[str]) -> str:
    """A URL without what lets one in."""
    _, _, server = url["place"].rpartition("@")
    _, _, fragment = url["rest"].partition("#")
    if "@" in url["path"] + url["rest"]:  # a password with a slash in it looks like a path
        return f"{url['scheme']}{HIDDEN}"
    kept = f"#{fragment}" if fragment and not re.search(r"[=&?]", fragment) else ""
    return f"{url['scheme']}{server}{url['path']}{kept}"

"""A ColBERTv2 server, as the paper used one: one GET request for each query."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..pipeline.errors import BackendError, DataError
from ..pipeline.where import Where

TRIES, PAUSE, TIMEOUT = 4, 1.0, 30.0
"""Requests for one query at most, seconds before the second (then twice as many each time), seconds of each."""

AT_ONCE = 8
"""Requests under way together."""

LONGEST = 2000
"""Characters of a query that are sent: ColBERT reads 32 tokens, and addresses have a limit."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ColBERT:
    """A server that answers `GET url?query=...&k=...` with `{"topk": [{"text": "title | body"}, ...]}`.

    That is the form of ColBERT's own server (reference: stanford-futuredata/ColBERT, server.py).
    """

    url: str

    def open(self, where: Where) -> "Server":
        """The server; it is not asked yet. Raises DataError where that needs a network which may not be used."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"--bt-retrieval={self.url}: expected http://host:port/path")
        if where.offline and parts.hostname not in LOOPBACK:
            raise DataError(f"--bt-offline forbids to ask the search server {parts.hostname}: use --bt-retrieval=pool")
        return Server(self.url)


class Server:
    """See `ColBERT`."""

    remote = True

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        self.identity = f"colbert {parts.scheme}://{parts.hostname}{port}{parts.path}"  # without a password in it

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """What the server has for each query. Raises BackendError where it gives no answer."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda query: self._ask(query, k), queries))

    def _ask(self, query: str, k: int) -> list[str]:
        address = f"{self.url}{'&' if '?' in self.url else '?'}{urlencode({'query': query[:LONGEST], 'k': k})}"
        for attempt in range(TRIES):
            try:
                with urllib.request.urlopen(address, timeout=TIMEOUT) as reply:  # noqa: S310 - open() checked its scheme
                    return _passages(json.load(reply), k)
            except urllib.error.HTTPError as error:
                error.close()
                cause: Exception = error
                if error.code < 500 and error.code != 429:
                    break
            except (OSError, ValueError) as error:
                cause = error
            if attempt + 1 < TRIES:
                time.sleep(PAUSE * 2**attempt)
        raise BackendError(f"the search server {self.identity} did not answer {query[:60]!r}: {cause}") from cause


def _passages(reply: Any, k: int) -> list[str]:
    topk = reply.get("topk") if isinstance(reply, dict) else None
    if not isinstance(topk, list) or not all(isinstance(each, dict) and "text" in each for each in topk):
        raise ValueError(f"expected topk, a list of objects with a text, got {str(reply)[:80]}")
    return [str(each["text"]) for each in topk[:k]]

"""A ColBERTv2 server, as the paper used one: one GET request for each query."""

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ..engines.kinds import ServerOptions, is_local
from ..pipeline.data_folder import Where
from ..pipeline.errors import BackendError, DataError

if TYPE_CHECKING:  # the HTTP client is loaded when a server is opened
    from ..engines.server.delivery import Delivery

OPTIONS = ServerOptions(concurrency=8, timeout=30.0, retries=3, max_reply_mib=16, errors=sys.maxsize)
"""How the server is asked: each query is given up by itself, and a search that gives one up fails."""

LONGEST = 2000
"""Characters of a query that are sent: ColBERT reads 32 tokens, and addresses have a limit."""


@dataclass(frozen=True)
class ColBERT:
    """A server that answers `GET url?query=...&k=...` with `{"topk": [{"text": "title | body"}, ...]}`.

    That is the form of ColBERT's own server (reference: stanford-futuredata/ColBERT, server.py).
    """

    url: str

    def open(self, where: Where) -> "Server":
        """Return the server; it is not asked yet. Raises DataError where that needs what is missing or forbidden."""
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:  # a port that is no number or above 65535, or half a bracket
            known = None
        if not known or not self.url.isprintable() or " " in self.url:
            raise DataError(f"--bt-retrieval={self.url}: expected http://host:port/path with a port up to 65535")
        if where.offline and not is_local(self.url):
            raise DataError(f"--bt-offline forbids to ask the search server {parts.hostname}: use --bt-retrieval=pool")
        if not find_spec("httpx2"):
            raise DataError("a search server needs an HTTP client: pip install 'pytest-bettertogether[server]'")
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
        """Return what the server has for each query. Raises BackendError where it gives no answer."""
        with ThreadPoolExecutor(1) as pool:  # its own thread, for a notebook's has an event loop that is running
            return pool.submit(lambda: asyncio.run(self._search(queries, k))).result()

    async def _search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        from ..engines.server.delivery import Delivery
        from ..engines.server.exchange import Exchange

        exchange = Exchange(self.url, OPTIONS, configurable=False)
        delivery = Delivery(exchange, OPTIONS, f"the search server {self.identity}")
        found: dict[int, list[str]] = {}

        async def ask(place: int) -> None:
            found[place] = await self._ask(delivery, queries[place], k)

        try:
            await delivery.all([partial(ask, place) for place in range(len(queries))])
        finally:
            await exchange.close()
        return [found[place] for place in range(len(queries))]

    async def _ask(self, delivery: "Delivery", query: str, k: int) -> list[str]:
        from ..engines.server.delivery import Refused

        address = f"{self.url}{'&' if '?' in self.url else '?'}{_encoded(query, k)}"
        try:
            return await delivery.ask(address, None, partial(_passages, k))
        except Refused as refused:
            raise BackendError(
                f"{delivery.where} refused the query {query[:60]!r} (HTTP {refused.status}): {refused.text}"
            ) from None


def _encoded(query: str, k: int) -> str:
    """Return the query as part of an address; halves of characters, which a model may emit, become question marks."""
    return urlencode({"query": query[:LONGEST], "k": k}, errors="replace")


def _passages(k: int, reply: Any) -> list[str]:
    """Return the texts of a reply. Raises Malformed."""
    from ..engines.server.delivery import Malformed

    topk = reply.get("topk") if isinstance(reply, dict) else None
    if not isinstance(topk, list) or not all(
        isinstance(hit, dict) and isinstance(hit.get("text"), str) for hit in topk
    ):
        raise Malformed("expected topk, a list of objects with a text")
    return [hit["text"].encode("utf-8", "replace").decode() for hit in topk[:k]]

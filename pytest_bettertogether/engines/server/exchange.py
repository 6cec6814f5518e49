"""One HTTP exchange under limits: seconds and bytes in all, no other address, and words for each failure."""

import asyncio
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ...pipeline.errors import BackendError
from ...pipeline.inert_text import plain
from ..kinds import MIB, ServerOptions, is_local

OVERSIZED_RETRIES = 1
"""How often a request is repeated whose reply was too large: each of them costs as much as many others."""


class Failed(Exception):  # noqa: N818 - told in a BackendError
    """A request came to nothing.

    Args:
        cause: What happened; equal causes are counted together.
        detail: What this one failure adds, the remedy for instance; it follows the cause in an error's text.
        retries: How often such a request is worth repeating; None leaves that to the engine's arguments.
        retry_after: Seconds that the server asks to wait before the next request.
    """

    def __init__(
        self, cause: str, detail: str = "", retries: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{cause}{detail}")
        self.cause, self.detail, self.retries, self.retry_after = cause, detail, retries, retry_after


class Key(httpx2.Auth):
    """The key for a server, read from an environment variable; empty where that is not set.

    No variable of any frame holds it as text, so that no traceback can show it: it stands in this object, which shows
    nothing of itself, and in the header of a request under way. `Exchange` lets no frame of the HTTP client out.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self._text = os.environ.get(variable, "")
        if not all("!" <= character <= "~" for character in self._text):
            raise BackendError(
                f"the key in the environment variable {variable} holds a blank, a line break or a letter beyond ASCII, "
                "which no HTTP header can carry: set it again, without what was copied along with it"
            )

    def __repr__(self) -> str:
        return f"<the key in {self.variable}>"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put the key, if there is one, into the header of a request."""
        if self._text:
            request.headers["authorization"] = f"Bearer {self._text}"
        yield request

    def hidden_in(self, text: str) -> str:
        """Return the text without the key, which a careless server may say back."""
        return text.replace(self._text, "***") if self._text else text


@dataclass(frozen=True)
class Reply:
    """What a server answered: the HTTP status, the header Retry-After, and the body, decompressed."""

    status: int
    retry_after: str
    body: bytes


class Exchange:
    """The connections to one server."""

    def __init__(
        self, url: str, options: ServerOptions, key: httpx2.Auth | None = None, configurable: bool = True
    ) -> None:
        """Nothing is connected yet; errors name the engine's arguments where the user may set them (`configurable`).

        Raises BackendError where the proxy or certificates that the environment names are unusable.
        """
        self.timeout, self.limit = options.timeout, options.max_reply_mib * MIB
        self.configurable = configurable
        try:
            self._client = httpx2.AsyncClient(
                auth=key,
                base_url=url,
                timeout=None,  # the client's time-outs are for each read; ours is for the whole exchange
                follow_redirects=False,  # prompts go where the user pointed, and nowhere else
                # A proxy that the environment names would be asked for the server on this very machine.
                trust_env=not is_local(url),
                # Also compressed replies are read, but what is not compressed cannot grow.
                headers={"accept-encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # what a server sets would pile up
                limits=httpx2.Limits(max_connections=options.concurrency),
            )
        except (
            Exception
        ) as error:  # a proxy's URL or scheme, a missing certificate file, a missing package: there are many
            raise BackendError(
                f"the proxy or certificates that the environment names cannot be used ({plain(str(error))}): look at "
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
            ) from None

    def more(self, argument: str) -> str:
        """Return the remark that an engine's argument allows more, where the user can give one."""
        return f" (--bt-engine={argument} allows more)" if self.configurable else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, path: str, body: dict[str, Any] | None) -> Reply:
        """Post `body` as JSON, or get where there is none, and return the whole reply, whatever its status.

        Raises Failed where none came within the limits.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._send(path, body)
        except TimeoutError:
            failed = Failed(f"no whole reply within {self.timeout:g} s", self.more("timeout=SECONDS"))
        except Failed as error:
            failed = error
        except Exception as error:  # whatever the client raises, its frames hold the key: they end here
            failed = _failure(error)
        except BaseException as error:  # Ctrl-C, or pytest-timeout: it goes on, without those frames
            raise error.with_traceback(None) from None
        raise failed.with_traceback(None)

    async def _send(self, path: str, body: dict[str, Any] | None) -> Reply:
        method = "GET" if body is None else "POST"
        async with self._client.stream(method, path, json=body) as reply:
            if reply.is_redirect:
                raise _redirected(reply)
            inflate = _inflate(reply.headers.get("content-encoding", ""))
            read = bytearray()
            async for chunk in reply.aiter_raw():
                read += inflate(chunk, self.limit + 1 - len(read))
                if len(read) > self.limit:
                    raise Failed(
                        f"a reply of more than {self.limit // MIB} MiB",
                        self.more("max_reply_mib=N"),
                        OVERSIZED_RETRIES,
                    )
            return Reply(reply.status_code, reply.headers.get("retry-after", ""), bytes(read))


def _inflate(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what decompresses a chunk to so many bytes at most: a bomb is never unpacked whole."""
    if encoding.strip().lower() in ("", "identity"):
        return lambda chunk, _room: chunk
    if encoding.strip().lower() not in ("gzip", "deflate"):
        raise Failed("a compressed reply", f" in the encoding {plain(encoding)!r}, though none was asked for")
    decompressor = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it is

    def inflated(chunk: bytes, room: int) -> bytes:
        try:
            return decompressor.decompress(chunk, room)
        except zlib.error:
            raise Failed("a compressed reply", " that is damaged") from None

    return inflated


def _redirected(reply: httpx2.Response) -> Failed:
    """Return the failure of a redirect, which names where it leads without what a query may hold."""
    try:
        target = urlsplit(str(reply.url.join(reply.headers["location"])))
        port = f":{target.port}" if target.port else ""
        shown = plain(f"{target.scheme}://{target.hostname}{port}{target.path}")
    except (ValueError, httpx2.InvalidURL):
        shown = "an address that is none"
    return Failed(
        f"a redirect to {shown}",
        f" (HTTP {reply.status_code}), which is not followed, for nothing is sent to another address than the one "
        "you named: name the one that you mean",
        retries=0,
    )


def _failure(error: Exception) -> Failed:
    """Return why a request got no reply, with what to do about it."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failed(
                "its TLS certificate is not trusted",
                f" ({plain(cause.verify_message)}): name the file of the authority that signed it in the environment "
                "variable SSL_CERT_FILE",
                retries=0,
            )
        if isinstance(cause, ssl.SSLError):
            if cause.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"):
                return Failed("it does not speak TLS at this port", ": write http:// in place of https://", retries=0)
            return Failed("TLS failed", f" ({plain(cause.reason or str(cause))})")
        if isinstance(cause, ConnectionRefusedError):
            return Failed("the connection was refused", " (is the server running, and is this its port?)")
        if isinstance(cause, socket.gaierror):
            return Failed("there is no such host", " (is its name spelt right, and is there a network?)")
        if isinstance(cause, httpx2.ProxyError):
            return Failed("the proxy refused", f" ({plain(str(cause))}): look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY")
        if isinstance(cause, httpx2.RemoteProtocolError):
            return _unreadable(str(cause))
        if isinstance(cause, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
            return Failed(
                "a request that cannot be sent", f" ({plain(str(cause))}): is the URL spelt right?", retries=0
            )
    return Failed(
        "the connection failed or was cut",
        f" ({type(error).__name__}; a server that speaks nothing but TLS wants https://)",
    )


def _unreadable(complaint: str) -> Failed:
    """Return the failure of a reply that is no HTTP, by the client's words for it."""
    if "disconnected without" in complaint:
        return Failed(
            "the connection was closed before a reply", " (a server that speaks nothing but TLS wants https://)"
        )
    if "too long" in complaint or "too large" in complaint:
        return Failed("a reply whose headers are too large", f" ({plain(complaint)})", OVERSIZED_RETRIES)
    if "incomplete" in complaint or "closed connection" in complaint:
        return Failed("a reply that was cut short")
    return Failed("a reply that is no HTTP", f" ({plain(complaint)}; is it https:// in place of http://?)")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk an error, those of a group of attempts, and what each was raised from; the inmost first."""
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from _causes(inner)
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _causes(member)
    yield error

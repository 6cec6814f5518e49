"""Requests to a server that may fail: so many at a time, each repeated until it is answered or that is hopeless."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from random import Random
from time import monotonic, time
from typing import Any, TypeVar

from ...pipeline.errors import BackendError
from ...pipeline.inert_text import plain
from ..kinds import ServerOptions
from .exchange import Exchange, Failed, Key, Reply

T = TypeVar("T")

REPEATABLE = (408, 409, 425, 429)
"""HTTP statuses below 500 that may be gone the next time."""

NOT_IMPLEMENTED = 501
"""The HTTP status from 500 on that no repetition changes."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds to pause at most before the second attempt, and before any, unless the server asks for more."""


class Malformed(Failed):
    """A reply that is no answer, as `detail` says."""

    def __init__(self, detail: str) -> None:
        super().__init__("a reply that is no answer", f": {detail}")


class Refused(Exception):  # noqa: N818 - told in a BackendError
    """The server understood the request and will not do it.

    `code` is the server's own short name of the reason, where it gives one, and `text` its words.
    """

    def __init__(self, status: int, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.code = status, text, code


class _StoppedError(Exception):
    """Another request has failed for good, and this one is not repeated."""


class Delivery:
    """What is sent to one server, and what became of it.

    `waits` hears of each wait before a repetition: its seconds, and why. It may raise to end the waiting.
    """

    def __init__(self, exchange: Exchange, options: ServerOptions, where: str, key: Key | None = None) -> None:
        """`where` names the server in errors, from which the key is kept out."""
        self.exchange, self.options, self.where, self.key = exchange, options, where, key
        self.waits: Callable[[float, str], None] = lambda _seconds, _why: None
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self._not_before = 0.0
        self._stopping = False
        self._random = Random()  # when a request is repeated changes no result

    async def all(self, requests: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run the requests in their order, `concurrency` at once.

        Once one raises no other begins, and those under way are not repeated; but their replies, which are
        paid for, are waited for.
        """
        left = iter(requests)
        self._stopping = False

        async def work() -> None:
            for request in left:  # shared: each worker takes the next
                if self._stopping:
                    return
                try:
                    await request()
                except BaseException:  # Ctrl-C too: whatever it was goes on, and no other request begins
                    self._stopping = True
                    raise

        workers = [asyncio.create_task(work()) for _ in range(min(self.options.concurrency, len(requests)))]
        try:
            done = (await asyncio.wait(workers))[0] if workers else set()
        finally:  # Ctrl-C waits for nothing
            self._stopping = False
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        faults = [error for worker in done if (error := worker.exception())]
        for fault in sorted(faults, key=lambda error: isinstance(error, _StoppedError)):
            raise fault

    async def ask(
        self,
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], T],
        parse: Callable[[str], Any] | None = None,
        retries: int | None = None,
    ) -> T:
        """Post `body`, or get where there is none, and return what `read` makes of the parsed reply.

        Args:
            path: Where to ask, below the server's URL.
            body: What is posted as JSON.
            read: Raises Failed, as a rule Malformed, for what is no answer.
            parse: Makes of the reply's text what is read; JSON unless told otherwise.
            retries: How often the request may be repeated, in place of what the engine's arguments say.

        Raises:
            Refused: for what no repetition would change.
            BackendError: where repeating has come to its end.
        """
        attempt, waited = 0, 0.0
        while True:
            await asyncio.sleep(max(0.0, self._not_before - monotonic()))
            try:
                text = self._accepted(await self.exchange.ask(path, body))
                answer = read((parse or _json)(text))
            except Failed as error:
                failed = error
            else:
                self.answered += 1
                return answer
            attempt += 1
            self._count(failed, attempt, self.options.retries if retries is None else retries)
            pause = self._random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)))
            wait = max(pause, failed.retry_after or 0.0)
            waited += wait
            if waited > self.options.max_wait:
                raise BackendError(
                    f"{self.where} asks to be left alone for {wait:.0f} s ({failed.cause}), and a request waits "
                    f"{self.options.max_wait:g} s in all{self.exchange.more('max_wait=SECONDS')}; {self._tally()}"
                )
            self.waits(wait, failed.cause)
            if failed.retry_after:  # all requests wait: the server is overloaded
                self._not_before = max(self._not_before, monotonic() + wait)
            else:
                await asyncio.sleep(wait)

    def hidden(self, text: str) -> str:
        """Return a server's words as one line without the key."""
        return plain(self.key.hidden_in(text) if self.key else text)

    def _accepted(self, reply: Reply) -> str:
        """Return the text of a reply that accepts the request. Raises Failed or Refused for any other."""
        if not 200 <= reply.status < 300:
            said, code = _complaint(reply.body)
            said = self.hidden(said)
            hopeless = reply.status not in REPEATABLE and reply.status < 500
            if hopeless or reply.status == NOT_IMPLEMENTED or code == "insufficient_quota":
                raise Refused(reply.status, said, code)
            raise Failed(f"HTTP {reply.status}", f" ({said})" if said else "", retry_after=_seconds(reply.retry_after))
        try:
            return reply.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Malformed("it is no text in UTF-8") from None

    def _count(self, failed: Failed, attempt: int, retries: int) -> None:
        """Count a failure. Raises BackendError if that was one too many."""
        self.faults[failed.cause] += 1
        if self._stopping:
            raise _StoppedError
        last = self.key.hidden_in(str(failed)) if self.key else str(failed)
        if attempt > (retries if failed.retries is None else min(retries, failed.retries)):
            if attempt == 1:
                raise BackendError(f"{self.where} did not answer a request: {last}")
            raise BackendError(
                f"{self.where} did not answer a request in {attempt} attempts, the last: {last}; {self._tally()}"
            )
        if sum(self.faults.values()) > self.options.errors + self.answered:
            raise BackendError(
                f"{self.where} fails too often: {self._tally()}, the last: {last}; "
                f"{self.options.errors} more than were answered are let pass{self.exchange.more('errors=N')}"
            )

    def _tally(self) -> str:
        causes = ", ".join(f"{count} x {cause}" for cause, count in self.faults.most_common(8))
        return f"of {self.answered + sum(self.faults.values())} requests failed: {causes}"


def _json(text: str) -> Any:
    """Return what a text of JSON says. Raises Malformed for one that is none, or too deep to be read."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError:
        raise Malformed(f"it is no JSON but begins {text[:40]!r}" if text else "it is empty") from None
    except RecursionError:
        raise Malformed("its JSON is too deep to be read") from None


def _no_number(name: str) -> Any:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


def _complaint(body: bytes) -> tuple[str, str]:
    """Return a server's words for why it will not, and its short name of the reason; each may be empty."""
    text = body.decode("utf-8", "replace")
    try:
        said = _json(text)
    except Malformed:
        return text, ""
    error = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(error, dict):
        return (error, "") if isinstance(error, str) else (text, "")
    message = next((error[name] for name in ("message", "detail") if isinstance(error.get(name), str)), text)
    return message, str(error.get("code", ""))[:100]


def _seconds(retry_after: str) -> float | None:
    """Return the seconds that Retry-After asks to wait, given as such or as a date; None if it cannot be read."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except (ValueError, TypeError, OverflowError, IndexError):  # what the standard library's reader raises for dates
        return None

"""Requests to a server that may fail: so many at a time, each repeated until it is answered or that is hopeless."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from email.utils import parsedate_to_datetime
from random import Random
from time import monotonic, time
from typing import Any, TypeVar

import openai

from ...pipeline.errors import BackendError
from ..kinds import ServerOptions

T = TypeVar("T")

AGAIN = (408, 409, 425, 429)
"""HTTP states below 500 that may be gone the next time."""

FIRST, LONGEST = 0.5, 30.0
"""Seconds to wait at most before the second attempt, and before any."""

ASKED = 600.0
"""The longest wait, in seconds, that a server's Retry-After is given."""


class Malformed(Exception):  # noqa: N818 - told in a BackendError
    """A reply that is no answer."""


class Refused(Exception):  # noqa: N818 - told in a BackendError
    """The server understood the request and will not do it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class _StoppedError(Exception):
    """Another request has failed for good, and this one is not repeated."""


class Delivery:
    """What is sent to one server, and what became of it."""

    def __init__(self, client: openai.AsyncOpenAI, options: ServerOptions, where: str, secret: str) -> None:
        """`where` names the server in errors, from which `secret` is kept out."""
        self.client, self.options, self.where, self.secret = client, options, where, secret
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self._not_before = 0.0
        self._stopping = False
        self._random = Random()  # when a request is repeated changes no result

    async def all(self, requests: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Run them in order of their coming, `concurrency` at once.

        Once one raises no other begins, and those under way are not repeated; but their replies, which are
        paid for, are waited for.
        """
        left = iter(requests)
        self._stopping = False

        async def work() -> None:
            for request in left:  # shared: each takes the next
                if self._stopping:
                    return
                try:
                    await request()
                except BaseException:  # Ctrl-C too: whatever it was goes on, and no other request begins
                    self._stopping = True
                    raise

        workers = [asyncio.create_task(work()) for _ in range(self.options.concurrency)]
        try:
            done, _ = await asyncio.wait(workers)
        finally:  # Ctrl-C waits for nothing
            self._stopping = False
            for each in workers:
                each.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        faults = [error for each in done if (error := each.exception())]
        for fault in sorted(faults, key=lambda error: isinstance(error, _StoppedError)):
            raise fault

    async def ask(
        self,
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], T],
        parse: Callable[[str], Any] = json.loads,
        retries: int | None = None,
    ) -> T:
        """Post `body` (or get, without one) and return what `read` makes of the reply, parsed.

        `read` raises Malformed, KeyError, IndexError, TypeError or ValueError for what is no answer. Raises
        Refused for what no repetition would change, and BackendError where repeating has come to its end.
        """
        attempt = 0
        while True:
            await asyncio.sleep(max(0.0, self._not_before - monotonic()))
            try:
                text = await self._send(path, body)
            except openai.APIError as error:
                cause, wait = self._cause(error), _retry_after(error)
            else:
                try:
                    answer = read(parse(text))
                except (Malformed, KeyError, IndexError, TypeError, ValueError):
                    cause, wait = "a reply that is no answer", None
                else:
                    self.answered += 1
                    return answer
            attempt += 1
            self._failed(cause, attempt, self.options.retries if retries is None else retries)
            if wait is not None:
                if wait > ASKED:
                    raise BackendError(f"{self.where} asks to be left alone for {wait:.0f} s ({cause}); {self._told()}")
                self._not_before = max(self._not_before, monotonic() + wait)  # of all requests: it is overloaded
            await asyncio.sleep(self._random.uniform(0, min(LONGEST, FIRST * 2 ** (attempt - 1))))

    async def _send(self, path: str, body: dict[str, Any] | None) -> str:
        if body is None:
            return await self.client.get(path, cast_to=str)
        return await self.client.post(path, body=body, cast_to=str)

    def _cause(self, error: openai.APIError) -> str:
        """Why a request failed. Raises Refused where it would fail again."""
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            if (status not in AGAIN and status < 500) or error.code == "insufficient_quota":
                raise Refused(status, self._clean(error.message)) from None
            return f"HTTP {status}"
        return "no reply in time" if isinstance(error, openai.APITimeoutError) else "a connection failed or cut"

    def _failed(self, cause: str, attempt: int, retries: int) -> None:
        """Count it. Raises BackendError if that was one too many."""
        self.faults[cause] += 1
        failed = sum(self.faults.values())
        if self._stopping:
            raise _StoppedError
        if attempt > retries:
            raise BackendError(
                f"{self.where} did not answer a request in {attempt} attempts, the last: {cause}; {self._told()}"
            )
        if failed > self.options.errors + self.answered:
            raise BackendError(
                f"{self.where} fails too often: {self._told()}; "
                f"{self.options.errors} more than were answered are let pass (--bt-engine=errors=N)"
            )

    def _told(self) -> str:
        causes = ", ".join(f"{count} x {cause}" for cause, count in self.faults.most_common())
        return f"of {self.answered + sum(self.faults.values())} requests failed: {causes}"

    def _clean(self, text: str) -> str:
        text = re.sub(r"^Error code: \d+ - ", "", text)  # the client's words; the state is told beside it
        return text.replace(self.secret, "***") if self.secret else text


def _retry_after(error: openai.APIError) -> float | None:
    """Seconds that the server asks to wait, given as such or as a date; None if it says nothing that can be read."""
    if not isinstance(error, openai.APIStatusError):
        return None
    text = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return None

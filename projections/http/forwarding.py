"""How one worker asks another: with which headers, and what may come of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from yarl import URL

from projections.http.problems import HttpProblem, NotNow

log = logging.getLogger(__name__)

HOP = "X-Hop"
"""Says that a worker asks, and which table of each projection is to answer: `orders=orders-2,..`, or nothing."""
SEEN = "X-Control-Offset"
"""How far a worker that asks, or that cannot do as it is told, has read the orders."""
HOP_SECONDS = 5.0
MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that one worker reads of another."""
HANDED_BACK = ("ETag", "Vary", "Cache-Control", "Retry-After", "Position", "Sequence")
"""The headers of an owner's answer that are part of it, whoever hands it on."""
VARY = {"Vary": "Accept"}
"""Of what comes as JSON or as a stream of events, as it is asked for."""
SELDOM_SECONDS = 10.0
"""The same is said so often of what may fail with every query."""

Tables = Mapping[str, str]
"""The table that answers, by projection."""


class Seldom:
    """Says the same at most once in a while: it may be the same for a thousand queries a second."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def warn(self, text: str, *parts: str) -> None:
        """Log it, if it was not just said."""
        said, now = text % parts, time.monotonic()
        self._said = {it: at for it, at in self._said.items() if now < at + SELDOM_SECONDS}
        if said not in self._said:
            self._said[said] = now
            log.warning("%s", said)


seldom = Seldom()


class Behind(NotNow):
    """The worker that was asked knows of a newer table, and by now this one does too."""


class OldTable(HttpProblem):
    """503: the asking worker names a table that is not active any more.

    `offset` is how far it must read the control topic before it asks again.
    """

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(503, "Not now", detail, {SEEN: str(offset)})


class Busy(NotNow):
    """As many wait here, or at the worker that was asked, as may."""


class BadAnswer(Exception):
    """Another worker has answered what no worker answers; the message says what, for the log."""


class WorkerRequest:
    """A request to `worker`, as problems name it; what goes wrong on the way is `NotNow`.

    The path is sent as it is, so that every worker reads the same ids in it, and a redirect is not followed. Where the
    worker is goes to the log, and not into an answer.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: dict[str, str],
        seconds: float | None,
        worker: str,
    ) -> None:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=HOP_SECONDS)
        self._request = session.request(
            method, URL(url, encoded=True), headers=headers, timeout=timeout, allow_redirects=False
        )
        self._url = url
        self._worker = worker

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._not_now(error) from None

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        await self._request.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError | TimeoutError | BadAnswer):
            raise self._not_now(error) from None

    def _not_now(self, error: BaseException) -> NotNow:
        seldom.warn("%s, at %s: %s", self._worker, str(URL(self._url, encoded=True).origin()), repr(error))
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ServerDisconnectedError():
                return NotNow(f"{self._worker} cannot be reached")
            case TimeoutError():
                return NotNow(f"{self._worker} has not answered in time")
            case _:
                return NotNow(f"{self._worker} has broken off")


def new_session(timeout: aiohttp.ClientTimeout | None = None, most: int = 0) -> aiohttp.ClientSession:
    """For asking other workers, without cookies. Where all connections are for the same, there are at most so many of
    them; else those who wait for long would be in the way of the others."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout or aiohttp.ClientTimeout(),
    )


async def read_answer(response: aiohttp.ClientResponse) -> bytes:
    """The body of another worker's answer. Raises `BadAnswer` when it is too large, and what aiohttp raises."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > MOST_ANSWER:
            raise BadAnswer(f"an answer of more than {MOST_ANSWER} bytes")
    return bytes(body)


def passed_on(request: Any, names: Sequence[str]) -> dict[str, str]:
    """Those headers of a request, each as one. Bytes that are no UTF-8, which aiohttp would not send, are of no use."""
    found = {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}
    return {name: value.encode(errors="replace").decode() for name, value in found.items()}


def worker_of(partitions: Sequence[int]) -> str:
    """How a problem names another worker, by what it has: its address is nobody's business."""
    if len(partitions) == 1:
        return f"the worker that has partition {partitions[0]}"
    return f"the worker that has partitions {', '.join(map(str, partitions[:3]))}{' ..' if partitions[3:] else ''}"


def read_seen(headers: Mapping[str, str]) -> int | None:
    """How far another worker has read the orders, if it says so."""
    text = headers.get(SEEN, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def hop(tables: Tables) -> dict[str, str]:
    """The header with which a worker asks another."""
    return {HOP: ",".join(f"{name}={table}" for name, table in tables.items()) or "1"}

"""One worker asks another: the headers, the request, and what can go wrong."""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from projections.http.problems import HttpProblem, NotNow
from streams.runtime.log_lines import RateLimit

HOP = "X-Hop"
"""The asker is a worker, and wants these tables to answer: `orders=orders-2,..`, or `1` where it names none."""
SEEN = "X-Control-Offset"
"""How far a worker has read the control topic: the asker, or one that refuses the tables of the asker."""
DIGEST = "X-Hop-Digest"
"""The SHA-256 of the body that a worker sends to another."""
HOP_SECONDS = 5.0
MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that one worker reads of another."""
HANDED_BACK = ("ETag", "Vary", "Cache-Control", "Retry-After", "Position", "Sequence", "Location")
"""The headers of an owner's answer that are part of it, whoever hands it on."""
VARY = {"Vary": "Accept"}
"""Of a path that answers with JSON or with a stream of events."""
SELDOM_SECONDS = 10.0

Tables = Mapping[str, str]
"""By projection the table that answers."""


seldom = logging.getLogger(f"{__name__}.seldom")
"""Logs the same text once in `SELDOM_SECONDS`."""
seldom.addFilter(RateLimit(SELDOM_SECONDS, logging.LogRecord.getMessage))


class Behind(NotNow):
    """The worker that was asked knows of a newer active table, and by now this one does, too."""


class OldTable(HttpProblem):
    """503: the asking worker names a table that is not active any more.

    `offset` is how far it must read the control topic before it asks again.
    """

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(503, "Not now", detail, {SEEN: str(offset)})


class Busy(NotNow):
    """As many requests wait here, or at the worker that was asked, as may."""


class BadAnswer(Exception):
    """Another worker has answered something that no worker answers. The message is for the log."""


@asynccontextmanager
async def worker_request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: dict[str, str],
    *,
    seconds: float | None,
    worker: str,
    body: bytes | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a request to another worker, which problems call `worker`. Raises `NotNow` for whatever goes
    wrong, also while the answer is read.

    The path is sent as it came, so that every worker reads the same ids in it. Redirects are not followed. The address
    of the worker is logged, and in no answer.
    """
    asked, timeout = URL(url, encoded=True), aiohttp.ClientTimeout(total=seconds, sock_connect=HOP_SECONDS)
    try:
        async with session.request(
            method, asked, headers=headers, data=body, timeout=timeout, allow_redirects=False
        ) as response:
            yield response
    except (aiohttp.ClientError, TimeoutError, BadAnswer) as error:
        seldom.warning("%s, at %s: %s", worker, str(asked.origin()), repr(error))
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ServerDisconnectedError():
                raise NotNow(f"{worker} cannot be reached") from None
            case TimeoutError():
                raise NotNow(f"{worker} has not answered in time") from None
            case _:
                raise NotNow(f"{worker} has broken off") from None


def digest_of(body: bytes | bytearray) -> str:
    """What `DIGEST` is of a body."""
    return hashlib.sha256(body).hexdigest()


def new_session(
    timeout: aiohttp.ClientTimeout | None = None, most: int = 0, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """A session for asking other workers, without cookies. 0 is no limit of connections: where requests of all kinds
    share a session, long waits must not keep the others from a connection. `tls`: how workers with TLS are trusted."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most, ssl=True if tls is None else tls),
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


async def handed_on(view: Any, response: aiohttp.ClientResponse) -> Any:
    """Another worker's answer, as this one's. Raises `BadAnswer`, and what aiohttp raises."""
    body = await read_answer(response)
    headers = {name: response.headers[name] for name in HANDED_BACK if name in response.headers}
    return view.bytes(body, content_type=response.content_type, status=response.status, headers=headers)


def passed_on(request: Any, names: Sequence[str]) -> dict[str, str]:
    """These headers of a request, several of one name as one. Bytes that are no UTF-8 are replaced, as aiohttp does not
    send them."""
    headers = {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}
    return {name: value.encode(errors="replace").decode() for name, value in headers.items()}


def worker_of(partitions: Sequence[int]) -> str:
    """The name of another worker in problems, by its partitions: its address is for the log alone."""
    if len(partitions) == 1:
        return f"the worker that has partition {partitions[0]}"
    return f"the worker that has partitions {', '.join(map(str, partitions[:3]))}{' ..' if partitions[3:] else ''}"


def read_seen(headers: Mapping[str, str]) -> int | None:
    """How far another worker has read the control topic, if it says so."""
    text = headers.get(SEEN, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def hop(tables: Tables) -> dict[str, str]:
    """The header with which a worker asks another."""
    return {HOP: ",".join(f"{name}={table}" for name, table in tables.items()) or "1"}

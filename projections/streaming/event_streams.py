"""The streams of all clients of a worker: their bound, their beginning and their end.

A stream ends when the worker gives up its partitions, when another table answers, and when its client is gone or does
not read. The client then reconnects, to any worker, and says what it has seen last.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from projections.http.forwarding import HOP, HOP_SECONDS, Behind, OldTable, Tables, new_session, seldom
from projections.http.problems import NotNow
from projections.routing.query_router import QueryRouter
from projections.stores.changes import TooSlow
from projections.streaming.sse import BEAT_SECONDS, EVENT_STREAM, HEADERS, EventStream, Gone
from streams.access.principal import current
from streams.concurrency.tasks import until_one_ends
from streams.journal.port import Unavailable
from streams.runtime.web_guard import problem_response
from streams.runtime.web_server import address_of_client, most_outgoing

log = logging.getLogger(__name__)

HELD_SECONDS = 10.0
"""The time that a client waits while the worker cannot serve, as in a rebalance: a thousand clients that reconnect
again and again would be more work than all else."""
PAUSE = 0.4, 1.2
"""The range of seconds between two attempts to serve a client that waits."""
SILENT_SECONDS = 2.5 * BEAT_SECONDS
"""A worker that sends nothing for this time, not even a beat, is given up."""


def _count(streams: Mapping[EventStream, asyncio.Task[None]]) -> int:
    """The number of connected clients; the tasks of the others are cancelled. aiohttp does not say when a client
    leaves: it shows when something is sent."""
    for stream, task in streams.items():
        if not stream.is_connected:
            task.cancel()
    return sum(stream.is_connected for stream in streams)


def _seconds_left() -> float | None:
    """For so long the proof of who a client is holds; None: for ever."""
    who = current()
    return None if who is None or who.until is None else max(who.until - time.time(), 0.0)


def _client(request: Any) -> str:
    """Who a client is, or the address it comes from; empty where neither is known, or it is this machine."""
    who = current()
    return address_of_client(request) if who is None else str(who.principal)


class EventStreams:
    """Serves at most `most` streams, of one client at most `most_of_one`. Each client has `seconds` to take what is
    sent."""

    def __init__(self, doors: QueryRouter, most: int, seconds: float, most_of_one: int) -> None:
        self._doors = doors
        self._most = most
        self._most_of_one = most_of_one
        self._seconds = seconds
        self._clients: dict[EventStream, asyncio.Task[None]] = {}
        self._workers: dict[EventStream, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def count(self) -> int:
        """The clients that follow something, without those of other workers."""
        return len(self._clients)

    async def serve(self, view: Any, request: Any, work: Callable[[EventStream], Awaitable[None]]) -> Any:
        """Stream what `work` sends until it returns or raises. Work that cannot begin yet is tried again."""
        if request.method == "HEAD":
            return web.Response(headers=HEADERS)
        # A client of a list at any other worker is a stream of that worker here.
        of_worker = HOP in request.headers
        streams, most = (self._workers, self._most * self._doors.others) if of_worker else (self._clients, self._most)
        if _count(streams) >= most:
            return problem_response(503, "Too many streams", f"this worker has {most} of them: ask another")
        stream = EventStream(request, self._seconds)
        stream.client = "" if of_worker else _client(request)
        if stream.client and sum(other.client == stream.client for other in streams) >= self._most_of_one:
            return problem_response(429, "Too many streams", f"{stream.client} has {self._most_of_one} of them here")
        task = streams[stream] = asyncio.create_task(
            until_one_ends(self._begin(stream, work, streams is self._clients), stream.beat())
        )
        try:
            await asyncio.wait([task], timeout=_seconds_left())
            error = None if not task.done() or task.cancelled() else task.exception()
        finally:
            del streams[stream]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await self._ended(view, request, stream, error)

    async def _begin(self, stream: EventStream, work: Callable[[EventStream], Awaitable[None]], may_wait: bool) -> None:
        deadline = time.monotonic() + HELD_SECONDS
        while True:
            try:
                return await work(stream)
            except (NotNow, Unavailable) as error:
                pause = 0.0 if isinstance(error, Behind) else random.uniform(*PAUSE)
                if stream.is_open or not may_wait or self._is_closed or time.monotonic() + pause > deadline:
                    raise
                stream.table = None
                await asyncio.sleep(pause)

    async def _ended(self, view: Any, request: Any, stream: EventStream, error: BaseException | None) -> Any:
        match error:
            case OldTable():
                raise error
            case NotNow() | Unavailable() | TooSlow():
                log.debug("%r: the stream ends: %s", request.raw_path, error)
            case None | Gone():
                pass
            case _ if not stream.is_open:
                raise error
            case _:
                log.error("%r: the stream ends", request.raw_path, exc_info=error)
        if HOP in request.headers and not stream.is_open:
            raise error if isinstance(error, NotNow | Unavailable) else NotNow("a rebalance is under way")
        return await stream.close()

    def end(self) -> None:
        """End all streams that have begun: the partitions of this worker are about to move."""
        for stream, task in [*self._clients.items(), *self._workers.items()]:
            if stream.table is not None:
                task.cancel()

    def keep(self, tables: Collection[str | None]) -> None:
        """End the streams of other tables than these: the positions of their clients are of no use any more."""
        for stream, task in [*self._clients.items(), *self._workers.items()]:
            if stream.table is not None and stream.table not in tables:
                stream.forget = True
                task.cancel()

    @asynccontextmanager
    async def of_worker(
        self, url: str, tables: Tables, passed_on: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The stream of another worker, which is asked with the headers `passed_on`. Raises `NotNow` for whatever goes
        wrong on the way."""
        if self._session is None:
            # A session of its own: other queries must not wait for connections of streams.
            timeout = aiohttp.ClientTimeout(connect=HOP_SECONDS, sock_connect=HOP_SECONDS, sock_read=SILENT_SECONDS)
            self._session = new_session(timeout, max(most_outgoing() // 2, 1), self._doors.tls)
        headers = self._doors.signed("GET", url, {"Accept": EVENT_STREAM, **self._doors.hop(tables), **passed_on})
        try:
            async with self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
                await self._doors.raise_if_behind(response)
                if response.status != 200:
                    raise NotNow("the worker that has this cannot stream it now")
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            seldom.warning("a stream of another worker, at %s: %s", str(URL(url, encoded=True).origin()), repr(error))
            raise NotNow("the worker that has this cannot be reached, or has broken off") from None

    async def close(self) -> None:
        """End all streams for good, and disconnect."""
        self._is_closed = True
        for task in [*self._clients.values(), *self._workers.values()]:
            task.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

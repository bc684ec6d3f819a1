"""Faust's web server with bounds: on how long a request's head may take, and on how many connections are open.

aiohttp alone lets a connection that sends nothing, or a byte a minute, stand for an hour, and takes as many as come;
their descriptors are those of Kafka, Cassandra and RocksDB too.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from faust.web.drivers.aiohttp import Web as FaustWeb

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""For so long the head of a request may take, from its first byte on."""
IDLE_SECONDS = 75.0
"""A connection without a request stands for so long: longer than proxies (60 s) and our own clients (15 s) keep one."""
LINGER_SECONDS = 5.0
"""For so long the rest of a body is read that nobody wants, so that its sender sees the answer."""
MOST_CONNECTIONS = 16_384
OTHER_FILES = 1_024
SAY_AGAIN = 60.0


def most_connections() -> int:
    """How many files this process may have open (`ulimit -n`) without those of servers and tables: at least half."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(max(soft // 2, soft - OTHER_FILES), MOST_CONNECTIONS)


class Connection(web.RequestHandler):
    """One connection; one that has no request gives way when there are too many."""

    __slots__ = ("_door", "_head")

    def __init__(self, door: Connections, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._door = door
        self._head: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of a request's head."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._door.opened(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Before the first wait aiohttp has no waiter yet: then there is no message, and the timer begins a bit later.
        if not self.is_idle:
            self._end_head()
        elif self._head is None:
            self._head = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._is_slow)

    def _is_slow(self) -> None:
        self._head = None
        if self.is_idle:
            self.force_close()

    def _end_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def log_exception(self, *args: Any, **options: Any) -> None:
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError):  # its sender's fault, who could fill the log with traces
            log.info("a request that is no HTTP: %s", type(error).__name__)
        else:
            super().log_exception(*args, **options)

    def connection_lost(self, error: BaseException | None) -> None:
        self._end_head()
        self._door.closed(self)
        super().connection_lost(error)


class Connections:
    """All of a worker: at most so many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[Connection, None] = {}
        self._said = float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        """Take it in; the oldest one without a request gives way, and the new one where there is none."""
        self._open[connection] = None
        if len(self._open) > self.most:
            self._say()
            victim = next((it for it in self._open if it.is_idle), connection)
            victim.force_close()
            self._open.pop(victim, None)

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._open.pop(connection, None)

    def _say(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said >= SAY_AGAIN:
            self._said = now
            log.warning("%d connections are open, the most there may be: the oldest idle ones are closed", self.most)


class _Server(web.Server):
    def __init__(self, door: Connections, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._door = door

    def __call__(self) -> Connection:
        return Connection(self._door, self, loop=asyncio.get_running_loop(), **_OPTIONS)


_OPTIONS: Any = {"access_log": None, "keepalive_timeout": IDLE_SECONDS, "lingering_time": LINGER_SECONDS}


class Runner(web.AppRunner):
    """Serves with connections of ours."""

    __slots__ = ("_door",)

    def __init__(self, app: web.Application, door: Connections) -> None:
        super().__init__(app, **_OPTIONS)
        self._door = door

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(self._door, made.request_handler, request_factory=made.request_factory)


class Web(FaustWeb):  # type: ignore[misc]
    """Faust's, with these bounds."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.connections = Connections(most_connections())
        self._runner = Runner(self.web_app, self.connections)

"""Faust's web server with bounds: how long the head of a request may take, how long its answer, and how many are open.

aiohttp alone lets a connection that sends nothing, or a byte a minute, stand for an hour, keeps an answer that nobody
takes for as long as one likes, and takes as many connections as come; their descriptors are those of Kafka, Cassandra
and RocksDB too.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from faust.web.drivers.aiohttp import Web as FaustWeb

from streams.notices import warn
from streams.runtime.log_lines import RateLimit
from streams.runtime.web_guard import problem_response

log = logging.getLogger(__name__)
log.addFilter(RateLimit(60.0))

HEAD_SECONDS = 10.0
"""For so long the head of a request may take, from its first byte on."""
IDLE_SECONDS = 75.0
"""A connection without a request stands for so long: longer than proxies (60 s) and our own clients (15 s) keep one."""
LINGER_SECONDS = 5.0
"""For so long the rest of a body is read that nobody wants, so that its sender sees the answer."""
STALL_SECONDS, STALL_BYTES, MUCH = 15.0, 64 * 1024, 256 * 1024
"""Of what is unsent the client takes something in so many seconds, so many bytes if it is `MUCH`, or it is closed."""
LOOKS = 5
"""So often within that time one looks."""
MOST_CONNECTIONS = 16_384
ONE_NETWORK = 64
"""Bits of an IPv6 address by which connections are counted."""
OTHER_FILES = 1_024
NO_HTTP = "the request cannot be read as HTTP"


def most_connections() -> int:
    """How many files this process may have open (`ulimit -n`) without those of servers and tables: at least half."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(max(soft // 2, soft - OTHER_FILES), MOST_CONNECTIONS)


def most_outgoing() -> int:
    """How many connections to other workers may stand for long: half of what is left beside those that come in."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max((soft - most_connections()) // 2, 1)


@contextmanager
def cancelled_with_client(request: Any) -> Iterator[None]:
    """While inside, the task that asks is cancelled when the client of a request has gone."""
    connection, task = getattr(request, "protocol", None), asyncio.current_task()
    if not isinstance(connection, Connection) or task is None:
        yield
        return
    if connection.transport is None:
        task.cancel()
    connection.waiting = task
    try:
        yield
    finally:
        connection.waiting = None


class Connection(web.RequestHandler):
    """One connection; one that has no request, or takes nothing, gives way when there are too many."""

    __slots__ = ("_door", "_head", "_stall", "_waits", "address", "waiting")

    def __init__(self, door: OpenConnections, manager: web.Server, **options: Any) -> None:
        self._door = door
        self.address = ""
        """Where it comes from; empty for this machine, on which a proxy may stand for many."""
        self.waiting: asyncio.Task[Any] | None = None
        """What is of no use any more when the client has gone."""
        super().__init__(manager, **options)
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    @property
    def _waiter(self) -> asyncio.Future[None] | None:
        """aiohttp's: there while it waits for a request."""
        return self._waits

    @_waiter.setter
    def _waiter(self, waiter: asyncio.Future[None] | None) -> None:
        self._waits = waiter
        if waiter is None:
            self._door.idle.pop(self, None)
        else:
            self._door.idle[self] = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of a request's head."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # An answer is done with when all of it is sent: so whoever takes nothing has a request, and is watched.
        transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]
        self.address = _address_of(transport)
        self._door.opened(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Before the first wait aiohttp has no waiter yet: then there is no message, and the timer begins a bit later.
        if not self.is_idle:
            self._door.idle.pop(self, None)
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

    def pause_writing(self) -> None:
        # With TLS uvloop also says so with nothing unsent, and may not say when it is over: nobody fails to take it.
        if self.transport is not None and not self.transport.get_write_buffer_size():
            return
        super().pause_writing()
        self._end_stall()
        if self.transport is not None:
            self._look_later(self.transport, 0, None, None)

    def resume_writing(self) -> None:
        self._end_stall()
        if self._paused:
            super().resume_writing()

    def _look_later(self, *state: Any) -> None:
        self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS / LOOKS, self._look, *state)

    def _look(self, transport: asyncio.Transport, looks: int, first: int | None, before: int | None) -> None:
        """`first` was unsent when its time began, `before` at the last look."""
        unsent = transport.get_write_buffer_size()
        if not unsent:
            self.resume_writing()
            return
        if before is None or unsent < before:
            self._door.stalled.pop(self, None)
        else:
            self._door.stalled.setdefault(self)
        if first is None or looks == LOOKS:
            if first is not None and (first <= unsent or (unsent > MUCH and first - unsent < STALL_BYTES)):
                transport.abort()
                return
            looks, first = 0, unsent
        self._look_later(transport, looks + 1, first, unsent)

    def _end_stall(self) -> None:
        self._door.stalled.pop(self, None)
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP, or is too long, is a problem as all others that a client may cause."""
        answer = super().handle_error(request, status, exc, message)
        if not isinstance(exc, HttpProcessingError):
            return answer
        detail = "the first line of the request, or a header, is too long" if isinstance(exc, LineTooLong) else NO_HTTP
        answer = problem_response(status, "Bad request", detail)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **options: Any) -> None:
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError):  # its sender's fault, who could fill the log with traces
            log.info("a request that is no HTTP: %s", type(error).__name__)
        else:
            super().log_exception(*args, **options)

    def connection_lost(self, error: BaseException | None) -> None:
        self._end_head()
        self._end_stall()
        self._door.closed(self)
        if self.waiting is not None:
            self.waiting.cancel()
        super().connection_lost(error)


def _address_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end; empty for this machine. Of IPv6 the network of 64 bits: one customer has at least
    that many addresses."""
    peer = transport.get_extra_info("peername")
    try:
        address = ip_address(str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else "")
    except ValueError:  # a socket of this machine
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return ""
    return str(address if address.version == 4 else ip_network((address, ONE_NETWORK), strict=False))


def address_of_client(request: Any) -> str:
    """The address that a request comes from; empty for this machine."""
    return str(getattr(request.protocol, "address", ""))


class OpenConnections:
    """All of a worker: at most so many, and of one address at most `most_of_one`."""

    def __init__(self, most: int, most_of_one: int = MOST_CONNECTIONS) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._by_address: dict[str, dict[Connection, None]] = {}
        self.idle: dict[Connection, None] = {}
        """Those without a request, the one first that has none for longest."""
        self.stalled: dict[Connection, None] = {}
        """Those with something unsent of which nothing was taken of late, likewise."""
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        """Take it in; one without a request gives way, else one that takes nothing, and the new one where all work."""
        self._open[connection] = None
        if connection.address:
            self._of_one(connection, self._by_address.setdefault(connection.address, {}))
        if len(self._open) > self.most:
            text = "%d connections are open, the most there may be: the oldest idle ones are closed"
            warn(log, "connections-full", "", text, self.most)
            self._close(next(chain(self.idle, self.stalled), connection))

    def _of_one(self, connection: Connection, of_one: dict[Connection, None]) -> None:
        of_one[connection] = None
        if len(of_one) > self.most_of_one:
            address, text = connection.address, "%s has %d connections, the most there may be of one"
            warn(log, "client-connections", address, text, address, self.most_of_one)
            self._close(next((each for each in of_one if each.is_idle or each in self.stalled), connection))

    def _close(self, victim: Connection) -> None:
        if victim in self.stalled and victim.transport is not None:
            victim.transport.abort()
        victim.force_close()
        self.closed(victim)

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        if (of_one := self._by_address.get(connection.address)) is not None:
            of_one.pop(connection, None)
            if not of_one:
                del self._by_address[connection.address]
        for connections in (self._open, self.idle, self.stalled):
            connections.pop(connection, None)


class _Server(web.Server):
    def __init__(self, door: OpenConnections, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._door = door

    def __call__(self) -> Connection:
        return Connection(self._door, self, loop=asyncio.get_running_loop(), **_OPTIONS)


_OPTIONS: Any = {"access_log": None, "keepalive_timeout": IDLE_SECONDS, "lingering_time": LINGER_SECONDS}


class Runner(web.AppRunner):
    """Serves with connections of ours."""

    __slots__ = ("_door",)

    def __init__(self, app: web.Application, door: OpenConnections) -> None:
        super().__init__(app, **_OPTIONS)
        self._door = door

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(self._door, made.request_handler, request_factory=made.request_factory)


class Web(FaustWeb):  # type: ignore[misc]
    """Faust's, with these bounds."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.connections = OpenConnections(most_connections(), app.settings.http_client_connections)
        self._runner = Runner(self.web_app, self.connections)
        self.web_app.on_response_prepare.append(app.guard.tell_browsers)

    def _wrap_into_asyncdef(self, handler: Any) -> Any:
        """As Faust does, with the view to be found by middlewares."""
        dispatch = super()._wrap_into_asyncdef(handler)
        dispatch.view = handler
        return dispatch

    def _new_transport_tcp(self) -> web.BaseSite:
        conf = self.app.conf
        return TlsSite(self._runner, conf.web_bind, conf.web_port, ssl_context=conf.web_ssl_context)


class TlsSite(web.TCPSite):
    """Gives a handshake as long as the head of a request, and a farewell as long as an answer that nobody reads."""

    async def start(self) -> None:
        if self._ssl_context is None:
            return await super().start()
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=HEAD_SECONDS,
            ssl_shutdown_timeout=LINGER_SECONDS,
            backlog=self._backlog,
            reuse_address=self._reuse_address,
            reuse_port=self._reuse_port,
        )

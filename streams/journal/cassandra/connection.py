"""Connections of Cassandra's driver on the event loop that uses them.

The driver has a loop of its own, in a thread: a request woke that thread for its timer and for its bytes, and its
answer woke the worker's loop, with Python's lock handed over each time. Here the worker's loop writes and reads itself.
What else the driver does, it does in threads of its own, as before: it connects, prepares, looks after hosts and sends
again what failed. So nothing here may wait, and what these threads write goes to the loop first.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from cassandra import AuthenticationFailed
from cassandra.connection import Connection, ConnectionShutdown

from streams.journal.cassandra.errors import LoginFailed
from streams.security.handshakes import refusal

log = logging.getLogger(__name__)

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class OnLoop:
    """A loop, and the thread in which it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()

    @classmethod
    def running(cls) -> OnLoop:
        """The loop that runs now."""
        return cls(asyncio.get_running_loop())

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the loop's thread: now, if this is it. Does nothing when the loop has been closed."""
        if threading.get_ident() == self._thread:
            function(*arguments)
            return
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # it is closed, and whoever waited there has gone
            return


class Timer:
    """A timer of a request. One that is cancelled lets go of what it would have called: that keeps the request and all
    that was written."""

    def __init__(self, place: OnLoop, seconds: float, call: Callable[[], object]) -> None:
        self._place = place
        self._call: Callable[[], object] | None = call
        self._handle: asyncio.TimerHandle | None = None
        place.call(self._start, seconds)

    def _start(self, seconds: float) -> None:
        if self._call is not None:
            self._handle = self._place.loop.call_later(seconds, self._fire)

    def _fire(self) -> None:
        if (call := self._call) is not None:
            call()

    def cancel(self) -> None:
        """Called by the driver, in any thread."""
        self._call = None
        self._place.call(self._stop)

    def _stop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()


class LoopConnection(Connection):  # type: ignore[misc]
    """A connection that reads and writes on the loop of `place`. All that is written in one turn of it goes out at
    once. Its failures stay what they are, and are said."""

    place: ClassVar[OnLoop]
    is_closed: bool
    _refused: ssl.SSLError | None = None
    _said: ClassVar[set[str]] = set()
    """Of which hosts a handshake has failed, and how."""
    in_buffer_size = 64 * 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unsent: list[bytes] = []
        self._is_writing = False
        self._connect_socket()
        self._socket.setblocking(False)
        self.place.call(self._begin)
        self._send_options_message()

    @classmethod
    def factory(cls, endpoint: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return super().factory(endpoint, *arguments, **options)
        except AuthenticationFailed as error:
            # The driver would never try such a host again, and a login is refused also while the nodes that have the
            # users are down, or until a password is changed on both sides.
            raise LoginFailed(str(error), endpoint) from None

    def _initiate_connection(self, sockaddr: Any) -> None:
        try:
            super()._initiate_connection(sockaddr)
        except ssl.SSLError as error:
            self._refused = error
            raise

    def _connect_socket(self) -> None:
        try:
            super()._connect_socket()
        except OSError:
            if self._refused is None:
                raise
            # The driver's own error would not tell what is wrong. Of a host that is not the only one nobody else does.
            if (text := f"{self.endpoint}: {refusal(self._refused)}") not in self._said:
                self._said.add(text)
                log.warning("Cassandra: no TLS with %s", text)
            raise self._refused from None

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], object]) -> Timer:
        return Timer(cls.place, timeout, callback)

    def push(self, data: bytes) -> None:
        self.place.call(self._write, data)

    def close(self) -> None:
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
        if self.place.loop.is_closed():
            self._socket.close()
        else:
            self.place.call(self._end)
        if not self.is_defunct:
            closed = ConnectionShutdown(f"Connection to {self.endpoint} was closed")
            if not self.connected_event.is_set():  # whoever connects would wait for nothing
                self.last_error = closed
                self.connected_event.set()
            self.error_all_requests(closed)

    # -- on the loop -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self.is_closed:
            self.place.loop.add_reader(self._socket.fileno(), self._read)

    def _end(self) -> None:
        if (number := self._socket.fileno()) >= 0:
            self.place.loop.remove_reader(number)
            self.place.loop.remove_writer(number)
            self._socket.close()

    def _write(self, data: bytes) -> None:
        if not self._unsent:
            self.place.loop.call_soon(self._send)
        self._unsent.append(data)

    def _send(self) -> None:
        """Send what there is; the rest when there is room for it."""
        if self.is_closed or not self._unsent:
            return
        data = b"".join(self._unsent)
        try:
            sent = self._socket.send(data)
        except _NOT_NOW:
            sent = 0
        except OSError as error:
            self.defunct(error)
            return
        self._unsent = [data[sent:]] if sent < len(data) else []
        if bool(self._unsent) is not self._is_writing:
            self._is_writing = not self._is_writing
            if self._is_writing:
                self.place.loop.add_writer(self._socket.fileno(), self._send)
            else:
                self.place.loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        if self.is_closed:
            return
        try:
            data = self._socket.recv(self.in_buffer_size)
        except _NOT_NOW:
            return
        except OSError as error:
            self.defunct(error)
            return
        if not data:
            self.close()
            return
        self._iobuf.write(data)
        self.process_io_buffer()


def connection_on(place: OnLoop) -> type[LoopConnection]:
    """The class of the connections of one pool."""
    return type("Connection", (LoopConnection,), {"place": place})

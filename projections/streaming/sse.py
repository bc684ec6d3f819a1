"""Server-sent events: their form, one client that takes them, and how another worker's are read.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from projections.http.at_least import BadPositionHeader
from streams.journal.position import BadPosition, Place, Position

EVENT_STREAM = "text/event-stream"
HEADERS = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
BEAT_SECONDS = 15.0
MOST_EVENT = 64 * 1024 * 1024
"""Bytes of an event that one worker reads of another."""
END_SECONDS = 1.0
"""Seconds that the end of a stream may take to be sent."""

_RETRY = b"retry: %d\n\n"
RETRY_MS = 1_000
COME_AGAIN_MS = 1_000, 3_000
"""The range of `retry:` for clients that are sent away together, so that they do not come again together."""
_BEAT = b":\n\n"
_FORGET = b"id:\n\n"
"""The client comes again as if it had seen nothing."""
_END = b"\n\n"


class Gone(Exception):
    """The client has disconnected, or takes nothing."""


class Frame(NamedTuple):
    """One event. Data is JSON, so it is one line."""

    event: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """As it is sent."""
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id.encode(), self.event.encode(), self.data)


def wants_events(request: Any) -> bool:
    """Whether a request is for a stream."""
    kinds = request.headers.get("Accept", "").split(",")
    return any(EVENT_STREAM == kind.partition(";")[0].strip().lower() for kind in kinds)


def read_place(text: str, stream: str) -> Place:
    """The place that an `id` names in a stream. Raises `BadPositionHeader`."""
    try:
        position = Position.parse(text)
    except BadPosition:
        position = None
    if position is None or position.stream != stream:
        raise BadPositionHeader(
            f"Last-Event-ID: {text!r} is not a position like {stream}:12:0, as the id of an event says"
        )
    return position.place


class EventStream:
    """The stream of one client. A writer holds `turn` from reading a position to sending it, so that the order of what
    is sent is that of the positions. A client that takes nothing for `seconds` is sent away.
    """

    def __init__(self, request: Any, seconds: float) -> None:
        self.turn = asyncio.Lock()
        self.table: str | None = None
        """The table whose rows are sent."""
        self.forget = False
        """Whether the client is told, when the stream ends, to begin anew without `Last-Event-ID`."""
        self._request = request
        self._seconds = seconds
        self._response = web.StreamResponse(headers=HEADERS)
        self._response.force_close()  # when the worker ends, its clients are not to come again on the same connection
        self._sending = False
        self._sent = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether the status is sent already: it is too late for another one."""
        return self._response.prepared

    @property
    def is_connected(self) -> bool:
        """Whether the client is there."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing()

    async def open(self, retry: int = RETRY_MS) -> None:
        """Begin. Raises `Gone`."""
        try:
            await self._response.prepare(self._request)
        except ConnectionError as error:
            raise Gone(str(error)) from None
        await self.send(_RETRY % retry)

    async def send(self, data: bytes) -> None:
        """Send whole events, and return when the client has taken nearly all of what was sent before. Raises `Gone`."""
        self._sending = True
        try:
            async with asyncio.timeout(self._seconds):
                await self._response.write(data)
        except (ConnectionError, TimeoutError) as error:
            raise Gone(str(error)) from None
        self._sending = False
        self._sent = time.monotonic()

    async def beat(self) -> None:
        """Send a comment, for ever, when nothing else was sent for `BEAT_SECONDS`. Raises `Gone`."""
        while True:
            await asyncio.sleep(max(self._sent + BEAT_SECONDS - time.monotonic(), 0.0))
            async with self.turn:
                if time.monotonic() < self._sent + BEAT_SECONDS:
                    continue
                if self.is_open:
                    await self.send(_BEAT)
                else:
                    self._sent = time.monotonic()

    async def close(self) -> Any:
        """End the response and return it; abort the connection of a client that does not read. If nothing was sent yet,
        answer 200 with `retry:` alone: an EventSource reconnects after a 200, and gives up after an error."""
        try:
            # What waits behind a client that is stuck would wait for ever, and keep the worker from ending.
            if self._sending:
                raise Gone
            async with asyncio.timeout(END_SECONDS):
                if not self.is_open:
                    await self.open(random.randint(*COME_AGAIN_MS))
                if self.forget:
                    await self.send(_FORGET)
                await self._response.write_eof()
        except (Gone, ConnectionError, TimeoutError):
            if self._request.transport is not None:
                self._request.transport.abort()
        return self._response


class FrameReader:
    """Reads what another worker streams, whole events only."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._rest = b""

    async def read(self) -> bytes:
        """The next events as they were sent; empty at the end of the stream. Raises what aiohttp raises, and
        `ClientPayloadError` for an event that does not end."""
        while chunk := await self._content.readany():
            whole, end, rest = (self._rest + chunk).rpartition(_END)
            self._rest = rest
            if len(rest) > MOST_EVENT:
                raise aiohttp.ClientPayloadError(f"an event of more than {MOST_EVENT} bytes")
            if end:
                return whole + end
        return b""


def read_frames(data: bytes) -> Iterator[Frame]:
    """The events in what `FrameReader` has read. Comments and `retry:` are passed over."""
    for text in data.split(_END):
        fields = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line)
        if b"event" in fields:
            yield Frame(fields[b"event"].decode(), fields[b"id"].decode(), fields[b"data"])

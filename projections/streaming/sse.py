"""Server-sent events: their form, the stream to one client, and the reader of another worker's stream.

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
"""The most bytes of an event that one worker reads from another."""
END_SECONDS = 1.0
"""The seconds that the end of a stream may take to be sent."""

_RETRY = b"retry: %d\n\n"
RETRY_MS = 1_000
COME_AGAIN_MS = 1_000, 3_000
"""The range of `retry:` for clients that are sent away together, so that they do not reconnect together."""
_BEAT = b":\n\n"
_FORGET = b"id:\n\n"
"""Has the client reconnect as if it had seen nothing."""
_END = b"\n\n"


class Gone(Exception):
    """The client has disconnected, or does not read."""


class Frame(NamedTuple):
    """One event. Data is JSON, so it is one line."""

    event: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """The bytes of the event in a stream."""
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
    """The stream to one client. A writer holds `turn` from reading a position to sending it, so that positions are sent
    in order. A client that does not read for `seconds` is sent away.
    """

    def __init__(self, request: Any, seconds: float) -> None:
        self.turn = asyncio.Lock()
        self.table: str | None = None
        """The table whose rows are sent."""
        self.forget = False
        """Whether the end of the stream tells the client to begin anew, without `Last-Event-ID`."""
        self.client = ""
        """Who the client is, where that is known: see `HTTP_CLIENT_STREAMS`."""
        self._request = request
        self._seconds = seconds
        self._response = web.StreamResponse(headers=HEADERS)
        self._response.force_close()  # when the worker ends, its clients are not to come again on the same connection
        self._sending = False
        self._sent = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether the status has been sent: it is too late for another one."""
        return self._response.prepared

    @property
    def is_connected(self) -> bool:
        """Whether the client is connected."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing()

    async def open(self, retry: int = RETRY_MS) -> None:
        """Send the status and the headers. Raises `Gone`."""
        try:
            await self._response.prepare(self._request)
        except ConnectionError as error:
            raise Gone(str(error)) from None
        await self.send(_RETRY % retry)

    async def send(self, data: bytes) -> None:
        """Send whole events; returns when the client has taken nearly all that was sent before. Raises `Gone`."""
        self._sending = True
        try:
            async with asyncio.timeout(self._seconds):
                await self._response.write(data)
        except (ConnectionError, TimeoutError) as error:
            raise Gone(str(error)) from None
        self._sending = False
        self._sent = time.monotonic()

    async def beat(self) -> None:
        """Send a comment whenever nothing else was sent for `BEAT_SECONDS`, for ever. Raises `Gone`."""
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
        """End the response and return it; abort the connection of a client that does not read.

        If nothing was sent yet, the answer is 200 with `retry:` alone: an EventSource reconnects after a 200, and gives
        up after an error.
        """
        try:
            # The end of the stream of a client that is stuck would wait for ever, and keep the worker from ending.
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
    """Reads the stream of another worker, whole events only."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._rest = b""

    async def read(self) -> bytes:
        """The bytes of the next events; empty at the end of the stream. Raises the errors of aiohttp, and
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
    """The events in bytes of a `FrameReader`, without comments and `retry:`."""
    for text in data.split(_END):
        fields = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line)
        if b"event" in fields:
            yield Frame(fields[b"event"].decode(), fields[b"id"].decode(), fields[b"data"])

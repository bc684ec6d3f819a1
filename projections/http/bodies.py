"""The body of a `POST`: read within bounds, and checked; a problem names what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from faust.web import View

from projections.http.forwarding import DIGEST, HOP, digest_of
from projections.http.problems import BROKEN, BadRequest, HttpProblem

MOST_BYTES = 16 * 1024
BODY_SECONDS = 10.0
"""The body of a request may take this long."""

T = TypeVar("T")

_IS_READ = web.RequestKey("is_read", bool)
"""The body was read before, and is with the request."""

Reason = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=1_000)]
"""Why a person gives an order, for others to read."""


class Post(View):  # type: ignore[misc]
    """A view that takes POST alone; those of Faust's `app.page` take GET."""

    @classmethod
    def from_handler(cls, fun: Any) -> type:
        return type(fun.__name__, (cls,), {"post": fun, "__doc__": fun.__doc__, "__module__": fun.__module__})

    def get_methods(self) -> set[str]:
        """The methods that a route is made for."""
        return {"POST"}


class BodyBytes:
    """At most `most` bytes of bodies, of all requests in work together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0

    @contextmanager
    def of_request(self) -> Iterator[RequestBytes]:
        """The bytes of one request, given back at the end, unless they were handed on."""
        room = RequestBytes(self)
        try:
            yield room
        finally:
            room.give_back()


class RequestBytes:
    """The bytes that one request has taken."""

    def __init__(self, reserved: BodyBytes) -> None:
        self._reserved = reserved
        self.size = 0

    def take(self, size: int) -> None:
        """Take more bytes. Raises `HttpProblem` when there are none left."""
        if self._reserved.size + size > self._reserved.most:
            raise HttpProblem(503, "Not now", "Kafka is slow to take commands, or their senders are slow to send them")
        self._reserved.size += size
        self.size += size

    def give_back(self) -> None:
        """Give back all that was taken. A second call does nothing."""
        self._reserved.size -= self.size
        self.size = 0

    def hand_on(self) -> RequestBytes:
        """The same bytes, for somebody else to give back later."""
        other = RequestBytes(self._reserved)
        other.size, self.size = self.size, 0
        return other


async def read_bytes(request: Any, most: int, room: RequestBytes | None = None) -> bytes:
    """The body of a request, `most` bytes at most. Room is taken as bytes come: an announced size takes none.

    Raises `HttpProblem`.
    """
    too_large = HttpProblem(413, "Too large", f"the body has more than {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    if _IS_READ in request:
        there: bytes = await request.read()
        if len(there) > most:
            raise too_large
        return there
    body = bytearray()
    async with _coming():
        while part := await request.content.read(most + 1):
            if len(body) + len(part) > most:
                raise too_large
            if room is not None:
                room.take(len(part))
            body += part
    if HOP in request.headers and request.headers.get(DIGEST) != digest_of(body):
        raise HttpProblem(403, "Forbidden", "the body is not the one that a worker has signed")
    return bytes(body)


@asynccontextmanager
async def _coming() -> AsyncIterator[None]:
    """Raises `HttpProblem` for a body that does not come, or comes broken."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        raise HttpProblem(408, "Too slow", f"the body did not come within {BODY_SECONDS:g} s") from None
    except BROKEN as error:
        raise BadRequest(f"the body is not what its headers say: {type(error).__name__}") from None


async def read_ahead(request: web.Request) -> bytes:
    """The body, at most the megabyte that aiohttp takes. A view reads it again in any way but by `request.content`.

    Raises `HttpProblem`.
    """
    async with _coming():
        body = await request.read()
    request[_IS_READ] = True
    return body


async def read_body(request: Any, type: type[T]) -> T:
    """The body, JSON of this type; an empty body is `{}`. Raises `HttpProblem`."""
    return decode_body(await read_bytes(request, MOST_BYTES), type)


def decode_body(body: bytes, type: type[T]) -> T:
    """JSON of this type; nothing at all is `{}`. Raises `HttpProblem`."""
    try:
        return msgspec.json.decode(body if body.strip() else b"{}", type=type)
    except msgspec.ValidationError as error:
        raise HttpProblem(422, "Not valid", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise HttpProblem(400, "Not JSON", f"the body is to be a JSON object: {error}") from None

"""What is sent with a `POST`: read within bounds, and checked, so that what is wrong with it is said by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import msgspec
from faust.web import View

from projections.http.problems import BROKEN, BadRequest, HttpProblem

MOST_BYTES = 16 * 1024
BODY_SECONDS = 10.0
"""For so long the body of a request may take."""

T = TypeVar("T")

Reason = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=1_000)]
"""Why a person wants something, for the next one to read."""


class Post(View):  # type: ignore[misc]
    """A view that takes POST alone; those of Faust's `app.page` take GET."""

    @classmethod
    def from_handler(cls, fun: Any) -> type:
        return type(fun.__name__, (cls,), {"post": fun, "__doc__": fun.__doc__, "__module__": fun.__module__})

    def get_methods(self) -> set[str]:
        """All that a route is made for."""
        return {"POST"}


class BodyBytes:
    """Room for at most so many bytes, of all requests in work."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0

    @contextmanager
    def some(self) -> Iterator[RequestBytes]:
        """Room for one of them, which is given back at the end, unless somebody else does that."""
        some = RequestBytes(self)
        try:
            yield some
        finally:
            some.give_back()


class RequestBytes:
    """What one request has taken."""

    def __init__(self, reserved: BodyBytes) -> None:
        self._reserved = reserved
        self.size = 0

    def take(self, size: int) -> None:
        """Take more of it. Raises `HttpProblem` when there is none."""
        if self._reserved.size + size > self._reserved.most:
            raise HttpProblem(503, "Not now", "Kafka is slow to take commands, or their senders are slow to send them")
        self._reserved.size += size
        self.size += size

    def give_back(self) -> None:
        """All that was taken; once more is nothing."""
        self._reserved.size -= self.size
        self.size = 0

    def hand_on(self) -> RequestBytes:
        """The same room for another one to give back, at another time."""
        other = RequestBytes(self._reserved)
        other.size, self.size = self.size, 0
        return other


async def read_bytes(request: Any, most: int, some: RequestBytes | None = None) -> bytes:
    """The body of a request, `most` bytes of it, for which room is taken as they come: one that is announced and does
    not come takes none. Raises `HttpProblem`."""
    if (request.content_length or 0) > most:
        raise HttpProblem(413, "Too large", f"the body has more than {most} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while part := await request.content.read(most + 1):
                if len(body) + len(part) > most:
                    raise HttpProblem(413, "Too large", f"the body has more than {most} bytes")
                if some is not None:
                    some.take(len(part))
                body += part
    except TimeoutError:
        raise HttpProblem(408, "Too slow", f"the body did not come within {BODY_SECONDS:g} s") from None
    except BROKEN as error:
        raise BadRequest(f"the body is not what its headers say: {type(error).__name__}") from None
    return bytes(body)


async def read_body(request: Any, type: type[T]) -> T:
    """The body, JSON of this type; none at all is `{}`. Raises `HttpProblem`."""
    body = await read_bytes(request, MOST_BYTES)
    try:
        return msgspec.json.decode(body if body.strip() else b"{}", type=type)
    except msgspec.ValidationError as error:
        raise HttpProblem(422, "Not valid", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise HttpProblem(400, "Not JSON", f"the body is to be a JSON object: {error}") from None

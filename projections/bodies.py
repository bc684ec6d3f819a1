"""What is sent with a `POST`: read within bounds, and checked, so that what is wrong with it is said by name."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from faust.web import View

MOST_BYTES = 16 * 1024

T = TypeVar("T")

Reason = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=1_000)]
"""Why a person wants something, for the next one to read."""


class Refused(Exception):
    """An order cannot be taken; with the status and title to answer, headers, and members that its problem has
    besides."""

    def __init__(
        self, status: int, title: str, detail: str, headers: dict[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.headers = headers
        self.members = members


class Post(View):  # type: ignore[misc]
    """A view that takes POST alone; those of Faust's `app.page` take GET."""

    @classmethod
    def from_handler(cls, fun: Any) -> type:
        return type(fun.__name__, (cls,), {"post": fun, "__doc__": fun.__doc__, "__module__": fun.__module__})

    def get_methods(self) -> set[str]:
        """All that a route is made for."""
        return {"POST"}


async def read_body(request: Any, type: type[T]) -> T:
    """The body, JSON of this type; none at all is `{}`. Raises `Refused`."""
    body = bytearray()
    while len(body) <= MOST_BYTES and (part := await request.content.read(MOST_BYTES + 1)):
        body += part
    if len(body) > MOST_BYTES:
        raise Refused(413, "Too large", f"the body has more than {MOST_BYTES} bytes")
    try:
        return msgspec.json.decode(bytes(body) if body.strip() else b"{}", type=type)
    except msgspec.ValidationError as error:
        raise Refused(422, "Not valid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "Not JSON", f"the body is to be a JSON object: {error}") from None

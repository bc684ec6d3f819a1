"""What a view takes and gives, as a value that stands beside it: of these the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar

from streams.access.principal import Role

JSON = "application/json"

V = TypeVar("V", bound=Callable[..., Any])


@dataclass(frozen=True)
class Response:
    """What a view answers with one status: a value of `type` as JSON, or text of another kind when that is None.

    `headers` are names that the document knows (`openapi.parts.RESPONSE_HEADERS`).
    """

    description: str
    type: Any = None
    media: str = JSON
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """What a view takes and gives: a decorator, beneath `app.page`.

    tag       what the view is about; views of one tag stand together
    answer    the type of the JSON of its 200, or a `Response`; None where it has no 200
    path      what the variables of its path mean; by default it is `Its <name>`
    query     a `msgspec.Struct` whose fields are the parameters
    body      the type of what is sent as JSON
    reads     it waits for the position of `At-Least`, and says 503 while it cannot answer
    etag      it says which version it shows, and 304 to those who have it
    stream    what the events of its `text/event-stream` are, for those that ask for it
    headers   names of further request headers that the document knows (`openapi.parts.REQUEST_HEADERS`)
    others    what else it answers by status, besides problems
    problems  further statuses that it answers with problem details (RFC 9457)
    role      who may ask; an operator, unless it says who. None: whoever comes
    of        the aggregate types that it is about: the role in the context of one of them will do, and whoever needs
              more looks at the rest. None: the role in the context of the app
    hidden    why the document leaves it out
    """

    tag: str
    summary: str
    answer: Any = None
    _: KW_ONLY
    path: Mapping[str, str] = field(default_factory=dict)
    query: type | None = None
    body: Any = None
    reads: bool = False
    etag: bool = False
    stream: str = ""
    headers: Sequence[str] = ()
    others: Mapping[int, Response] = field(default_factory=dict)
    problems: Collection[int] = ()
    role: Role | None = Role.OPERATOR
    of: Sequence[str] = ()
    hidden: str = ""

    def __call__(self, view: V) -> V:
        vars(view)["described"] = self
        return view

    @property
    def all_headers(self) -> list[str]:
        """The names of all request headers."""
        reads = ["At-Least", "Prefer"] if self.reads else []
        return [*self.headers, *reads, *["If-None-Match"] * self.etag, *["Last-Event-ID"] * bool(self.stream)]

    @property
    def all_problems(self) -> set[int]:
        """All statuses that it answers with problem details."""
        reads = {400, 503} if self.reads or self.stream else set()
        known = {401, 403, 503} if self.role is not None else set()
        streams = {429} if self.stream else set()
        return {
            *self.problems,
            *reads,
            *streams,
            *known,
            *({400, 403, 408, 413, 415, 422} if self.body is not None else ()),
        }

    @property
    def answers(self) -> dict[int, Response]:
        """What it answers by status, besides problems."""
        if self.answer is None:
            return {**self.others}
        answer = self.answer if isinstance(self.answer, Response) else Response("Found", self.answer)
        if not self.etag:
            return {200: answer, **self.others}
        headers = ("ETag", *answer.headers)
        same = Response("It is still as `If-None-Match` says", None, "", headers)
        return {200: replace(answer, headers=headers), 304: same, **self.others}


describe = Operation
"""Says of a view what it takes and gives."""

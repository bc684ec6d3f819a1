"""What a view takes and gives, as a value that stands beside it: of these the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

JSON = "application/json"

V = TypeVar("V", bound=Callable[..., Any])


@dataclass(frozen=True)
class Response:
    """What a view answers with one status: a value of `type` as JSON, or text of another kind when that is None.

    `headers` are names that the document knows (`openapi_parts.RESPONSE_HEADERS`).
    """

    description: str
    type: Any = None
    media: str = JSON
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """What a view takes and gives.

    tag       what the view is about; views of one tag stand together
    answers   by status, besides the problems
    problems  the statuses that it answers with problem details (RFC 9457)
    path      what the variables of its path mean; by default it is `Its <name>`
    query     a `msgspec.Struct` whose fields are the parameters
    headers   names of request headers that the document knows (`openapi_parts.REQUEST_HEADERS`)
    body      the type of what is sent as JSON
    stream    what the events of its `text/event-stream` are, for those that ask for it
    """

    tag: str
    summary: str
    answers: Mapping[int, Response]
    problems: Collection[int] = ()
    path: Mapping[str, str] = field(default_factory=dict)
    query: type | None = None
    headers: Sequence[str] = ()
    body: Any = None
    stream: str = ""


def describe(
    tag: str,
    summary: str,
    answer: Any = None,
    *,
    path: Mapping[str, str] | None = None,
    query: type | None = None,
    body: Any = None,
    reads: bool = False,
    etag: bool = False,
    stream: str = "",
    headers: Sequence[str] = (),
    others: Mapping[int, Response] | None = None,
    problems: Collection[int] = (),
) -> Callable[[V], V]:
    """Say of a view, beneath `app.page`, what it takes and gives. `answer` is the type of the JSON of its 200, or an
    `Response`.

    reads     it waits for the position of `At-Least`, and says 503 while it cannot answer
    etag      it says which version it shows, and 304 to those who have it
    others    what else it answers, besides problems
    """
    asked, wrong = [*headers], {*problems}
    answers = {} if answer is None else {200: answer if isinstance(answer, Response) else Response("Found", answer)}
    if reads:
        asked += ["At-Least", "Prefer"]
        wrong |= {400, 503}
    if etag:
        asked.append("If-None-Match")
        found = answers[200]
        shown = ("ETag", *found.headers)
        answers[200] = Response(found.description, found.type, found.media, shown)
        answers[304] = Response("It is still as `If-None-Match` says", None, "", shown)
    if stream:
        asked.append("Last-Event-ID")
        wrong |= {400, 503}
    if body is not None:
        wrong |= {400, 403, 408, 413, 415, 422}
    described = Operation(
        tag=tag,
        summary=summary,
        answers={**answers, **(others or {})},
        problems=wrong,
        path=path or {},
        query=query,
        headers=asked,
        body=body,
        stream=stream,
    )

    def mark(view: V) -> V:
        vars(view)["described"] = described
        return view

    return mark

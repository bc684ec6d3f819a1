"""Exceptions as RFC 9457 problem details: a handler raises, and one middleware answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NotRequired, TypedDict

import aiohttp
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Unavailable
from streams.runtime.web_guard import PROBLEM, problem_body, problem_response

log = logging.getLogger(__name__)

BROKEN = (aiohttp.ClientPayloadError, web.RequestPayloadError, HttpProcessingError)
"""Raised by aiohttp for a body that is not what its headers say."""


class HttpProblem(Exception):
    """A request cannot be answered: the status, title and detail of the problem, its headers, and further members.

    The exception that it was raised from, if any, is for the log alone: it may name addresses.
    """

    def __init__(
        self, status: int, title: str, detail: str, headers: dict[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.headers = headers
        self.members = members


class BadRequest(HttpProblem):
    """400: a header, a parameter or an id cannot be read."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "Bad request", detail)


class NotNow(HttpProblem):
    """503: the request cannot be answered at the moment."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "Not now", detail)


@contextmanager
def reading_from(store: str) -> Iterator[None]:
    """Raise `NotNow` where a store or a journal does not answer, which the problem calls by this name."""
    try:
        yield
    except Unavailable as error:
        raise NotNow(f"{store} does not answer") from error


class Fault(TypedDict):
    """What is wrong with a body, and where: `pointer` is a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(TypedDict):
    """An error as RFC 9457 has it. `detail` says what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[Fault]]


class ExpectDispatcher(web.UrlDispatcher):
    """Answers 417 to any `Expect` other than 100-continue.

    aiohttp echoes the value in its own 417, and raises before any middleware where the value cannot be encoded.
    """

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            body = problem_body(417, "Expectation failed", "Expect: use 100-continue, or leave the header out")
            raise web.HTTPExpectationFailed(body=body, content_type=PROBLEM)
        return await super().resolve(request)


@web.middleware
async def problems(request: web.Request, handler: Any) -> Any:
    """Answer for handlers that raise."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise  # the guard of every worker makes a problem of it
    except Exception as error:
        problem = _problem_of(request, error)
        return problem_response(problem.status, problem.title, str(problem), problem.headers, **problem.members)


def _problem_of(request: web.Request, error: Exception) -> HttpProblem:
    match error:
        case HttpProblem():
            if error.__cause__ is not None:
                log.info("%s: %s", error, error.__cause__)
            return error
        case Unavailable():
            return _no_answer("what this is read from", error)
        case NotReadableYet():
            return NotNow(str(error))
        case _ if isinstance(error, BROKEN):
            return BadRequest(f"the body is not what its headers say: {type(error).__name__}")
        case _:
            log.error("%s %r raised", request.method, request.raw_path, exc_info=error)
            return HttpProblem(500, "Internal error", "a bug; the log of this worker has its trace")


def _no_answer(store: str, error: Exception) -> NotNow:
    """The problem of a store that does not answer. What it says of itself, with its address, is for the log."""
    log.info("%s does not answer: %s", store, error)
    return NotNow(f"{store} does not answer")

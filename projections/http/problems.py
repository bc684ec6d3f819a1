"""Errors of aiohttp itself, and bugs, as RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Any, NotRequired, TypedDict

from aiohttp import hdrs, web

from projections.http.at_least import BadPositionHeader
from projections.http.bodies import BROKEN
from streams.runtime.web_guard import PROBLEM, problem_body, problem_response

log = logging.getLogger(__name__)


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
    """Refuses what a client expects in vain. aiohttp would show it in its answer, and raise when that cannot be
    encoded, before any middleware."""

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            body = problem_body(417, "Expectation failed", "Expect: use 100-continue, or leave the header out")
            raise web.HTTPExpectationFailed(body=body, content_type=PROBLEM)
        return await super().resolve(request)


@web.middleware
async def problems(request: web.Request, handler: Any) -> Any:
    """Answers for views that raise."""
    try:
        return await handler(request)
    except BadPositionHeader as error:
        return problem_response(400, "Bad position", str(error))
    except BROKEN as error:
        return problem_response(400, "Bad request", f"the body is not what its headers say: {type(error).__name__}")
    except web.HTTPException:
        raise  # the door of every worker makes a problem of it
    except Exception:
        log.exception("%s %r raised", request.method, request.raw_path)
        return problem_response(500, "Internal error", "a bug; the log of this worker has its trace")

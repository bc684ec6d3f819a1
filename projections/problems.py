"""Errors of aiohttp itself, and bugs, as RFC 9457 problem details."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from projections.at_least import BadPosition
from streams.health import PROBLEM

log = logging.getLogger(__name__)

_BROKEN = (aiohttp.ClientPayloadError, web.RequestPayloadError, HttpProcessingError)
"""What aiohttp raises for a body that is not what its headers say; of other workers' answers it does not come here."""


class Dispatcher(web.UrlDispatcher):
    """Refuses what a client expects in vain. aiohttp would show it in its answer, and raise when that cannot be
    encoded, before any middleware."""

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            body = _body(417, "Expectation failed", "Expect: use 100-continue, or leave the header out")
            raise web.HTTPExpectationFailed(body=body, content_type=PROBLEM)
        return await super().resolve(request)


@web.middleware
async def problems(request: web.Request, handler: Any) -> Any:
    """Answers for views that raise."""
    try:
        return await handler(request)
    except BadPosition as error:
        return _answer(400, "Bad position", str(error))
    except _BROKEN as error:
        return _answer(400, "Bad request", f"the body is not what its headers say: {type(error).__name__}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _answer(error.status, error.reason, f"{request.method} {request.path}", allow)
    except Exception:
        log.exception("%s %s raised", request.method, request.path)
        return _answer(500, "Internal error", "a bug; the log of this worker has its trace")


def _answer(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=_body(status, title, detail), status=status, content_type=PROBLEM, headers=headers)


def _body(status: int, title: str, detail: str) -> bytes:
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()

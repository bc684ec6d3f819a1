"""Errors of aiohttp itself, and bugs, as RFC 9457 problem details."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from projections.at_least import BadPosition
from streams.health import PROBLEM

log = logging.getLogger(__name__)


@web.middleware
async def problems(request: web.Request, handler: Any) -> Any:
    """Answers for views that raise."""
    try:
        return await handler(request)
    except BadPosition as error:
        return _answer(400, "Bad position", str(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _answer(error.status, error.reason, f"{request.method} {request.path}", allow)
    except Exception:
        log.exception("%s %s raised", request.method, request.path)
        return _answer(500, "Internal error", "a bug; the log of this worker has its trace")


def _answer(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(body=json.dumps(body).encode(), status=status, content_type=PROBLEM, headers=headers)

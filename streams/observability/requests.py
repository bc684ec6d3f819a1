"""Requests over HTTP, by route."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from streams.observability import catalog
from streams.observability.catalog import OTHER
from streams.observability.instruments import Instruments

METHODS = ("GET", "HEAD", "POST", "OPTIONS")
CLIENT_GONE = "499"
"""The status of a request whose client has gone before there was an answer, as nginx has it."""


class RequestMetrics:
    """Counts what a web server answers."""

    def __init__(self, instruments: Instruments) -> None:
        self._requests = instruments.counter(catalog.HTTP_REQUESTS)
        self._seconds = instruments.histogram(catalog.HTTP_SECONDS)

    @property
    def middleware(self) -> Any:
        """For `aiohttp.web.Application`; the outermost one."""

        @web.middleware
        async def counted(request: web.Request, handler: Any) -> web.StreamResponse:
            began, status, is_stream = time.monotonic(), "500", False
            try:
                answer: web.StreamResponse = await handler(request)
                status, is_stream = str(answer.status), answer.content_type == "text/event-stream"
                return answer
            except web.HTTPException as error:
                status = str(error.status)
                raise
            except (asyncio.CancelledError, ConnectionResetError):
                status = CLIENT_GONE
                raise
            finally:
                method = request.method if request.method in METHODS else OTHER
                route = route_of(request)
                self._requests.add(1, method, route, status)
                if not is_stream:
                    self._seconds.of(method, route).observe(time.monotonic() - began)

        return counted


def route_of(request: web.Request) -> str:
    """The pattern of the path, such as `/orders/{id}`; `OTHER` where there is no such page."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else OTHER

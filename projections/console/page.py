"""`/console`: the files of the page that people look at, and `/`, which leads a browser there.

The page is static: it has no server of its own, and asks the JSON routes that everybody may ask. How a page is added to
it is said in `static/shell/routes.js`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from aiohttp import hdrs, web

from projections.app import ReadSide
from streams.runtime.web_guard import problem_response
from streams.web.health import json_response
from streams.web.operation import Response, describe

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
HTML = "text/html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, no script or style but in files, and no text that becomes markup."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MEDIA: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Greeting(TypedDict):
    """The answer of `/` to programs."""

    status: Literal["OK"]


@cache
def files() -> Mapping[str, Path]:
    """All files of the page, by their path below `/console/`."""
    return {path.relative_to(STATIC).as_posix(): path for path in sorted(STATIC.rglob("*")) if path.suffix in MEDIA}


def add_page(side: ReadSide) -> None:
    """Serve `/console` with its files, and `/`."""

    @side.app.page("/", name="root")
    @describe(
        "console",
        "That the worker is there; a browser is led to the console",
        Greeting,
        others={303: Response("To a browser", None, "", ("Location",))},
        role=None,
    )
    async def root(view: Any, request: Any) -> Any:
        if HTML in request.headers.get(hdrs.ACCEPT, ""):
            return web.Response(status=303, headers={hdrs.LOCATION: "console", hdrs.VARY: hdrs.ACCEPT})
        return json_response(view, {"status": "OK"}, headers={hdrs.VARY: hdrs.ACCEPT})

    @side.app.page("/console", name="console")
    @describe("console", "A page that shows how the system is", Response("The page", media=HTML), role=None)
    async def console(view: Any, request: Any) -> Any:
        return _file(INDEX)

    @side.app.page("/console/{file:.*}", name="console-file")
    @describe("console", "A part of that page", role=None, hidden="parts of the page /console")
    async def console_file(view: Any, request: Any, file: str) -> Any:
        if not file:
            return web.Response(status=303, headers={hdrs.LOCATION: "../console"})
        return _file(file)


def _file(name: str) -> web.StreamResponse:
    path = files().get(name)
    if path is None:
        return problem_response(404, "Not found", f"there is no {name} of this page")
    return web.FileResponse(path, headers={**HEADERS, hdrs.CONTENT_TYPE: MEDIA[path.suffix]})

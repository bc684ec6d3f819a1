"""`/openapi.json`, and `/docs`: a page to read it and to try it out. The worker serves all of it by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from projections.app import ReadSide
from projections.http.etags import unless_known
from projections.openapi.document import document, routes_of
from streams.runtime.web_guard import problem_response
from streams.web.operation import Response, describe

DISTRIBUTION = "sourced-streams"
SWAGGER_UI = "flask_swagger_ui"
"""Swagger UI as a package, new with each of its releases. Only its files are used: it is never imported."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and no script or style but in files."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui">This page needs JavaScript. What it shows is in <a href="openapi.json">openapi.json</a>.</div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""

START = b"""SwaggerUIBundle({
  url: new URL("openapi.json", location.href).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


def add_openapi(side: ReadSide, title: str, about: str) -> None:
    """Serve `/openapi.json` and `/docs` for all views of the app, also those that are added later."""

    @cache
    def built() -> tuple[bytes, str]:
        body = msgspec.json.encode(_document(side, title, about))
        return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'

    @side.app.page("/openapi.json", name="openapi")
    @describe("documentation", "This document", dict[str, Any], etag=True, role=None)
    async def openapi(view: Any, request: Any) -> Any:
        body, etag = built()
        return unless_known(view, request, body, {"ETag": etag})

    @side.app.page("/docs", name="docs")
    @describe("documentation", "A page that shows this document", Response("The page", media="text/html"), role=None)
    async def docs(view: Any, request: Any) -> Any:
        return view.bytes(PAGE, content_type="text/html", headers=HEADERS)

    files = swagger_ui()

    @side.app.page("/docs/{file}", name="docs-file")
    @describe("documentation", "A part of that page", role=None, hidden="parts of the page /docs")
    async def docs_file(view: Any, request: Any, file: str) -> Any:
        if file == "start.js":
            return view.bytes(START, content_type="text/javascript", headers=HEADERS)
        if file not in files:
            return problem_response(404, "Not found", f"there is no {file} of this page")
        return web.FileResponse(files[file], headers=HEADERS)


def _document(side: ReadSide, title: str, about: str) -> dict[str, Any]:
    return document(title, version(DISTRIBUTION), about, routes_of(side.app), side.contexts, side.app.context)


def swagger_ui() -> Mapping[str, Path]:
    """The files of Swagger UI that the page needs, by name."""
    spec = find_spec(SWAGGER_UI)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "dist"
    return {name: folder / name for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")}

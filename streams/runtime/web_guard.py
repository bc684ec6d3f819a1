"""Who may ask a worker over HTTP: no page of another site, in whatever browser it is open.

A browser on a machine that reaches a worker runs pages of strangers, who do not reach it, and has the client
certificate of its user; so what only a browser sends for a page is refused: a `Host` that is not ours (DNS rebinding),
an order that another site's page gives, and a body of a kind that pages may send without asking (CSRF). Pages of the
sites that the settings allow may ask, and read the answers (CORS).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web

JSON = "application/json"
PROBLEM = "application/problem+json"
RETRY_SECONDS = "1"
ANY_HOST = re.compile(r"/health/(live|ready)|/metrics")
"""Asked by probes under whatever name they have; they tell nothing that is worth a rebinding."""
SAFE = ("GET", "HEAD", "OPTIONS")
PAGES_MAY_SEND = (
    *("Authorization", "Content-Type", "Accept", "At-Least", "Prefer", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("Last-Event-ID", "X-Correlation-ID", "traceparent"),
)
PAGES_MAY_READ = ("ETag", "Position", "Sequence", "Location", "Retry-After", "WWW-Authenticate")
PREFLIGHT_SECONDS = "600"
"""For so long a browser may remember what pages may send."""

_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(PAGES_MAY_SEND),
    hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_SECONDS,
}
_OF_OUR_PAGES = {"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
"""Of what browsers load for a page of another site without asking, such as pictures, its process does not even get the
bytes; and nothing is taken for what it does not say that it is."""
_CHARSET = re.compile(r'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)


class Refusal(NamedTuple):
    """Why a request is not taken."""

    status: int
    title: str
    detail: str
    headers: dict[str, str] = {}  # noqa: RUF012 (nobody writes to it)


class WebGuard:
    """The middleware of a Faust app's web server.

    `hosts` and `origins` are allowed besides the names that the app itself has: hosts as `name` (on any port) or
    `name:port`, origins as `https://name[:port]`, as browsers write them.
    """

    def __init__(self, app: Any, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = {_plain(host) for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    @cached_property
    def _names(self) -> set[str]:
        """What the worker is called; known when its options are read."""
        conf = self._app.conf
        own = {"localhost", str(conf.web_host), str(conf.web_bind), str(conf.canonical_url.host or "")}
        return self._hosts | {_plain(name) for name in own if name}

    @property
    def middleware(self) -> Any:
        """For `aiohttp.web.Application`; the outermost one."""

        @web.middleware
        async def door(request: web.Request, handler: Any) -> web.StreamResponse:
            refusal = self.refusal(request)
            if refusal is not None:
                return problem_response(*refusal)
            if request.method == "OPTIONS" and self._may_pages_ask(request):
                return web.Response(status=204, headers=_PREFLIGHT)
            try:
                return await handler(request)  # type: ignore[no-any-return]
            except web.HTTPException as error:  # aiohttp's own: there is no such page, or it takes another method
                if error.status < 400:
                    raise
                allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
                return problem_response(error.status, error.reason, f"{request.method} {request.path}", allow)

        return door

    async def tell_browsers(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Say in an answer which pages may have it: ours, and those of the sites that the settings allow."""
        response.headers.update(_OF_OUR_PAGES)
        if self._origins and not ANY_HOST.fullmatch(request.path):
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
            if self._may_pages_ask(request):
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
                response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(PAGES_MAY_READ)

    def _may_pages_ask(self, request: web.BaseRequest) -> bool:
        return request.headers.get(hdrs.ORIGIN, "").lower() in self._origins

    def refusal(self, request: web.BaseRequest) -> Refusal | None:
        """Why a request is not taken; None when it is."""
        if not ANY_HOST.fullmatch(request.path):
            for host in request.headers.getall(hdrs.HOST, ()):
                if not self._is_ours(host):
                    detail = f"Host: {host!r} is no name of this worker: HTTP_ALLOWED_HOSTS has those that are"
                    return Refusal(421, "Misdirected", detail)
        if request.method in SAFE:
            return None
        if not self._is_of_our_pages(request):
            origin = request.headers.get(hdrs.ORIGIN, "another site")
            return Refusal(
                403, "Forbidden", f"an order from a page of {origin!r}: HTTP_ALLOWED_ORIGINS has those that may"
            )
        content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
        if request.method == "POST" and not is_json(content_type):
            return Refusal(
                415, "Not JSON", f"Content-Type: {content_type!r}: send {JSON}, in UTF-8", {hdrs.ACCEPT: JSON}
            )
        return None

    def _is_ours(self, host: str) -> bool:
        name, _ = split_host(host)
        # Nobody can have an address resolve to another one, so it is what the sender really asks.
        return _is_address(name) or name in self._names or _plain(host) in self._names

    def _is_of_our_pages(self, request: web.BaseRequest) -> bool:
        """As Go's `http.CrossOriginProtection` tells: by what the browser says, or by `Origin` where it is an old one.
        Who is no browser sends neither."""
        if self._may_pages_ask(request):
            return True
        origin = request.headers.get(hdrs.ORIGIN)
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site in ("same-origin", "none")
        host = request.headers.get(hdrs.HOST, "")
        return origin is None or _plain(origin.partition("://")[2]) == _plain(host)


def problem_body(status: int, title: str, detail: str, **members: object) -> bytes:
    """An error as RFC 9457 problem details, with members of its own. Whatever is no UTF-8 in the detail is replaced."""
    detail = detail.encode(errors="replace").decode()
    return msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})


def problem_response(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: object
) -> web.Response:
    """An error as an answer; 429 and 503 say when to try again."""
    retry = {"Retry-After": RETRY_SECONDS} if status in (429, 503) else {}
    body = problem_body(status, title, detail, **members)
    return web.Response(body=body, status=status, content_type=PROBLEM, headers={**retry, **(headers or {})})


def is_json(content_type: str) -> bool:
    """Whether a header `Content-Type` says JSON in UTF-8."""
    kind, _, parameters = content_type.partition(";")
    charset = _CHARSET.search(parameters)
    return kind.strip().lower() == JSON and (charset is None or charset[1].lower() in ("utf-8", "utf8"))


def split_host(host: str) -> tuple[str, str]:
    """Name and port of a header `Host`; of an IPv6 address without its brackets. The port is empty for none."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]") or ("]" not in host and ":" in name):
        name, port = host, ""
    return _plain(name).strip("[]"), port


def names(text: str) -> list[str]:
    """Those of a setting that has them separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _plain(host: str) -> str:
    return host.strip().lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

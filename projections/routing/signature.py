"""Requests of one worker to another are signed: a header alone makes no worker.

All workers of a system know a secret, which the first of them makes and the control topic keeps. A signature is an
HMAC of what is asked (method, path, tables, how far the asker has read the orders) and of the time, so it is of no use
for another question, nor later. Whoever may read the control topic may sign; who sees a request on the network may
repeat it for a minute.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web

from projections.http.forwarding import HOP, SEEN
from streams.runtime.web_guard import problem_response

SIGNATURE = "X-Hop-Signature"
"""`<seconds since 1970>:<hex>`"""
SKEW_SECONDS = 60
"""The clocks of two workers may differ by this, together with the time that a request is under way."""
WORKERS_ONLY = ("/applied/", "/switching")
"""The beginnings of paths that are for workers alone."""


class HopSignature:
    """Signs and checks, with the newest of the `secrets` and those before it."""

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    def signed(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request to another worker, with a signature; without one while there is no secret."""
        secrets = self._secrets()
        if not secrets:
            return dict(headers)
        path = "/" + str(url).partition("://")[2].partition("/")[2]
        at = str(int(time.time()))
        return {**headers, SIGNATURE: f"{at}:{_sign(secrets[0], method, path, headers, at)}"}

    def holds(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a worker of this system has just signed this request. `path` is with its query, as it was sent."""
        at, _, signature = headers.get(SIGNATURE, "").partition(":")
        # No worker writes anything else, and what is no UTF-8 cannot even be compared.
        if not all(text.isascii() for text in (signature, headers.get(HOP, ""), headers.get(SEEN, ""))):
            return False
        if not (at.isascii() and at.isdecimal() and len(at) < 15 and abs(int(at) - time.time()) <= SKEW_SECONDS):
            return False
        return any(
            hmac.compare_digest(_sign(secret, method, path, headers, at).encode(), signature.encode())
            for secret in self._secrets()
        )

    @property
    def middleware(self) -> Any:
        """Refuses requests in the name of a worker that are not signed: behind it, a request with `X-Hop` is of one."""

        @web.middleware
        async def door(request: web.Request, handler: Any) -> web.StreamResponse:
            asks_as_worker = HOP in request.headers or request.path.startswith(WORKERS_ONLY)
            if not asks_as_worker or self.holds(request.method, request.raw_path, request.headers):
                return await handler(request)  # type: ignore[no-any-return]
            return problem_response(403, "Forbidden", f"{HOP} is for workers of this system: ask without it")

        return door


def _sign(secret: bytes, method: str, path: str, headers: Mapping[str, str], at: str) -> str:
    # Clients and proxies may write the same path in different ways: what it means is signed.
    meant = unquote_to_bytes(path.replace("+", "%20").encode(errors="surrogateescape"))
    parts = [method.encode(), meant, headers.get(HOP, "").encode(), headers.get(SEEN, "").encode(), at.encode()]
    text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return hmac.new(secret, text, "sha256").hexdigest()

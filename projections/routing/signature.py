"""Requests of one worker to another are signed: a header alone makes no worker.

All workers of a system know a secret, which the first of them makes, which is renewed by the hour, and which the
control topic keeps. A signature is an HMAC of what is asked (method, path, tables, how far the asker has read the
orders, the body, the id and the precondition of a command), for whom, and of the time, so it is of no use for another
question, nor later. Whoever may read the control topic may sign; who sees a request on the network may repeat it for a
minute.

The asker has looked whether its client may ask, so the one that is asked need not; it is told who that is.
"""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web

from projections.http.forwarding import DIGEST, HOP, SEEN, digest_of
from streams.access.principal import Identified, asked_by, current
from streams.runtime.access_guard import mark_as_of_worker
from streams.runtime.web_guard import problem_response

SIGNATURE = "X-Hop-Signature"
"""`<seconds since 1970>:<hex>`"""
USER = "X-Hop-User"
"""For whom a worker asks, where it knows: JSON in base64."""
SKEW_SECONDS = 60
"""The clocks of two workers may differ by this, together with the time that a request is under way."""
WORKERS_ONLY = ("/applied/", "/switching")
"""The beginnings of paths that are for workers alone."""
_OF_WORKERS = (HOP, USER)
"""Headers that no client sends."""
_SIGNED = (HOP, SEEN, USER, DIGEST)
_OF_COMMANDS = ("Idempotency-Key", "If-Match", "If-None-Match", "X-Correlation-ID")
"""Headers of a `POST` that are signed, too: with another id, a request that is repeated would be another command."""


class HopSignature:
    """Signs and checks, with the newest of the `secrets` and those before it."""

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> dict[str, str]:
        """The headers of a request to another worker, with a signature; without one while there is no secret. It is for
        whom this task works."""
        secrets = self._secrets()
        if not secrets:
            return dict(headers)
        asked = dict(headers)
        if method == "POST":
            asked[DIGEST] = digest_of(body or b"")
        if (who := current()) is not None:
            asked[USER] = urlsafe_b64encode(msgspec.json.encode(who)).decode()
        path = "/" + str(url).partition("://")[2].partition("/")[2]
        at = str(int(time.time()))
        return {**asked, SIGNATURE: f"{at}:{_sign(secrets[0], method, path, asked, at)}"}

    def holds(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a worker of this system has just signed this request. `path` is with its query, as it was sent.

        The body is to be held against its digest when it is read: see `projections.http.bodies`.
        """
        at, _, signature = headers.get(SIGNATURE, "").partition(":")
        # No worker writes anything else, and what is no UTF-8 cannot even be compared.
        if not all(text.isascii() for text in (signature, *(headers.get(name, "") for name in _SIGNED))):
            return False
        if not (at.isascii() and at.isdecimal() and len(at) < 15 and abs(int(at) - time.time()) <= SKEW_SECONDS):
            return False
        if method == "POST" and DIGEST not in headers:
            return False
        try:
            return any(
                hmac.compare_digest(_sign(secret, method, path, headers, at).encode(), signature.encode())
                for secret in self._secrets()
            )
        except UnicodeEncodeError:  # half a character, which nobody can have sent
            return False

    @property
    def middleware(self) -> Any:
        """Refuses requests in the name of a worker that are not signed: behind it, a request with `X-Hop` is of one."""

        @web.middleware
        async def door(request: web.Request, handler: Any) -> web.StreamResponse:
            headers = request.headers
            if not any(name in headers for name in _OF_WORKERS) and not request.path.startswith(WORKERS_ONLY):
                return await handler(request)  # type: ignore[no-any-return]
            twice = any(len(headers.getall(name, ())) > 1 for name in (*_SIGNED, *_OF_COMMANDS, SIGNATURE))
            if HOP not in headers or twice or not self.holds(request.method, request.raw_path, headers):
                return problem_response(403, "Forbidden", f"{HOP} is for workers of this system: ask without it")
            mark_as_of_worker(request)
            with asked_by(_user(headers)):
                return await handler(request)  # type: ignore[no-any-return]

        return door


def _user(headers: Mapping[str, str]) -> Identified | None:
    """For whom a worker asks. The signature holds, so it is as a worker has written it."""
    text = headers.get(USER)
    return None if text is None else msgspec.json.decode(urlsafe_b64decode(text), type=Identified)


def _sign(secret: bytes, method: str, path: str, headers: Mapping[str, str], at: str) -> str:
    # Clients and proxies may write the same path in different ways: what it means is signed.
    meant = unquote_to_bytes(path.replace("+", "%20").encode(errors="surrogateescape"))
    parts = [method.encode(), meant, headers.get(HOP, "").encode(), headers.get(SEEN, "").encode()]
    # Left out where they are not there: then a version that knows nothing of them understands the signature.
    parts += [f"{name}={headers[name]}".encode() for name in (USER, DIGEST) if name in headers]
    if method == "POST":
        parts += [
            f"{name}={headers[name]}".encode(errors="surrogateescape") for name in _OF_COMMANDS if name in headers
        ]
    parts.append(at.encode())
    text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return hmac.new(secret, text, "sha256").hexdigest()

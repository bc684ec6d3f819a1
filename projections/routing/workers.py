"""The other workers, and the requests of this worker to them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import aiohttp
from aiohttp import hdrs

from projections.applying.control import Control
from projections.http.forwarding import (
    HOP_SECONDS,
    SEEN,
    Behind,
    Tables,
    hop,
    new_session,
    read_seen,
    seldom,
    worker_request,
)
from projections.http.problems import NotNow
from projections.routing.placement import Placement
from projections.routing.signature import HopSignature
from streams.notices import warn
from streams.runtime.application import Application
from streams.runtime.web_guard import JSON

NO_WORKER = (403, 421)
"""The statuses of a worker that does not believe that a worker asks."""


class Workers(Placement):
    """Asks other workers, with signed requests."""

    def __init__(self, app: Application, changelogs: Mapping[str, str], control: Control) -> None:
        super().__init__(app, changelogs)
        self._control = control
        self._signature = HopSignature(lambda: control.secrets)
        self._session: aiohttp.ClientSession | None = None
        self.tls: ssl.SSLContext | None = None
        """How workers with TLS are trusted; None: by the system's authorities."""

    async def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def hop(self, tables: Tables) -> dict[str, str]:
        """The headers with which this worker asks another worker."""
        return hop(tables) | {SEEN: str(self._control.offset)}

    def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> dict[str, str]:
        """These headers with the signature that other workers require. A POST is JSON, also without a body."""
        if method == "POST":
            headers = {**headers, hdrs.CONTENT_TYPE: JSON}
        return self._signature.signed(method, url, headers, body)

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        seconds: float | None = HOP_SECONDS,
        *,
        worker: str,
        body: bytes | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A request to another worker, which problems call `worker`. Raises `NotNow` for whatever goes wrong."""
        if self._session is None:
            self._session = new_session(tls=self.tls)
        headers = self.signed(method, url, headers, body)
        return worker_request(self._session, method, url, headers, seconds=seconds, worker=worker, body=body)

    async def raise_if_behind(self, response: aiohttp.ClientResponse) -> None:
        """Raise `Behind` where another worker refuses since it knows of a newer active table, after reading of it;
        raise `NotNow` where it does not believe that a worker asks."""
        if response.status in NO_WORKER:
            origin, status = str(response.url.origin()), str(response.status)
            text = "%s answered %s: are the clocks right, and its names?"
            warn(seldom, "worker-disbelieved", origin, text, origin, status)
            raise NotNow("another worker does not know this one yet")
        seen = read_seen(response.headers) if response.status == 503 else None
        if seen is not None:
            await self.read_orders(seen)
            raise Behind("another table answers now")

    async def read_orders(self, offset: int) -> None:
        """Wait until this worker has read the control topic up to an offset. Raises `NotNow`."""
        try:
            await self._control.wait_for(offset)
        except TimeoutError:
            raise NotNow("the orders cannot be read") from None

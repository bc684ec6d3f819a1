"""The other workers, and what one of them is asked: where they are, and how they know that a worker asks."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp import hdrs

from projections.applying.control import Control
from projections.http.forwarding import (
    HOP_SECONDS,
    SEEN,
    Behind,
    Tables,
    WorkerRequest,
    hop,
    new_session,
    read_seen,
    seldom,
)
from projections.http.problems import NotNow
from projections.routing.placement import Placement
from projections.routing.signature import HopSignature
from streams.runtime.application import Application
from streams.runtime.web_guard import JSON

NO_WORKER = (403, 421)
"""What a worker answers that does not believe that it is asked by one."""


class Workers(Placement):
    """Asks other workers in the name of this one."""

    def __init__(self, app: Application, changelogs: Mapping[str, str], control: Control) -> None:
        super().__init__(app, changelogs)
        self._control = control
        self._signature = HopSignature(lambda: control.secrets)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def hop(self, tables: Tables) -> dict[str, str]:
        """The headers with which this worker asks another."""
        return hop(tables) | {SEEN: str(self._control.offset)}

    def signed(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """These headers, so that another worker believes them; an order is JSON, also without a body."""
        its = {**headers, hdrs.CONTENT_TYPE: JSON} if method == "POST" else headers
        return self._signature.signed(method, url, its)

    def get(
        self, url: str, headers: dict[str, str], seconds: float | None = HOP_SECONDS, worker: str = "another worker"
    ) -> WorkerRequest:
        """Ask another worker, which problems name so; what goes wrong on the way is `NotNow`."""
        return self.ask("GET", url, headers, seconds, worker)

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        seconds: float | None = HOP_SECONDS,
        worker: str = "another worker",
    ) -> WorkerRequest:
        """Likewise, by another method."""
        if self._session is None:
            self._session = new_session()
        return WorkerRequest(self._session, method, url, self.signed(method, url, headers), seconds, worker)

    async def raise_if_behind(self, response: aiohttp.ClientResponse) -> None:
        """Raise `Behind` if that is why another worker does not answer, `NotNow` if it does not believe that this one
        is a worker."""
        if response.status in NO_WORKER:
            origin, status = str(response.url.origin()), str(response.status)
            seldom.warn("%s answered %s: are the clocks right, and its names?", origin, status)
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

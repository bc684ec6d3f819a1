"""How one worker asks another: with which headers, and what may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

HOP = "X-Hop"
"""Says that a worker asks, and which table of each projection is to answer: `orders=orders-2,..`, or nothing."""
SEEN = "X-Control-Offset"
"""How far a worker that asks, or that cannot do as it is told, has read the orders."""
HOP_SECONDS = 5.0

Tables = Mapping[str, str]
"""The table that answers, by projection."""


class NotNow(Exception):
    """This cannot be answered at the moment; the message says why."""


class Behind(NotNow):
    """The worker that was asked knows of a newer table, and by now this one does too."""


class OldTable(Exception):
    """The worker that asks names a table that does not answer any more."""


class Asked:
    """A request to another worker; what goes wrong on the way is `NotNow`."""

    def __init__(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], seconds: float | None
    ) -> None:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=HOP_SECONDS)
        self._request = session.request(method, url, headers=headers, timeout=timeout)
        self._url = url

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotNow(f"{self._url} cannot be reached: {type(error).__name__}") from None

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        await self._request.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise NotNow(f"{self._url} has broken off: {type(error).__name__}") from None


def read_seen(headers: Mapping[str, str]) -> int | None:
    """How far another worker has read the orders, if it says so."""
    text = headers.get(SEEN, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def hop(tables: Tables) -> dict[str, str]:
    """The header with which a worker asks another."""
    return {HOP: ",".join(f"{name}={table}" for name, table in tables.items()) or "1"}

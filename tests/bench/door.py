"""A worker of the read side as its users see it: how far its tables are, waited for and not polled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from tests.bench.written import order_id

WAIT = 60
PAUSE = 0.1


class Door:
    """One worker's HTTP."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Door]:
        """With a session of its own."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT)) as http:
            yield cls(url, http)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON; 503 also while nobody listens."""
        return await self._ask("GET", path, headers)

    async def post(self, path: str) -> tuple[int, Any]:
        """Likewise."""
        return await self._ask("POST", path, {"Content_Type": "application/json"})

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            async with self._http.request(method, self._url + path, headers=named) as response:
                return response.status, await response.json(content_type=None)
        except aiohttp.ClientConnectionError:
            return 503, None

    async def reached(self, position: str, seconds: float) -> None:
        """Return when the tables show a position, `<stream>:<commit>`: the worker itself says when, so this costs it
        nothing."""
        deadline = time.monotonic() + seconds
        while True:
            status, body = await self.get(f"/orders/{order_id(0)}", At_Least=position, Prefer=f"wait={WAIT}")
            if status in (200, 404):
                return
            if status != 503 or time.monotonic() > deadline:
                raise RuntimeError(f"{self._url} does not show {position}: {status} {body}")
            await asyncio.sleep(PAUSE)

    async def all_reached(self, ends: Mapping[str, int], seconds: float) -> None:
        """Return when they show all of these streams up to these commits. One is asked for after another, since the
        last that is reached is what counts."""
        for stream, nr in ends.items():
            await self.reached(f"{stream}:{nr}", seconds)

    async def serves(self, seconds: float) -> list[int]:
        """The partitions that the worker serves, as soon as it does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, body = await self.get("/health/ready")
            if status == 200:
                return list(body["partitions"])
            await asyncio.sleep(PAUSE)
        raise RuntimeError(f"{self._url} is not ready after {seconds:g} s")

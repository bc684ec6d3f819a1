"""A client of a stream of events over HTTP, as a browser's `EventSource` is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from tests.e2e.client import eventually

STREAM = "text/event-stream"
PAUSE = 1.0


class Event(NamedTuple):
    """An event as a program gets it."""

    event: str
    id: str
    data: Any


@dataclass
class Follower:
    """Reads a stream, and opens it again where it was as often as it ends. `url` may change meanwhile."""

    http: aiohttp.ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    last_id: str = ""
    opened: int = 0
    """How often it was answered with 200."""
    ended: int = 0
    """How often a stream that was open has ended."""
    statuses: list[int] = field(default_factory=list)
    pause: float = PAUSE
    _task: asyncio.Task[None] | None = None

    def start(self) -> Follower:
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, probe: Any, seconds: float = 15) -> Any:
        """Return when what has come fulfils a condition."""
        return await eventually(lambda: probe(self.events), seconds, lambda: f"{self.statuses} {self.events[-20:]}")

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._read()
            await asyncio.sleep(self.pause)

    async def _read(self) -> None:
        headers = {"Accept": STREAM, **self.headers} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self.http.get(self.url, headers=headers, timeout=timeout) as response:
            self.statuses.append(response.status)
            if response.status != 200:
                return
            self.opened += 1
            fields: dict[str, str] = {}
            try:
                async for line in response.content:
                    name, _, value = line.decode().rstrip("\n").partition(":")
                    if line != b"\n":
                        fields[name] = value.removeprefix(" ")
                        continue
                    self.last_id = fields.get("id", self.last_id)
                    self.pause = int(fields.get("retry", self.pause * 1000)) / 1000
                    if "data" in fields:
                        self.events.append(Event(fields["event"], self.last_id, json.loads(fields["data"])))
                    fields = {}
            finally:
                self.ended += 1

"""The newest commits of streams, for those who ask again and again: people, programs and Prometheus, who look at lags.

A head is read so that no append can be missed. That costs a store as much as an append (in Cassandra a round of Paxos
in the same partition), and would slow the owners down. So all who ask before a reading begins share it, and readings of
a stream are some time apart. An answer is never older than its question: the lag must not be 0 for what was written
before one has asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streams.journal.port import Commit, Log, stream_name, stream_type

APART_SECONDS = 0.5
"""Seconds between the beginnings of two readings of a stream. Those who ask more seldom do not wait."""


class Heads:
    """The heads of all streams of journals, which are given by aggregate type."""

    def __init__(self, journals: Mapping[str, Log], partitions: int) -> None:
        self._journals = journals
        self._streams = [stream_name(type, partition) for type in journals for partition in range(partitions)]
        self._began: dict[str, float] = {}
        self._next: dict[str, asyncio.Task[Commit | None]] = {}
        """The readings that have not begun yet."""
        self._all: set[asyncio.Task[Commit | None]] = set()

    async def of(self, only: Collection[str] | None = None) -> dict[str, Commit | None]:
        """The newest commit of each stream, or of only some, as they are at the call or later. Raises `Unavailable`."""
        streams = [stream for stream in self._streams if only is None or stream in only]
        heads = await asyncio.gather(*(self._head(stream) for stream in streams))
        return dict(zip(streams, heads, strict=True))

    async def _head(self, stream: str) -> Commit | None:
        task = self._next.get(stream)
        if task is None:
            task = self._next[stream] = asyncio.create_task(self._read(stream))
            self._all.add(task)
            task.add_done_callback(self._done)
        return await asyncio.shield(task)  # others wait for the same

    async def _read(self, stream: str) -> Commit | None:
        loop = asyncio.get_running_loop()
        pause = self._began.get(stream, float("-inf")) + APART_SECONDS - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        del self._next[stream]
        self._began[stream] = loop.time()
        return await self._journals[stream_type(stream)].head(stream)

    def _done(self, task: asyncio.Task[Commit | None]) -> None:
        self._all.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has been told, and nobody else is interested

"""The newest commits of streams, as they were a moment ago: whoever asks often does not ask the journal each time.

A head is read so that no append can be missed, which costs a store what an append does (Cassandra a round of Paxos in
the same partition): people, programs and Prometheus, who look at lags again and again, would slow the owners down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streams.journal import Commit, Journal, stream_name, stream_type

HEAD_SECONDS = 1.0
"""So old a head may be, in seconds since it was begun to be read."""


class Heads:
    """Of all streams of some journals, by type."""

    def __init__(self, journals: Mapping[str, Journal], partitions: int) -> None:
        self._journals = journals
        self._streams = [stream_name(type, partition) for type in journals for partition in range(partitions)]
        self._found: dict[str, tuple[float, asyncio.Task[Commit | None]]] = {}

    async def of(self, only: Collection[str] | None = None) -> dict[str, Commit | None]:
        """The newest commit of each stream, or of only some. Raises `Unavailable`."""
        streams = [stream for stream in self._streams if only is None or stream in only]
        heads = await asyncio.gather(*(self._head(stream) for stream in streams))
        return dict(zip(streams, heads, strict=True))

    async def _head(self, stream: str) -> Commit | None:
        now = asyncio.get_running_loop().time()
        began, task = self._found.get(stream, (float("-inf"), None))
        if task is None or now - began >= HEAD_SECONDS or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.ensure_future(self._journals[stream_type(stream)].head(stream))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, if nobody waits any more
            self._found[stream] = now, task
        return await asyncio.shield(task)  # others wait for the same

"""What operators have ordered and the leader has decided, on a topic of one partition that every worker follows.

A record a fact, under a key of its own, the newest counts; the topic is compacted. So orders outlive the worker that
took them, and two at the same moment do not undo each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from projections.feed import Feed
from projections.kept import table_name
from streams.broker import Broker, Record
from streams.tasks import cancel

log = logging.getLogger(__name__)

SERVING, GENERATION, PAUSED, SKIPPED, DROPPED = "serving", "generation", "paused", "skipped", "dropped"
_AT_ONCE = 1_000
_SEEN_SECONDS = 5.0


class Control:
    """The facts, as far as this worker has read. `changed()` is called after each of its steps."""

    def __init__(self, topic: str, feed: Feed, broker: Broker) -> None:
        self._topic = topic
        self._feed = feed
        self._broker = broker
        self._facts: dict[tuple[str, ...], dict[str, Any]] = {}
        self._read_to = 0
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.changed: Callable[[], None] = lambda: None

    # -- what is so --------------------------------------------------------------------------------------------

    def serving(self, projection: str) -> str | None:
        """The table that answers for a projection; None until the first is complete."""
        table: str | None = self._facts.get((SERVING, projection), {}).get("table")
        return table

    async def first_serving(self, projection: str, seconds: float) -> str | None:
        """Likewise, after waiting for it for as long as that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.serving(projection) is not None)
        return self.serving(projection)

    def wanted(self, projection: str, version: int) -> str:
        """The table that is to be built of a version: a new one after each `rebuild`."""
        generation = self._facts.get((GENERATION, table_name(projection, version)), {}).get("generation", 0)
        return table_name(projection, version, generation)

    def paused(self, projection: str) -> str | None:
        """Why a projection stands still; None when it does not."""
        reason: str | None = self._facts.get((PAUSED, projection), {}).get("reason")
        return reason

    def skips(self, projection: str) -> Mapping[str, str]:
        """The positions that a projection leaves out, and why."""
        return {
            key[2]: fact["reason"] for key, fact in self._facts.items() if key[0] == SKIPPED and key[1] == projection
        }

    def dropped(self) -> set[str]:
        """The tables that are to be removed."""
        return {key[1] for key in self._facts if key[0] == DROPPED}

    # -- what shall be so -----------------------------------------------------------------------------------------

    async def serve(self, projection: str, table: str) -> None:
        """From now on this table answers."""
        await self._put((SERVING, projection), {"table": table})

    async def build_again(self, projection: str, version: int) -> str:
        """Have a new table built of a version; its name."""
        base = table_name(projection, version)
        generation = self._facts.get((GENERATION, base), {}).get("generation", 0) + 1
        await self._put((GENERATION, base), {"generation": generation})
        return table_name(projection, version, generation)

    async def pause(self, projection: str, reason: str) -> None:
        """Let a projection stand still."""
        await self._put((PAUSED, projection), {"reason": reason})

    async def resume(self, projection: str) -> None:
        """Let it go on."""
        await self._put((PAUSED, projection), None)

    async def skip(self, projection: str, position: str, reason: str) -> None:
        """Leave an event out of a projection, for ever, also when it is built again."""
        await self._put((SKIPPED, projection, position), {"reason": reason})

    async def drop(self, table: str) -> None:
        """Have a table removed that nobody needs."""
        await self._put((DROPPED, table), {})

    async def _put(self, key: tuple[str, ...], fact: Mapping[str, Any] | None) -> None:
        """On return it is on the topic, and this worker has read it."""
        record: Record = "/".join(key).encode(), None if fact is None else msgspec.json.encode(fact), []
        offset = await self._broker.publish(self._topic, 0, [record])
        await self.wait_for(offset)

    async def wait_for(self, offset: int) -> None:
        """Return when this worker has read the topic up to this offset. Raises `TimeoutError`."""
        async with asyncio.timeout(_SEEN_SECONDS), self._moved:
            await self._moved.wait_for(lambda: self._read_to > offset)

    @property
    def offset(self) -> int:
        """That of the newest fact that this worker has read; -1 before the first."""
        return self._read_to - 1

    # -- reading --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all that is there, then follow."""
        reading = await self._feed.open(self._topic, 0)
        try:
            first, end = await reading.first(), await reading.end()
            await reading.seek(first)
            if first < end:
                while self._read_to < end:
                    await self._take(await reading.read(_AT_ONCE))
        except BaseException:
            await reading.close()
            raise
        self._task = asyncio.create_task(self._follow(reading), name="control")

    async def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            await cancel(self._task)

    async def _follow(self, reading: Any) -> None:
        try:
            while True:
                await self._take(await reading.read(_AT_ONCE))
                self.changed()
        finally:
            with contextlib.suppress(Exception):
                await reading.close()

    async def _take(self, records: Any) -> None:
        for record in records:
            try:
                self._read(record)
            except (ValueError, AttributeError, msgspec.DecodeError) as error:
                log.warning("%s: offset %d is no order and is left out: %r", self._topic, record.offset, error)
            self._read_to = record.offset + 1
        async with self._moved:
            self._moved.notify_all()

    def _read(self, record: Any) -> None:
        kind, _, rest = record.key.decode().partition("/")
        # A position has no slash in it, and a projection none in its name.
        key = (kind, *rest.split("/", 1))
        if record.value is None:
            self._facts.pop(key, None)
        else:
            self._facts[key] = msgspec.json.decode(record.value, type=dict[str, Any])

"""One partition: its batches, in the order of their offsets, and who waits for the next one."""

from __future__ import annotations

import asyncio
from functools import cached_property

from streams.dev.broker.batches import Batch, first_since, placed
from streams.dev.broker.producers import Producers
from streams.dev.broker.store import KeptLog, Store


class OffsetGone(Exception):
    """An offset that is not there any more, or not yet."""


class PartitionLog:
    """`start` is the first offset that there may be, `end` the next one."""

    def __init__(self, store: Store, kept: KeptLog) -> None:
        self._store = store
        self._id = kept.id
        self.start = kept.start
        self.end = kept.end
        self.is_there = True
        """False once its topic was deleted."""
        self.waiting: set[asyncio.Event] = set()
        """Set when there is something new, or nothing any more."""

    @cached_property
    def _producers(self) -> Producers:
        return Producers(self._store.newest_heads(self._id))

    def append(self, batch: Batch, append_time: int | None) -> int:
        """Write a batch, unless it is there. Returns the offset of its first record. Raises `OutOfOrder`,
        `Superseded`."""
        if (written := self._producers.check(batch)) is not None:
            return written.first
        batch = placed(batch, self.end, append_time)
        self._store.append(self._id, batch)
        self._producers.wrote(batch)
        self.end = batch.last + 1
        return batch.first

    def wake(self) -> None:
        """Tell those who wait."""
        for event in self.waiting:
            event.set()

    def read(self, start: int, most_bytes: int) -> bytes:
        """The batches from the one with this offset on, at least one if there is any. Raises `OffsetGone`."""
        if not self.start <= start <= self.end:
            raise OffsetGone
        return b"" if start == self.end else self._store.read(self._id, start, most_bytes)

    def first_since(self, time: int) -> tuple[int, int] | None:
        """Offset and time of the first record that is not older; None where all are."""
        for batch in self._store.since(self._id, self.start, time):
            if (found := first_since(batch, time)) is not None and found[0] >= self.start:
                return found
        return None

    def remove_before(self, offset: int) -> None:
        """Have it begin there. Raises `OffsetGone` for one that is behind the end."""
        if offset > self.end:
            raise OffsetGone
        if offset > self.start:
            self._store.remove_before(self._id, offset)
            self.start = offset

    def expire(self, time: int) -> None:
        """Remove what is older, from the beginning on."""
        if (last := self._store.expired(self._id, time)) is not None:
            self.remove_before(last + 1)

    def end_of_topic(self) -> None:
        """Its topic was deleted."""
        self.is_there = False
        self.wake()

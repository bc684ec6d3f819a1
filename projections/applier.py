"""Applies events to tables in batches: each touched row is read once and written once.

A row keeps the position of the last event applied to it, and an event that is not newer is left out, so
delivery may repeat as it likes. Events are acknowledged when their rows are on the changelog and in RocksDB.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from projections.projection import Projection, PublishedEvent, Row
from projections.tables import Table, place
from projections.tailer import COMMIT_END, read_position
from schemas.codec import Codec
from streams.broker import Broker
from streams.handler import decode_event
from streams.indexer import cancel
from streams.journal import Journal, stream_name

log = logging.getLogger(__name__)

BATCH = 500
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

_decode_row = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


class MissingEvents(Exception):
    """An aggregate's sequence jumps: an event was lost on the way, and the row would be wrong."""


class Applier:
    """Applies the events of one aggregate type to the tables of its projections.

    `tables` has a table by the name of each projection; `positions` keeps how far each stream was applied.
    """

    def __init__(
        self,
        source: str,
        projections: Sequence[Projection],
        tables: dict[str, Table],
        positions: Table,
        broker: Broker,
        codec: Codec,
        journal: Journal,
        let_go: Callable[[Any], None],
        caught_up: Callable[[int], bool],
    ) -> None:
        self.source = source
        self._applied: dict[int, int] = {}
        self._projections = projections
        self._tables = tables
        self._positions = positions
        self._broker = broker
        self._codec = codec
        self._journal = journal
        self._let_go = let_go
        self._caught_up = caught_up
        self._lanes: dict[int, _Lane] = {}
        self._moved = asyncio.Condition()

    def applied(self, partition: int) -> int | None:
        """The newest commit of the stream that is applied whole; None while that is not known.

        What the tables say counts when there is nothing left to read: a table that was recovered on another
        machine may be behind the one that keeps the positions, until Faust has delivered again.
        """
        if self._caught_up(partition):
            self._advance(partition, self._stored(partition))
        return self._applied.get(partition)

    def _stored(self, partition: int) -> int:
        value = self._positions.get(partition, stream_name(self.source, partition).encode())
        return 0 if value is None else msgspec.json.decode(value, type=int)

    def _advance(self, partition: int, nr: int) -> None:
        # Never back: late duplicates from a former tailer come with old positions.
        self._applied[partition] = max(nr, self._applied.get(partition, 0))

    async def wait_for(self, partition: int, nr: int, seconds: float) -> bool:
        """Whether commit `nr` of a partition is applied within `seconds`."""

        def reached() -> bool:
            applied = self.applied(partition)
            return applied is not None and applied >= nr

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(reached)
        return reached()

    async def deliver(self, event: Any) -> None:
        """Take an event of the stream; waits while its partition has enough to do."""
        partition = event.message.partition
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane(self)
        await lane.put(event)

    async def suspend(self) -> None:
        """Let go of all that is not applied; it will be delivered again."""
        lanes, self._lanes = self._lanes, {}
        self._applied.clear()
        for lane in lanes.values():
            await lane.close(self._let_go)

    async def apply(self, batch: Sequence[Any]) -> None:
        """Apply a batch of events of one partition. Raises what decoding or a projection raises, with nothing done."""
        partition = batch[-1].message.partition
        rows: dict[tuple[str, str], Row | None] = {}
        changed: dict[tuple[str, str], None] = {}  # in their order, which a set of strings does not keep
        complete = 0
        for event in batch:
            published = await self._read(event)
            complete = max(complete, published.nr if COMMIT_END in event.message.headers else published.nr - 1)
            for projection in self._projections:
                for key in projection.keys(published):
                    self._fold(projection, key, published, partition, rows, changed)
        written: dict[Table, dict[bytes, bytes | None]] = {}
        for name, key in changed:
            row = rows[name, key]
            written.setdefault(self._tables[name], {})[key.encode()] = None if row is None else _encode(row)
        position = _encode(max(complete, self._stored(partition)))
        written[self._positions] = {stream_name(self.source, partition).encode(): position}
        # The changelog first: a row that were only on this machine would be taken for applied when its events come
        # again, and be missing wherever the table is recovered.
        offsets = await asyncio.gather(*(table.publish(self._broker, partition, its) for table, its in written.items()))
        for (table, its), offset in zip(written.items(), offsets, strict=True):
            table.write(partition, its, offset)
        self._advance(partition, complete)
        async with self._moved:
            self._moved.notify_all()

    def _fold(
        self,
        projection: Projection,
        key: str,
        event: PublishedEvent,
        partition: int,
        rows: dict[tuple[str, str], Row | None],
        changed: dict[tuple[str, str], None],
    ) -> None:
        at = (projection.name, key)
        if at in rows:
            row = rows[at]
        else:
            value = self._tables[projection.name].get(partition, key.encode())
            row = rows[at] = None if value is None else _decode_row(value)
        if row is not None and (event.nr, event.index) <= place(row):
            return
        if not projection.local:
            known = row["sequence"] if row is not None else 0
            if event.sequence != known + 1:
                raise MissingEvents(
                    f"{projection.name}: {self.source} {key} stands at sequence {known}, "
                    f"{event.position} brings {event.sequence}"
                )
        row = projection.evolve(row, key, event)
        if row is not None:
            row = {**row, "position": event.position}
            if not projection.local:
                row["sequence"] = event.sequence
        rows[at] = row
        changed[at] = None

    async def _read(self, event: Any) -> PublishedEvent:
        headers = event.message.headers
        stream, at = read_position(headers)
        attributes = dict(headers)
        value = await decode_event(self._codec, self._journal, event.message.value)
        return PublishedEvent(
            value,
            attributes["ce_type"].decode(),
            event.message.key.decode(),
            int(attributes["ce_sequence"]),
            attributes["ce_time"].decode(),
            stream,
            at.nr,
            at.index,
        )


class _Lane:
    """The events of one partition on their way: a bounded queue, and a task that applies what is in it."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._queue: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._open = True
        self._task = asyncio.create_task(self._work())

    async def put(self, event: Any) -> None:
        while self._open and len(self._queue) >= 2 * BATCH:
            self._changed.clear()
            await self._changed.wait()
        if self._open:
            self._queue.append(event)
            self._changed.set()
        else:
            self._applier._let_go(event)

    async def close(self, let_go: Callable[[Any], None]) -> None:
        self._open = False
        self._changed.set()
        await cancel(self._task)
        while self._queue:
            let_go(self._queue.popleft())

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            batch = [self._queue[i] for i in range(min(BATCH, len(self._queue)))]
            try:
                await self._applier.apply(batch)
            except Exception as error:
                log.error("%s events wait, nothing is lost: %s: %s", self._applier.source, type(error).__name__, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            for event in batch:
                self._queue.popleft()
                event.ack()
            self._changed.set()
            await asyncio.sleep(0)

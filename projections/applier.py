"""Applies events to tables in batches: each touched row is read once and written once.

A row keeps the position of the last event applied to it, and an event that is not newer is left out, so
delivery may repeat as it likes; a row that is removed leaves its position behind for that. Where to read on is kept
beside the rows, and written when they are on the changelog and in RocksDB: what Faust has committed may be ahead of
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from projections.lane import Lane
from projections.projection import Projection, PublishedEvent, Row
from projections.tables import GONE, Table, place
from projections.tailer import COMMIT_END, read_position
from schemas.codec import Codec
from schemas.wire_format import from_wire
from streams.broker import Broker
from streams.journal import Journal, stream_name
from streams.reading import decode_event

log = logging.getLogger(__name__)

OFFSET = b" offset"
"""Behind the name of a stream: the offset of the next event to apply, in the stream's partition of the events topic."""

_decode_row = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


class MissingEvents(Exception):
    """An aggregate's sequence jumps: an event was lost on the way, and the row would be wrong."""


class Applier:
    """Applies the events of one aggregate type, which come on `topic`, to the tables of its projections.

    `tables` has a table by the name of each projection; `positions` keeps how far each stream was applied, and the
    offset to go on from. `let_go(event)` forgets an event that will be delivered again, `rejoin()` asks for a
    rebalance.
    """

    def __init__(
        self,
        source: str,
        topic: str,
        projections: Sequence[Projection],
        tables: dict[str, Table],
        positions: Table,
        broker: Broker,
        codec: Codec,
        journal: Journal,
        let_go: Callable[[Any], None],
        rejoin: Callable[[], None],
    ) -> None:
        self.source = source
        self._topic = topic
        self._projections = projections
        self._tables = tables
        self._positions = positions
        self._broker = broker
        self._codec = codec
        self._journal = journal
        self._let_go = let_go
        self._rejoin = rejoin
        self._lanes: dict[int, Lane] = {}
        self._moved = asyncio.Condition()

    def applied(self, partition: int) -> int | None:
        """The newest commit of the stream that is applied whole; None for a partition that this worker has not."""
        return self._position(partition, b"") if partition in self._lanes else None

    def _position(self, partition: int, what: bytes) -> int:
        value = self._positions.get(partition, stream_name(self.source, partition).encode() + what)
        return 0 if value is None else msgspec.json.decode(value, type=int)

    async def wait_for(self, partition: int, nr: int, seconds: float) -> bool:
        """Whether commit `nr` of a partition is applied within `seconds`."""

        def reached() -> bool:
            applied = self.applied(partition)
            return applied is not None and applied >= nr

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(reached)
        return reached()

    def assign(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Apply the events of these partitions, whose topic ends at these offsets; returns where to read each from.
        Cheap to repeat; the tables must be there."""
        for partition, end in ends.items():
            lane = self._lanes.get(partition)
            if lane is None:
                self._lanes[partition] = self._lane(partition, self._next_offset(partition, end))
            elif not lane.began:  # Faust asks before the tables are recovered, and afterwards
                lane.next_offset = self._next_offset(partition, end)
        return {partition: lane.next_offset for partition, lane in self._lanes.items()}

    def _next_offset(self, partition: int, end: int) -> int:
        offset = self._position(partition, OFFSET)
        if offset <= end:
            return offset
        log.warning(
            "%s: the topic ends at %d, before offset %d that is due: reading all of it", self._topic, end, offset
        )
        return 0

    def _lane(self, partition: int, next_offset: int) -> Lane:
        async def gap_is_empty(start: int, end: int) -> bool:
            return await self._broker.gap_is_empty(self._topic, partition, start, end)

        name = stream_name(self.source, partition)
        return Lane(name, next_offset, self.apply, self._let_go, gap_is_empty, self._rejoin)

    async def deliver(self, event: Any) -> None:
        """Take an event of the stream; waits while its partition has enough to do."""
        lane = self._lanes.get(event.message.partition)
        if lane is None:
            self._let_go(event)
        else:
            await lane.put(event)

    async def suspend(self) -> None:
        """Let go of all that is not applied; it will be delivered again."""
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))

    async def apply(self, batch: Sequence[Any]) -> None:
        """Apply a batch of events of one partition. Raises what decoding or a projection raises, with nothing done."""
        partition = batch[-1].message.partition
        rows: dict[tuple[str, str], Row | None] = {}  # None: there never was one
        changed: dict[tuple[str, str], None] = {}  # in their order, which a set of strings does not keep
        last, newest = (0, -1), batch[-1]
        for event in batch:
            origin, events = await self._read(event)
            if (origin.nr, origin.index) > last:  # a late duplicate takes nothing back
                last, newest = (origin.nr, origin.index), event
            for projection in self._projections:
                for key, touching in _touched(projection, origin, events).items():
                    self._fold(projection, key, origin, touching, partition, rows, changed)
        complete = last[0] if COMMIT_END in newest.message.headers else last[0] - 1
        written: dict[Table, dict[bytes, bytes | None]] = {}
        for name, key in changed:
            written.setdefault(self._tables[name], {})[key.encode()] = _encode(rows[name, key])
        await self._keep(partition, written)
        # Not before the rows: wherever this is read, they are there.
        stream = stream_name(self.source, partition).encode()
        applied = max(complete, self._position(partition, b""))
        position: dict[bytes, bytes | None] = {
            stream: _encode(applied),
            stream + OFFSET: _encode(batch[-1].message.offset + 1),
        }
        await self._keep(partition, {self._positions: position})
        async with self._moved:
            self._moved.notify_all()

    async def _keep(self, partition: int, written: Mapping[Table, Mapping[bytes, bytes | None]]) -> None:
        # The changelog first: a row that were only on this machine would be taken for applied when its events come
        # again, and be missing wherever the table is recovered.
        offsets = await asyncio.gather(*(table.publish(self._broker, partition, its) for table, its in written.items()))
        for (table, its), offset in zip(written.items(), offsets, strict=True):
            table.write(partition, its, offset)

    def _fold(
        self,
        projection: Projection,
        key: str,
        event: PublishedEvent,
        parts: Sequence[PublishedEvent],
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
        if row is not None and GONE in row:
            row = None
        for part in parts:
            row = projection.evolve(row, key, part)
        row = {**({GONE: True} if row is None else row), "position": event.position}
        if not projection.local:
            row["sequence"] = event.sequence
        rows[at] = row
        changed[at] = None

    async def _read(self, event: Any) -> tuple[PublishedEvent, Sequence[PublishedEvent]]:
        """Where an event was published from, and what it stands for."""
        headers = event.message.headers
        stream, at = read_position(headers)
        attributes = dict(headers)
        place = (
            event.message.key.decode(),
            int(attributes["ce_sequence"]),
            attributes["ce_time"].decode(),
            stream,
            at.nr,
            at.index,
        )
        data = from_wire(event.message.value, attributes)
        values = await decode_event(self._codec, self._journal, data)
        events = [PublishedEvent(value, type(value).__name__, *place) for value in values]
        return events[0] if events else PublishedEvent(None, attributes["ce_type"].decode(), *place), events


def _touched(
    projection: Projection, origin: PublishedEvent, events: Sequence[PublishedEvent]
) -> Mapping[str, Sequence[PublishedEvent]]:
    """What came of one stored event, by the rows that it touches.

    That of its aggregate it touches even where nothing came of it: the row counts the aggregate's sequence.
    """
    if not projection.local:
        return {origin.aggregate_id: events}
    touched: dict[str, list[PublishedEvent]] = {}
    for event in events:
        for key in projection.keys(event):
            touched.setdefault(key, []).append(event)
    return touched

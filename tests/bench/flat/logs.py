"""Long logs, made in a minute instead of hours: the rows of `commits` as an owner under light load writes them.

The same columns and bytes, by the project's own codecs; but by plain inserts, many in a request, where an owner's are
conditional and follow one another: what stands in the table afterwards is the same. The rows by aggregate are left
out: neither a takeover nor a tail reads them. The command partition gets as many records, since an owner looks where it
ends.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cassandra.query import BoundStatement

from aggregates.shop.order import LineAdded
from streams.cli.progress import Meter
from streams.journal.cassandra.rows import COMMIT_COLUMNS
from streams.journal.cassandra.tables import COMMITS_PER_BUCKET, keyspace_name
from streams.journal.commit_codec import encode_payload
from streams.journal.port import Commit, RecordedEvent, SliceHead, log_name
from streams.ownership.derivation import MOST_PENDING
from streams.slices import slice_of
from tests.bench.flat.site import Site

ROWS_AT_ONCE = 100
REQUESTS_AT_ONCE = 32
RECORDS_AT_ONCE = 10_000
ORDERS = 1_000
LINE = LineAdded("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.55"))

_bigint = struct.Struct(">q").pack
_START = datetime(2011, 5, 31, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Writer:
    """Writes logs of this many commits. Each has one slice, that of its number."""

    def __init__(self, site: Site, topic_id: str) -> None:
        self._site = site
        self._topic_id = topic_id
        self._data = site.context.events.encode(LINE)
        self._ids: defaultdict[int, list[str]] = defaultdict(list)
        """By slice the orders."""
        slices = site.settings.partitions
        for number in range(ORDERS * slices):
            self._ids[slice_of(f"o{number}", slices)].append(f"o{number}")

    async def open(self) -> None:
        """Prepare."""
        address = self._site.session.address
        keyspace = keyspace_name(self._site.settings.namespace, address.keyspace, self._site.context.name)
        columns = f"log, bucket, {COMMIT_COLUMNS}"
        marks = ", ".join("?" * len(columns.split(",")))
        self._insert = await self._site.session.prepare(f"INSERT INTO {keyspace}.commits ({columns}) VALUES ({marks})")
        bucket = f"INSERT INTO {keyspace}.logs (log, bucket) VALUES (?, ?)"
        self._bucket = await self._site.session.prepare(bucket)

    async def write(self, number: int, length: int, meter: Meter) -> None:
        """A log of so many commits: the one that begins the epoch, and then a command in each."""
        await self._fill_topic(number, length - 1)
        free = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def send(rows: list[BoundStatement]) -> None:
            async with free:
                await self._site.session.execute_together(rows)

        async with asyncio.TaskGroup() as sending:
            for first in range(1, length + 1, ROWS_AT_ONCE):
                # Of one bucket, since `ROWS_AT_ONCE` divides its size, but for the first one of each.
                rows = [
                    self._row(commit) for commit in self.commits(number, first, min(first + ROWS_AT_ONCE, length + 1))
                ]
                async with free:
                    pass  # there is room for one more
                sending.create_task(send(rows))
                meter.advance(len(rows))
                await asyncio.sleep(0)
        await self._site.session.execute(self._bucket, (log_name("order", number), length // COMMITS_PER_BUCKET))

    def commits(self, number: int, first: int, end: int, events: int = 1) -> Iterator[Commit]:
        """The commits `first` to before `end`. As many are not known to be indexed as a busy owner may leave behind."""
        for nr in range(first, end):
            yield Commit(
                log_name("order", number),
                nr,
                1,
                "bench:1:0",
                self._topic_id,
                {number: SliceHead(nr - 2, nr if nr > 1 else 0)},
                max(0, nr - MOST_PENDING),
                _START + timedelta(milliseconds=nr),
                tuple(self._event(number, nr, index, events) for index in range(events)) if nr > 1 else (),
            )

    def _event(self, slice: int, nr: int, index: int, events: int) -> RecordedEvent:
        number, ids = nr * events + index, self._ids[slice]
        id = f"{number:032x}"
        return RecordedEvent(ids[number % len(ids)], number // len(ids) + 1, "LineAdded", self._data, id, id)

    def _row(self, commit: Commit) -> BoundStatement:
        row = BoundStatement(self._insert)
        row.values = [
            commit.log.encode(),
            _bigint(commit.nr // COMMITS_PER_BUCKET),
            _bigint(commit.nr),
            _bigint(commit.epoch),
            commit.owner.encode(),
            commit.topic_id.encode(),
            _bigint(commit.derived_nr),
            _bigint((commit.recorded_at - _EPOCH) // timedelta(milliseconds=1)),
            encode_payload(commit.slices, commit.events),
        ]
        return row

    async def _fill_topic(self, partition: int, records: int) -> None:
        topic = self._site.context.commands_topic
        short: Any = (None, b"", [])
        for first in range(0, records, RECORDS_AT_ONCE):
            await self._site.broker.publish(topic, partition, [short] * min(RECORDS_AT_ONCE, records - first))

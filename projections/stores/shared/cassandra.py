"""Rows in Cassandra. Tables, statements and timestamps: `cassandra_tables.py`; connection and errors:
`streams/journal/cassandra/session.py`.

There is no transaction over rows, listings and checkpoints, and none is needed. Each write carries the timestamp of its
position, so the order and the number of its arrivals do not change the result. The steps of a save are: new entries of
listings, the deletion of the entries that they replace, the rows, and the checkpoint when all of these are there. After
a crash in between, the checkpoint says to apply the same events again, which does the rest; readers judge rows by their
own position. A row that was folded anew at the same position has a later timestamp by its revision.

A row that moves within a listing leaves an entry to be deleted; the row before the change tells which. A late writer
that does not know where the row has moved on to may add an entry that nobody deletes. So an entry is shown only if its
row is listed there, or if the row is older and about to be written. An entry of a lasting listing is always right.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from cassandra.query import BoundStatement

from projections.projection import Row
from projections.stores.listings import ALL, Cursor, Listings, Page, SharedRows, Span, Spot, none_listed, page_of, spots
from projections.stores.rows import Changes, Checkpoint, Quarantined, StoredRow, decode_stored, shown
from projections.stores.shared.cassandra_tables import (
    BUCKETS,
    STATEMENTS,
    TABLES,
    bucket_of,
    next_base,
    revised_quarantine,
    timestamp,
    timestamp_of,
)
from projections.stores.shared.cassandra_writes import Writes, bucket_written, read_spots
from streams.concurrency.tasks import all_done
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.rows import batches
from streams.journal.cassandra.session import CassandraSession
from streams.journal.cassandra.setup import make_keyspace
from streams.journal.port import JournalMissing

_IN_FLIGHT = 16
_KEYS_AT_ONCE = 50
_BUCKET_ROWS, _BUCKET_BYTES = 100, 64 * 1024
"""The most of one request. Rows of one bucket are one write to Cassandra, so there may be more of them than usual."""
_ROWS_AT_ONCE = 1000
LARGEST_ROW = 4 << 20
"""Bytes of a row. Cassandra takes no request of more than 16 MB, nor a write of more than half a segment of its commit
log; a row goes with others, and stands in each of its listings as well."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Quarantined).decode


class ReadRow(msgspec.Struct, frozen=True):
    """A row as it stands: encoded, and where it is listed."""

    encoded: str
    listed: Mapping[str, Spot]


class CassandraRows(SharedRows):
    """A `SharedRows` in one keyspace."""

    def __init__(self, address: CassandraAddress, keyspace: str, listings: Listings = none_listed) -> None:
        self._keyspace = keyspace
        self._address = address
        self._listings = listings
        self._session = CassandraSession(address)
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def create(self) -> None:
        await make_keyspace(self._address, self._keyspace, TABLES.values())

    async def open(self) -> None:
        try:
            await self._session.connect()
            await self._session.prepare_all(self._keyspace, STATEMENTS)
        except JournalMissing as error:
            await self.close()
            raise JournalMissing(f"keyspace {self._keyspace} is missing or incomplete: {error}") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        return {table: Checkpoint(*place) for table, _, *place in await self._ask("places", partition) if place[0] >= 0}

    async def _bases(self, partition: int) -> Mapping[str, int]:
        return {table: base or 0 for table, base, *_ in await self._ask("places", partition)}

    async def largest_row(self) -> int:
        return LARGEST_ROW

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        rows = await self._load(partition, table, keys)
        return {key: decode_stored(row.encoded.encode()) for key, row in rows.items()}

    async def _load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, ReadRow]:
        buckets: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            buckets[bucket_of(key.encode())].append(key)
        rows: dict[str, ReadRow] = {}

        async def load(bucket: int, some_keys: Sequence[str]) -> None:
            for key, row, listed in await self._ask("load", table, partition, bucket, some_keys):
                rows[key] = ReadRow(row, read_spots(listed))

        await all_done(
            load(bucket, bucket_keys[at : at + _KEYS_AT_ONCE])
            for bucket, bucket_keys in buckets.items()
            for at in range(0, len(bucket_keys), _KEYS_AT_ONCE)
        )
        return rows

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        bases = await self._bases(partition)
        await all_done(self._save(partition, table, bases.get(table, 0), change) for table, change in changes.items())

    async def _save(self, partition: int, table: str, base: int, change: Changes) -> None:
        listings = self._listings(table)
        writes = Writes(self._session.statement, table, partition, bool(listings))
        for key, row in change.rows.items():
            before = change.before.get(key)
            if before is None or before.at <= row.at:  # it would lose: it needs no place in a listing
                left = {} if before is None else spots(listings, before)
                at = timestamp(base, *row.at, row.revision)
                writes.add(key, change.value(key), spots(listings, row), left, at)
        await all_done(self._quarantine(writes, partition, table, base, *item) for item in change.quarantined.items())
        await self._send(batches(writes.entries_by_group(), self._session.replica_finder()))
        await self._send(batches(writes.left, self._session.replica_finder()))
        await self._send(batches(writes.rows, bucket_written, _BUCKET_ROWS, _BUCKET_BYTES))
        await self._send(batches(writes.quarantined, self._session.replica_finder()))
        place, at = change.place, timestamp(base, *change.place.at)
        await self._ask("save_place", partition, table, place.nr, place.index, place.complete, place.offset, at)

    async def _quarantine(
        self, writes: Writes, partition: int, table: str, base: int, key: str, quarantined: Quarantined
    ) -> None:
        value, at = _encode(quarantined), timestamp_of(base, quarantined)
        for present, present_at in await self._ask("known", table, partition, key):
            at = revised_quarantine(at, present_at, present != value.decode())
        writes.quarantine(key, value, at)

    async def _send(self, batches: Iterable[Sequence[BoundStatement]]) -> None:
        async def send(batch: Sequence[BoundStatement]) -> None:
            async with self._in_flight:
                await self._session.execute_together(batch)

        await all_done(send(batch) for batch in batches)

    async def _ask(self, name: str, *values: object) -> Sequence[Any]:
        async with self._in_flight:
            return await self._session.run(name, *values)

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        by_key: dict[str, Quarantined] = {}
        first = ""
        while rows := await self._ask("quarantined", table, partition, first, _ROWS_AT_ONCE):
            by_key |= {key: _decode(value) for key, value in rows}
            first = rows[-1][0] + "\0"
        return {key: quarantined for key, quarantined in by_key.items() if quarantined.events}

    async def drop(self, partition: int, table: str) -> None:
        # A deletion hides all older timestamps, of later writes too. So a table that is built anew has timestamps from
        # where those of its predecessor end. If this is cut off in the middle, the table is still named
        # among the places, to be dropped again, and at its beginning: built on instead, it would come out right.
        known = {name: (base or 0, nr) for name, base, nr, *_ in await self._ask("places", partition)}
        base = next_base(*known.get(table, (0, 0)))
        await self._ask("restart", partition, table, base, 0, base - 2)
        await all_done(self._drop_bucket(partition, table, bucket, base - 2) for bucket in range(BUCKETS))
        await self._ask("drop_quarantined", base - 2, table, partition)
        await self._ask("restart", partition, table, base, -1, base - 1)

    async def _drop_bucket(self, partition: int, table: str, bucket: int, at: int) -> None:
        first = ""
        while rows := await self._ask("keys", table, partition, bucket, first, _ROWS_AT_ONCE):
            # Rows before entries: an entry without its row is nothing, a row without its entry would stay unlisted.
            await self._ask("drop_rows", at, table, partition, bucket, first, last := rows[-1][0])
            first = last + "\0"
            writes = Writes(self._session.statement, table, partition, has_listings=True)
            for key, listed in rows:
                writes.leave(key, read_spots(listed), at)
            await self._send(batches(writes.left, self._session.replica_finder()))

    async def listed(
        self, table: str, listing: str, group: str, after: Cursor | None = None, most: int = 100, span: Span = ALL
    ) -> Page:
        lasting = any(index.name == listing and index.lasting for index in self._listings(table))
        shown_rows: list[tuple[Cursor, Row]] = []
        while len(shown_rows) <= most:
            entries = await self._entries((table, listing, group), after, most + 1, span)
            if lasting:
                shown_rows = [((sort, key), shown(decode_stored(row.encode()))) for sort, key, _, row in entries]
            else:
                shown_rows += await self._still_there(entries, table, listing, group)
            if len(entries) <= most:
                break
            after = entries[-1][:2]
        return page_of(shown_rows, most)

    async def _entries(self, group: Sequence[str], after: Cursor | None, most: int, span: Span) -> Sequence[Any]:
        begin = span.begin(after)
        if span.descending:
            return await self._ask("down", *group, span.first, *begin, most)
        return await self._ask("up", *group, *begin, span.last, most)

    async def _still_there(
        self, entries: Sequence[Any], table: str, listing: str, group: str
    ) -> list[tuple[Cursor, Row]]:
        keys: dict[int, list[str]] = defaultdict(list)
        for _, key, partition, _ in entries:
            keys[partition].append(key)
        loaded = await asyncio.gather(*(self._load(partition, table, part) for partition, part in keys.items()))
        rows = {key: present for part in loaded for key, present in part.items()}
        shown_rows: list[tuple[Cursor, Row]] = []
        for sort, key, _, copy in entries:
            if (present := rows.get(key)) is None:
                continue
            row, entry = decode_stored(present.encoded.encode()), decode_stored(copy.encode())
            if present.listed.get(listing) == (group, sort):
                shown_rows.append(((sort, key), shown(row)))
            elif entry.at > row.at:
                shown_rows.append(((sort, key), shown(entry)))
        return shown_rows

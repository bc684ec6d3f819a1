"""Local tables beneath Faust: assignment, standbys and recovery are Faust's, the writing is done here.

Faust writes one row at a time, to RocksDB and to the changelog, and again the offset when the changelog has the row;
its flush gives up after 100 ms. Here the changes that a batch of events makes in all tables of an aggregate type are
one write to the changelog and one to the store. The tables share one Faust table: a new version of a projection needs
no new topic, and the worker that has a partition has all tables of it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from projections.stores.changelog import records_of, removal_of
from projections.stores.changes import ChangeNotifier
from projections.stores.local.store import Record
from projections.stores.rows import LARGEST_ROW, Changes, Checkpoint, Quarantined, StoredRow, decode_stored
from streams.concurrency.fairness import in_turns, yield_if_due
from streams.journal.port import Unavailable
from streams.kafka.client import KafkaClient, ProducerRecord

DROPPED_AT_ONCE = 5_000
RECORD_OVERHEAD = 400
"""Bytes of a record of the changelog beside the row and its key: the batch, lengths, and the name of the table."""


class LocalRows:
    """`Rows` of one aggregate type in a local store: a Faust table of `rocksdb_table` or `sqlite_table`."""

    def __init__(self, table: Any, broker: KafkaClient) -> None:
        self._table = table
        self.live = ChangeNotifier()
        self._broker = broker
        self._writing: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def changelog(self) -> str:
        """The name of its changelog topic."""
        return str(self._table.changelog_topic_name)

    @property
    def store(self) -> Any:
        """The store beneath, whose reading methods views use."""
        return self._table.data

    @property
    def is_damaged(self) -> bool:
        """Whether a partition is out of service until it is recovered from the changelog."""
        return bool(self.store.damaged)

    def remove_damaged(self) -> None:
        """Called at the beginning of a rebalance, in whose course damaged partitions are recovered."""
        self.store.remove_damaged()

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        places: Mapping[str, Checkpoint] = self.store.places(partition)
        return places

    async def largest_row(self) -> int:
        try:
            return min(await self._broker.largest(self.changelog) - RECORD_OVERHEAD, LARGEST_ROW)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: what {self.changelog} takes: {error!r}") from None

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        rows: dict[str, StoredRow] = {}
        async for chunk in in_turns(self.store.get_many(partition, table, keys).items()):
            rows.update((key, decode_stored(value)) for key, value in chunk)
        return rows

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        quarantined: Mapping[str, Quarantined] = self.store.quarantined(partition, table)
        return quarantined

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        """Raises `RecordTooLarge` too, when the topic has been set to take less: then `largest_row` is less."""
        records = [record async for some in in_turns(records_of(changes)) for record in some]
        await self._keep(partition, records, changes)
        for table, change in changes.items():
            self.live.changed(table, partition, change)

    async def drop(self, partition: int, table: str) -> None:
        keys = self.store.record_keys(partition, table)
        records = removal_of(table, keys) if keys else []
        for start in range(0, len(records), DROPPED_AT_ONCE):
            await self._keep(partition, records[start : start + DROPPED_AT_ONCE])

    async def _keep(
        self,
        partition: int,
        records: Sequence[Record],
        changes: Mapping[str, Changes] | None = None,
    ) -> None:
        # The changelog first: a row that is only on this machine would be taken for applied when its events come
        # again, and be missing wherever the table is recovered. One write at a time, so that the offset is known.
        async with self._writing[partition]:
            sent: list[ProducerRecord] = [(key, value, []) for key, value in records]
            # All or none, as far as that can be known: where the topic takes more later, what is folded is another.
            await self._broker.require_room(self.changelog, sent)
            offset = await self._broker.publish(self.changelog, partition, sent, refuse=True)
            await yield_if_due()
            self.store.write(partition, records, offset, changes)

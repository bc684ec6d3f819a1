"""The net below every consumer of this process: a record that cannot be read fails alone, and reading goes on.

Records are bytes that anybody may have written: compressed with an unknown codec or into a bomb, with header names that
are no text, or damaged. aiokafka raises for such a record in the middle of a batch, before its position has moved: so
the consumer, and with Faust's consumer the worker, meets the record again and again. All consumers unpack by
`aiokafka.consumer.fetcher.PartitionRecords`. Importing this module replaces it by the class below, which raises for no
content of a record: a record that cannot be read comes as an `UnreadableRecord`. It has them ask in sessions, too: see
`fetching/sessions.py`.

All code that makes a consumer takes `AIOKafkaConsumer` from here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import consumer, fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.kafka.fetching.batches import (
    MAGIC_AT,
    OLD_ATTRIBUTES_AT,
    SHORTEST,
    UNPACKED_BYTES,
    Batches,
    Bytes,
    Undecompressed,
    UnreadableRecord,
    read_batch,
    unpack,
    unreadable_record,
)
from streams.kafka.fetching.sessions import SessionFetcher
from streams.notices import say_error

__all__ = ["AIOKafkaConsumer", "UnreadableRecord"]

log = logging.getLogger(__name__)

SAID_AT_MOST = 1_000


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a fetch as aiokafka unpacks them, with an `UnreadableRecord` for each that it would raise for."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[ConsumerRecord[Any, Any]]:
        batches: Batches = self._records
        room = UNPACKED_BYTES
        while batches.has_next() and room > 0:  # the rest is fetched again
            raw = batches.next_batch()
            data: Bytes = raw
            end = self.next_fetch_offset + 1
            try:
                magic = raw[MAGIC_AT]
                if len(raw) < SHORTEST[magic >= 2]:  # aiokafka's parsers in C would read behind the end, and crash
                    raise ValueError("it is cut off")
                batch = DefaultRecordBatch(raw) if magic >= 2 else LegacyRecordBatch(raw, magic)
                end = batch.next_offset
                if self._check_crcs and not batch.validate_crc():
                    if _is_new(_refetched, (self._tp, end)):
                        return  # it may have been damaged on its way: it is fetched again
                    if not end - self.next_fetch_offset <= len(raw):  # its offsets are wrong, too
                        end = self.next_fetch_offset + 1
                    raise ValueError("its checksum is wrong")
                if self._passes_over(batch):
                    self.next_fetch_offset = end
                    continue
                if magic < 2 and raw[OLD_ATTRIBUTES_AT] & DefaultRecordBatch.CODEC_MASK:
                    raise Undecompressed("it is compressed in a format from before Kafka 0.11, which is not unpacked")
                if magic >= 2 and batch.compression_type:
                    data = unpack(raw)
                    batch = DefaultRecordBatch(data)
                room -= len(data)
            except Exception as error:
                yield from self._instead(end, _said(error))
                return
            yield from self._of_batch(batch, data, end)
            self.next_fetch_offset = max(self.next_fetch_offset, end)

    def _of_batch(self, batch: Any, raw: Bytes, end: int) -> Iterator[ConsumerRecord[Any, Any]]:
        try:
            for record in batch:
                offset = record.offset
                if offset < self.next_fetch_offset:  # before the offset at which reading began
                    continue
                if offset >= end:  # brokers do not check it, and reading would go on far behind the batch
                    raise ValueError("its offset is not in its batch")
                consumer_record = self._consumer_record(self._tp, record)
                self.next_fetch_offset = offset + 1
                yield consumer_record
            return
        except Exception as error:  # of the record that is due now: the quick parser cannot step over it
            why = _said(error)
        if raw[MAGIC_AT] < 2:
            yield from self._instead(end, why)
            return
        for record in read_batch(self._tp, raw):
            if record.offset < self.next_fetch_offset:
                continue
            if isinstance(record, UnreadableRecord):
                yield from self._instead(record.offset + 1, record.reason)
            else:
                self.next_fetch_offset = record.offset + 1
                yield record

    def _instead(self, end: int, reason: str) -> Iterator[UnreadableRecord]:
        """A record that stands for all from the next offset to before `end`."""
        first, offset, self.next_fetch_offset = self.next_fetch_offset, end - 1, max(self.next_fetch_offset, end)
        if offset < first:
            return
        if _is_new(_said_of, (self._tp, offset)):
            which = f"the record at offset {offset}" if first == offset else f"what is at offsets {first} to {offset}"
            text = "%s-%d: %s cannot be read, and is passed over: %s"
            say_error(log, "strangers-record", "{}-{}".format(*self._tp), text, *self._tp, which, reason)
        yield unreadable_record(self._tp, first, offset, -1, reason)

    def _passes_over(self, batch: Any) -> bool:
        """Whether a batch has no records for this reader: it marks a transaction, or belongs to an aborted one."""
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch:
                if self._contains_abort_marker(batch):
                    self._aborted_producers.discard(batch.producer_id)
            elif batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, (Undecompressed, ValueError)) else f"{type(error).__name__}: {error}"


_refetched: set[tuple[TopicPartition, int]] = set()
_said_of: set[tuple[TopicPartition, int]] = set()


def _is_new(places: set[tuple[TopicPartition, int]], place: tuple[TopicPartition, int]) -> bool:
    """Whether a place was not among these, to which it is added. There are never more than `SAID_AT_MOST`."""
    if place in places:
        return False
    if len(places) >= SAID_AT_MOST:
        places.clear()
    places.add(place)
    return True


fetcher.PartitionRecords = PartitionRecords
fetcher.MemoryRecords = Batches
consumer.Fetcher = SessionFetcher

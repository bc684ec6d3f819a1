"""Records as bytes on Kafka's disk, and what the product's own reader makes of them: the net below every consumer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

import streams.kafka.records  # noqa: F401  (it puts our reader in the place of aiokafka's)

if TYPE_CHECKING:
    from aiokafka.producer.message_accumulator import BatchBuilder

    from tests.simulation.kafka import Record

CODEC = "of a codec that nobody has"
LATEST = 2**63 - 1
_UNKNOWN_CODEC = 7
_ATTRIBUTES = DefaultRecordBase.ATTRIBUTES_OFFSET


def read(topic: str, partition: int, records: Sequence[Record]) -> list[Any]:
    """These records, which follow one another in a partition, as a consumer gets them.

    What stands behind one that cannot be unpacked is fetched again.
    """
    place, found, left = TopicPartition(topic, partition), [], list(records)
    while left:
        raw = fetcher.MemoryRecords(b"".join(map(_batch, left)))
        some = list(fetcher.PartitionRecords(place, raw, [], left[0].offset, None, None, True, False))
        found += some
        left = [record for record in left if some and record.offset > some[-1].offset]
    return found


def unpacked(batch: BatchBuilder) -> tuple[int, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]]:
    """The size of a batch of a producer, and its records."""
    raw = bytes(batch._build())
    return len(raw), [(it.key, it.value, list(it.headers)) for it in DefaultRecordBatch(raw)]


@lru_cache(maxsize=10_000)
def _batch(record: Record) -> bytes:
    """A batch of this record alone. Names of headers that are no text have halves of surrogates for their bytes."""
    odd: list[bytes] = []
    headers = []
    for name, value in record.headers:
        try:
            name.encode()
        except UnicodeEncodeError:
            odd.append(name.encode(errors="surrogateescape"))
            name = "\x01" * len(odd[-1])
        headers.append((name, value))
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    time = max(-LATEST, min(int(record.timestamp * 1000), LATEST))
    builder.append(0, timestamp=time, key=record.key, value=record.value, headers=headers)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, record.offset)
    for name in odd:
        at = raw.index(b"\x01" * len(name), _ATTRIBUTES)
        raw[at : at + len(name)] = name
    if record.damage == CODEC:
        raw[_ATTRIBUTES + 1] |= _UNKNOWN_CODEC
    if odd or record.damage:
        struct.pack_into(">I", raw, DefaultRecordBase.CRC_OFFSET, calc_crc32c(bytes(raw[_ATTRIBUTES:])))
    return bytes(raw)

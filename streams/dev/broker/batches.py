"""Batches of records, kept as they came: only their offsets, and where the topic says so their time, are written in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

_HEAD = struct.Struct(">qiibIhiqqqhii")
HEAD_BYTES = _HEAD.size
_LENGTH_ENDS, _CRC_AT, _ATTRIBUTES_AT, _NEWEST_AT = 12, 17, 21, 35
_CODECS, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
NO_PRODUCER = -1


class BadBatch(Exception):
    """What a producer sent is no batch of records; or one that only transactions have."""

    def __init__(self, reason: str, *, is_foreign: bool = False) -> None:
        super().__init__(reason)
        self.is_foreign = is_foreign
        """Whether it is whole, and of a kind that is not kept here."""


class Batch(NamedTuple):
    """One batch, with what its head says. Times are milliseconds since 1970."""

    data: bytes
    first: int
    records: int
    newest: int
    producer: int
    """`NO_PRODUCER` for one that does not number its batches."""
    epoch: int
    sequence: int
    """The number of its first record among those of its producer to the partition."""

    @property
    def last(self) -> int:
        return self.first + self.records - 1

    @property
    def has_append_time(self) -> bool:
        """Whether all its records have the time of the batch."""
        return bool(self.data[_ATTRIBUTES_AT + 1] & _APPEND_TIME)


def of_head(head: bytes) -> Batch:
    """The batch that begins so, without its records. It was looked at before."""
    first, _, _, _, _, _, last_delta, _, newest, producer, epoch, sequence, _ = _HEAD.unpack_from(head)
    return Batch(head, first, last_delta + 1, newest, producer, epoch, sequence)


def batches(data: bytes | None) -> Iterator[Batch]:
    """Those that a producer sent for one partition. Raises `BadBatch`."""
    at, left = 0, memoryview(data or b"")
    if not left:
        raise BadBatch("there is nothing")
    while at < len(left):
        if len(left) - at < HEAD_BYTES:
            raise BadBatch("it is cut off")
        _, length, _, magic, crc, attributes, last_delta, _, _, _, _, _, count = _HEAD.unpack_from(left, at)
        if magic != 2:
            raise BadBatch(f"it has the format {magic}", is_foreign=True)
        end = at + _LENGTH_ENDS + length
        if end > len(left) or length < HEAD_BYTES - _LENGTH_ENDS:
            raise BadBatch("it is cut off")
        one = bytes(left[at:end])
        if calc_crc32c(one[_ATTRIBUTES_AT:]) != crc:
            raise BadBatch("its checksum is wrong")
        if attributes & (_TRANSACTIONAL | _CONTROL):
            raise BadBatch("it is part of a transaction", is_foreign=True)
        if count < 1 or last_delta != count - 1:
            raise BadBatch("it does not say how many records it has")
        yield of_head(one)
        at = end


def placed(batch: Batch, first: int, append_time: int | None) -> Batch:
    """The same at another offset, and of the time `append_time` if one is given."""
    data = bytearray(batch.data)
    struct.pack_into(">q", data, 0, first)
    struct.pack_into(">i", data, _LENGTH_ENDS, 0)  # the epoch of the leader, of which there is one for ever
    newest = batch.newest
    if append_time is not None:
        newest = append_time
        struct.pack_into(">q", data, _NEWEST_AT, newest)
        data[_ATTRIBUTES_AT + 1] |= _APPEND_TIME
        struct.pack_into(">I", data, _CRC_AT, calc_crc32c(bytes(data[_ATTRIBUTES_AT:])))
    return batch._replace(data=bytes(data), first=first, newest=newest)


def first_since(batch: Batch, time: int) -> tuple[int, int] | None:
    """Offset and time of its first record that is not older; None where all are."""
    if batch.newest < time:
        return None
    if batch.has_append_time:
        return batch.first, batch.newest
    try:
        for record in DefaultRecordBatch(batch.data):
            if record.timestamp >= time:
                return record.offset, record.timestamp
    except Exception:  # somebody else's bytes: readers pass over what cannot be unpacked, too
        return batch.first, batch.newest
    return None

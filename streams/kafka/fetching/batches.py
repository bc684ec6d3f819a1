"""The bytes of a fetch: the batches of a partition, unpacked within bounds, and read record by record.

All functions are pure. aiokafka unpacks without a bound, and cannot step over a record that it cannot read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.legacy_records import LegacyRecordBase
from aiokafka.record.util import decode_varint
from aiokafka.structs import ConsumerRecord, TopicPartition

UNPACKED_BYTES = 64 * 1024 * 1024
"""The most bytes of an unpacked batch. Of the fetch of a partition no more is unpacked at once, and one batch. A packed
batch has at most 1 MB, as brokers are set, which can be 30 GB with zstd."""
RECORD_BYTES = 256
"""Bytes of memory that a record takes beside its own bytes."""
FIRST_GUESS = 64 * 1024

Bytes = bytes | bytearray | memoryview

_HEADER = DefaultRecordBase.HEADER_STRUCT
_PREFIX = struct.Struct(">qi")
MAGIC_AT = 16
OLD_ATTRIBUTES_AT = 17
"""The attributes in the formats 0 and 1, which aiokafka unpacks without a bound. Since 0.11 Kafka writes neither."""
SHORTEST = LegacyRecordBase.HEADER_STRUCT_V1.size + 8, _HEADER.size
"""The bytes of a batch without records: in the old formats, and in the one of today."""
_ATTRIBUTES_AT = DefaultRecordBase.ATTRIBUTES_OFFSET
_NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16


@dataclass
class UnreadableRecord(ConsumerRecord[Any, Any]):  # type: ignore[misc]
    """Stands for the records with offsets `first` to `offset`, which cannot be read: no key, value or headers."""

    reason: str = ""
    first: int = 0


class Undecompressed(Exception):
    """A compressed batch cannot be unpacked, or is too large."""


def decompress(codec: int, data: Bytes, most: int = UNPACKED_BYTES) -> Bytes:
    """The unpacked bytes of a batch, by Kafka's number of the codec. Never takes much more memory than `most` bytes.
    Raises `Undecompressed`."""
    try:
        if codec == DefaultRecordBase.CODEC_GZIP:
            return _gunzip(data, most)
        if codec == DefaultRecordBase.CODEC_SNAPPY:
            return _unsnap(data, most)
        if codec == DefaultRecordBase.CODEC_LZ4:
            return _into(cramjam.lz4.decompress_into, data, most)
        if codec == DefaultRecordBase.CODEC_ZSTD:
            return _into(cramjam.zstd.decompress_into, data, most)
    except (zlib.error, cramjam.DecompressionError, struct.error) as error:
        raise Undecompressed(f"it is not what {_NAMES[codec]} makes: {error}") from None
    raise Undecompressed(f"there is no codec {codec}")


def _too_large(most: int) -> Undecompressed:
    return Undecompressed(f"it unpacks to more than {most} bytes")


def _gunzip(data: Bytes, most: int) -> bytes:
    member = zlib.decompressobj(wbits=31)
    unpacked = member.decompress(data, most + 1)
    if len(unpacked) > most:
        raise _too_large(most)
    if not member.eof or member.unused_data:
        raise zlib.error("no single member that is complete")
    return unpacked


def _unsnap(data: Bytes, most: int) -> Bytes:
    """Unpack raw snappy, or the blocks of xerial, as Java's client writes them."""
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return _unsnap_block(data, most)
    unpacked, at = bytearray(), _XERIAL_HEADER
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 < size <= len(data) - at:
            raise struct.error(f"a block of {size} bytes where {len(data) - at} are left")
        unpacked += _unsnap_block(data[at : at + size], most - len(unpacked))
        at += size
    return unpacked


def _unsnap_block(data: Bytes, most: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > most:  # its first bytes say so
        raise _too_large(most)
    return bytes(cramjam.snappy.decompress_raw(data))


def _into(decompress_into: Any, data: Bytes, most: int) -> memoryview:
    """Unpack into a buffer of a guessed size, then into larger ones, so that no frame takes more than `most` bytes."""
    size = min(max(FIRST_GUESS, 4 * len(data)), most)
    while True:
        buffer = bytearray(size)
        try:
            return memoryview(buffer)[: decompress_into(data, buffer)]
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if size == most:
                raise _too_large(most) from None
        size = min(8 * size, most)


def unpack(batch: Bytes) -> bytearray:
    """A compressed batch of format 2 as an uncompressed one. Raises `Undecompressed`."""
    header = _HEADER.unpack_from(batch)
    codec, count = header[5] & DefaultRecordBase.CODEC_MASK, header[-1]
    if count * RECORD_BYTES > UNPACKED_BYTES:
        raise Undecompressed(f"it has {count} records")
    unpacked = bytearray(batch[: _HEADER.size])
    unpacked[_ATTRIBUTES_AT + 1] &= ~DefaultRecordBase.CODEC_MASK
    unpacked += decompress(codec, batch[_HEADER.size :], UNPACKED_BYTES - count * RECORD_BYTES)
    return unpacked


def read_batch(tp: TopicPartition, batch: Bytes) -> Iterator[ConsumerRecord[Any, Any]]:
    """The records of a batch of format 2 that is not compressed, read one by one and leniently.

    A header name that is no UTF-8 comes with its bytes as `\\xff`. A record that cannot be read comes as an
    `UnreadableRecord`; where its length is wrong too, all that follow it in the batch are in it.
    """
    base, _, _, _, _, attributes, last_delta, first_time, max_time, *_, count = _HEADER.unpack_from(batch)
    append_time = bool(attributes & DefaultRecordBase.TIMESTAMP_TYPE_MASK)
    data = memoryview(batch)[_HEADER.size :]
    at, offset = 0, base - 1
    for _ in range(count):
        expected = offset + 1
        if expected > base + last_delta:
            return
        try:
            length, start = decode_varint(data, at)
            at = start + length
            if not start < at <= len(data):
                raise ValueError(f"{length} bytes where {len(data) - start} are left")
        except Exception as error:
            yield unreadable_record(tp, expected, base + last_delta, max_time, f"the batch is damaged: {error}")
            return
        try:
            delta, time_delta, key, value, headers = _read(data[start:at])
            if not expected <= base + delta <= base + last_delta:
                raise ValueError("its offset is not in its batch")
        except Exception as error:
            offset = expected
            yield unreadable_record(tp, offset, offset, max_time, f"the record is damaged: {error}")
            continue
        offset = base + delta
        yield ConsumerRecord(
            tp.topic,
            tp.partition,
            offset,
            timestamp=max_time if append_time else first_time + time_delta,
            timestamp_type=int(append_time),
            key=key,
            value=value,
            checksum=None,
            serialized_key_size=-1 if key is None else len(key),
            serialized_value_size=-1 if value is None else len(value),
            headers=headers,
        )


_Read = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def _read(record: memoryview) -> _Read:
    """Offset and time as differences to the batch's, key, value, headers. Raises anything for what is no record."""
    time_delta, at = decode_varint(record, 1)
    delta, at = decode_varint(record, at)
    key, at = _bytes(record, at)
    value, at = _bytes(record, at)
    count, at = decode_varint(record, at)
    headers = []
    for _ in range(count):
        name, at = _bytes(record, at)
        header, at = _bytes(record, at)
        headers.append(((name or b"").decode(errors="backslashreplace"), header))
    return delta, time_delta, key, value, tuple(headers)


def _bytes(record: memoryview, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(record, at)
    if size < 0:
        return None, at
    if at + size > len(record):
        raise ValueError(f"{size} bytes where {len(record) - at} are left")
    return bytes(record[at : at + size]), at + size


def unreadable_record(tp: TopicPartition, first: int, offset: int, time: int, reason: str) -> UnreadableRecord:
    """A record that stands for those with offsets `first` to `offset`. `time` is in milliseconds."""
    return UnreadableRecord(
        *tp, offset, timestamp=time, timestamp_type=0, key=None, value=None, checksum=None, serialized_key_size=-1,
        serialized_value_size=-1, headers=(), reason=reason, first=first,
    )  # fmt: skip


class Batches:
    """The batches of one partition in a fetch. A last one that is cut off is left out."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._end = self._find_end()

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return self._end > self._at

    def next_batch(self) -> memoryview:
        batch = self._data[self._at : self._end]
        self._at = self._end
        self._end = self._find_end()
        return batch

    def _find_end(self) -> int:
        """The end of the next batch; its beginning when there is none."""
        left = len(self._data) - self._at - _PREFIX.size
        length = _PREFIX.unpack_from(self._data, self._at)[1] if left > 0 else 0
        if 0 < length <= left:
            return self._at + _PREFIX.size + length
        # A broker sends the first batch whole: a shorter one is damaged, and is taken as it is.
        return len(self._data) if self._at == 0 else self._at

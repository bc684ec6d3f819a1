"""Whatever bytes a record or a batch holds, reading goes on behind it, and what can be read is read."""

from __future__ import annotations

import contextlib
import gzip
import logging
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka.codec import snappy_encode
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka import records
from streams.kafka.fetching import batches
from streams.kafka.fetching.batches import Batches, Undecompressed, decompress
from streams.kafka.records import UnreadableRecord

TP = TopicPartition("order-commands", 3)
HEADER = DefaultRecordBase.HEADER_STRUCT
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
PACK: dict[int, Any] = {
    GZIP: gzip.compress,
    SNAPPY: lambda data: snappy_encode(data),
    LZ4: lambda data: bytes(cramjam.lz4.compress(data)),
    ZSTD: lambda data: bytes(cramjam.zstd.compress(data)),
}
CONTROL, TRANSACTIONAL = DefaultRecordBase.CONTROL_MASK, DefaultRecordBase.TRANSACTIONAL_MASK


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said in one test is said again in the next."""
    monkeypatch.setattr(records, "_said_of", set())
    monkeypatch.setattr(records, "_refetched", set())


def data_of(*values: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """Records of a batch, unpacked."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1_000 + offset, key=b"A-1", value=value, headers=list(headers))
    return bytes(builder.build())[HEADER.size :]


def batch(data: bytes, count: int, base: int = 0, codec: int = 0, flags: int = 0, producer: int = -1) -> bytes:
    """A batch as it comes from Kafka, `data` being packed already."""
    body = bytearray(HEADER.size)
    rest = (codec | flags, count - 1, 1_000, 2_000, producer, 0, -1, count)
    HEADER.pack_into(body, 0, base, HEADER.size - 12 + len(data), 0, 2, 0, *rest)
    body += data
    crc = calc_crc32c(bytes(body[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
    struct.pack_into(">I", body, DefaultRecordBase.CRC_OFFSET, crc)
    return bytes(body)


def read(raw: bytes, start: int = 0, committed: bool = False, aborted: Any = ()) -> tuple[list[Any], int]:
    """What a consumer gets of a fetch that began at `start`, and where it goes on."""
    found = fetcher.PartitionRecords(TP, fetcher.MemoryRecords(raw), list(aborted), start, None, None, True, committed)
    return list(found), found.next_fetch_offset


def seen(found: Sequence[Any]) -> list[tuple[int, Any]]:
    return [(record.offset, "unreadable" if isinstance(record, UnreadableRecord) else record.value) for record in found]


GOOD = batch(data_of(b"good"), 1, base=10)


def test_it_is_beneath_every_consumer() -> None:
    """The fetcher of aiokafka, which Faust's consumer has too, unpacks by ours."""
    assert fetcher.PartitionRecords is records.PartitionRecords
    assert fetcher.MemoryRecords is Batches


@pytest.mark.parametrize("codec", PACK)
def test_every_codec(codec: int) -> None:
    """Batches of every codec are read, as they are without one."""
    data = data_of(b"one", b"two" * 9_000, headers=[("ce_id", b"7")])
    plain, _ = read(batch(data, 2))
    packed, after = read(batch(PACK[codec](data), 2, codec=codec) + batch(data_of(b"good"), 1, base=2))
    assert [*plain, 3] == [*packed[:2], after]
    assert ("ce_id", b"7") in packed[0].headers


def test_raw_snappy() -> None:
    """Snappy without the frame of Java's client is read too."""
    data = data_of(b"one")
    assert [(0, b"one")] == seen(read(batch(bytes(cramjam.snappy.compress_raw(data)), 1, codec=SNAPPY))[0])


@pytest.mark.parametrize("codec", PACK)
def test_a_bomb(codec: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A batch that unpacks to more than the bound is one record that cannot be read, and costs no more than the
    bound; what is behind it is read, and it is said once."""
    monkeypatch.setattr(batches, "UNPACKED_BYTES", 100_000)
    asked: list[int] = []

    def buffer(size: Any = 0) -> bytearray:
        asked.append(size if isinstance(size, int) else len(size))
        return bytearray(size)

    monkeypatch.setattr(batches, "bytearray", buffer, raising=False)
    bomb = batch(PACK[codec](bytes(3_000_000)), 10, codec=codec)
    for _ in range(2):
        found, after = read(bomb + GOOD)
        assert [(9, "unreadable")] == seen(found)
        assert found[0].first == 0
        assert after == 10
        assert [(10, b"good")] == seen(read(GOOD, after)[0])
    assert max(asked, default=0) <= 100_000
    (line,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert line.startswith(
        "order-commands-3: what is at offsets 0 to 9 cannot be read, and is passed over: it unpacks to"
    )


def old(value: bytes, magic: int, codec: int = 0, offset: int = 0) -> bytes:
    """A message of format 0 or 1; with a codec its value is what that packs."""
    time = struct.pack(">q", 1_000) if magic else b""
    body = struct.pack(">bb", magic, codec) + time + struct.pack(">ii", -1, len(value)) + value
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


@pytest.mark.parametrize("magic", [0, 1])
def test_a_bomb_in_an_old_format(magic: int, caplog: pytest.LogCaptureFixture) -> None:
    """What is compressed in a format that brokers do not write any more is not unpacked, whatever its size; what is
    not is read, and so is what is behind."""
    bomb = old(gzip.compress(old(bytes(100_000_000), magic), 1), magic, GZIP)
    tracemalloc.start()
    found, after = read(bomb + GOOD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ([(0, "unreadable")], 1) == (seen(found), after)
    assert peak < 10_000_000
    plain = b"not packed"
    assert [(1, plain), (10, b"good")] == seen(read(old(plain, magic, offset=1) + GOOD, after)[0])
    assert "is compressed in a format from before Kafka 0.11" in caplog.text


def test_a_batch_of_nothing_but_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many records that they would take the memory though they are empty are not unpacked."""
    monkeypatch.setattr(batches, "UNPACKED_BYTES", 10_000)
    assert [(99, "unreadable")] == seen(read(batch(PACK[ZSTD](data_of(*[b""] * 100)), 100, codec=ZSTD))[0])


def test_what_one_fetch_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch of many batches that unpack to much is unpacked in parts."""
    monkeypatch.setattr(records, "UNPACKED_BYTES", 100_000)
    packed = PACK[ZSTD](data_of(bytes(60_000)))
    raw = b"".join(batch(packed, 1, base=base, codec=ZSTD) for base in range(5))
    found, after = read(raw)
    assert [0, 1] == [record.offset for record in found]
    assert after == 2


def test_a_codec_that_there_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """A batch of another codec, or that is not what its codec makes, is one record that cannot be read."""
    assert [(1, "unreadable")] == seen(read(batch(data_of(b"1", b"2"), 2, codec=7))[0])
    for codec in PACK:
        found, after = read(batch(b"no such thing", 2, codec=codec))
        assert ([(1, "unreadable")], 2) == (seen(found), after)


@pytest.mark.parametrize("codec", [0, ZSTD])
def test_a_header_name_that_is_no_text(codec: int) -> None:
    """librdkafka writes any bytes as the name of a header: the record is read, and so are those around it."""
    data = data_of(b"one", b"two", b"three", headers=[("ab", b"x"), ("ce_type", b"OpenOrder")])
    first = data.index(b"\x04ab")
    second = data.index(b"\x04ab", first + 1)
    data = data[: second + 1] + b"\xff\xfe" + data[second + 3 :]
    found, after = read(batch(PACK[codec](data) if codec else data, 3, codec=codec) + batch(data_of(b"4"), 1, base=3))
    assert ([(0, b"one"), (1, b"two"), (2, b"three"), (3, b"4")], 4) == (seen(found), after)
    assert found[1].headers == (("\\xff\\xfe", b"x"), ("ce_type", b"OpenOrder"))
    assert found[1].timestamp == 1_001


def test_reading_begins_within_a_batch() -> None:
    """What is before the place where reading began is left out, also where a header name is no text."""
    data = data_of(b"one", b"two", headers=[("ab", b"x")]).replace(b"\x04ab", b"\x04\xff\xff")
    assert [(11, b"two")] == seen(read(batch(data, 2, base=10), 11)[0])


def test_a_record_that_is_damaged() -> None:
    """One record that is none is passed over alone, when its length can be read; else all behind it in its batch."""
    data = data_of(b"one", b"two", b"three")
    at = data.index(b"two")
    worse = bytearray(data)
    worse[at - 1] = 0x7E  # the value has 63 bytes, it says
    assert [(0, b"one"), (1, "unreadable"), (2, b"three")] == seen(read(batch(bytes(worse), 3))[0])
    one = 1 + data[0] // 2
    worse = bytearray(data)
    worse[one] = 0x7F  # a negative length of the whole record
    assert [(0, b"one"), (2, "unreadable")] == seen(read(batch(bytes(worse), 3))[0])


def test_an_offset_that_is_not_in_its_batch() -> None:
    """A record with the offset of another place, which brokers let through, does not take the reader there."""
    data = bytearray(data_of(b"one", b"two"))
    at = data.index(b"\x06A-1")
    data[at - 1] = 0x7E  # 63 behind the first
    found, after = read(batch(bytes(data), 2) + batch(data_of(b"3"), 1, base=2))
    assert ([(0, "unreadable"), (1, b"two"), (2, b"3")], 3) == (seen(found), after)


def test_a_checksum_that_is_wrong() -> None:
    """A damaged batch is fetched once more, for it may have been damaged on the way; then it is passed over."""
    raw = (
        batch(data_of(b"fine"), 1)
        + batch(data_of(b"one", b"two"), 2, base=1)[:-1]
        + b"?"
        + batch(data_of(b"3"), 1, base=3)
    )
    found, after = read(raw)
    assert ([(0, b"fine")], 1) == (seen(found), after)
    found, after = read(raw[len(batch(data_of(b"fine"), 1)) :], 1)
    assert ([(2, "unreadable")], 3) == (seen(found), after)


def test_transactions() -> None:
    """Who reads what is committed gets no record of a transaction that was aborted, and no mark of one."""
    mark = struct.pack(">hh", 0, 0)
    builder = DefaultRecordBatchBuilder(2, 0, 1, 7, 0, 0, 1 << 20)
    builder.append(0, timestamp=1, key=mark, value=b"", headers=[])
    abort = batch(bytes(builder.build())[HEADER.size :], 1, base=1, flags=CONTROL | TRANSACTIONAL, producer=7)
    raw = batch(data_of(b"aborted"), 1, flags=TRANSACTIONAL, producer=7) + abort + batch(data_of(b"2"), 1, base=2)
    assert ([(2, b"2")], 3) == (seen(read(raw, committed=True, aborted=[(7, 0)])[0]), 3)
    assert [(0, b"aborted"), (2, b"2")] == seen(read(raw)[0])
    assert read(abort, 1) == ([], 2)


@given(st.binary(max_size=300), st.integers(0, 5), st.integers(1, 4))
def test_any_bytes(noise: bytes, codec: int, count: int) -> None:
    """Any bytes within a batch: nothing is raised, offsets rise, and the place moves on behind the batch."""
    for data in (noise, PACK[codec](noise) if codec in PACK else noise):
        found, after = read(batch(data, count, base=5, codec=codec), 5)
        assert after == 5 + count
        offsets = [record.offset for record in found]
        assert offsets == sorted(offsets)


@given(st.binary(max_size=200))
def test_any_fetch(noise: bytes) -> None:
    """Any bytes instead of batches: nothing is raised, and it has an end."""
    read(noise)
    read(GOOD + noise, 10)


@given(st.binary(max_size=300), st.integers(0, 7))
def test_any_packed_bytes(noise: bytes, codec: int) -> None:
    """Unpacking gives bytes within the bound, or says that it cannot."""
    with contextlib.suppress(Undecompressed):
        assert len(decompress(codec, noise, 1_000)) <= 1_000

"""A partition of the broker: offsets without gaps, no batch twice, and what is in the file is there after a start."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streams.dev.broker.batches import BadBatch, Batch, batches
from streams.dev.broker.log import OffsetGone, PartitionLog
from streams.dev.broker.producers import OutOfOrder, Producers, Superseded
from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topics


def data(*times: int, producer: int = -1, epoch: int = -1, sequence: int = -1, codec: int = 0) -> bytes:
    """A batch with a record of each of these times, as a producer makes it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, epoch, sequence, 100_000)
    for number, time in enumerate(times):
        builder.append(number, time, b"k", b"value %d" % time, [])
    return bytes(builder.build())


def batch(*times: int, producer: int = -1, epoch: int = -1, sequence: int = -1) -> Batch:
    """The same, looked at."""
    [found] = batches(data(*times, producer=producer, epoch=epoch, sequence=sequence))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a broker."""
    return tmp_path / "topics.db"


def opened(file: Path) -> tuple[Store, PartitionLog]:
    """The only partition of a topic."""
    store = Store(file)
    topics = Topics(store)
    if topics.get("t") is None:
        topics.create("t", 1, 1, {})
    log = topics.log("t", 0)
    assert log is not None
    return store, log


def read(log: PartitionLog, start: int, most: int = 1_000_000) -> list[tuple[int, int]]:
    """Offset and time of the records from the batch with an offset on."""
    left, found = log.read(start, most), []
    while left:
        end = 12 + int.from_bytes(left[8:12])
        one = DefaultRecordBatch(left[:end])
        assert one.validate_crc()
        found += [(record.offset, record.timestamp) for record in one]
        left = left[end:]
    return found


def test_offsets_follow_each_other(file: Path) -> None:
    """Whatever offsets the batches came with; and they go on after a start, also where all records are gone."""
    store, log = opened(file)
    assert [0, 2, 3] == [log.append(batch(*times), None) for times in ((1, 2), (3,), (4, 5))]
    assert [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)] == read(log, 0)
    store.close()
    store, log = opened(file)
    assert (0, 5, [(3, 4), (4, 5)]) == (log.start, log.end, read(log, 4))
    log.remove_before(5)
    store.close()
    store, log = opened(file)
    assert (5, 5, b"") == (log.start, log.end, log.read(5, 1_000))
    assert 5 == log.append(batch(6), None)
    store.close()


def test_out_of_range(file: Path) -> None:
    """Before its beginning, and behind its end."""
    store, log = opened(file)
    log.append(batch(1, 2), None)
    log.remove_before(1)
    for offset in (0, 3):
        with pytest.raises(OffsetGone):
            log.read(offset, 1_000)
    with pytest.raises(OffsetGone):
        log.remove_before(3)
    assert [(0, 1), (1, 2)] == read(log, 1)  # a batch comes whole: readers skip what is before
    store.close()


def test_as_many_as_there_is_room_for(file: Path) -> None:
    """And one batch at least."""
    store, log = opened(file)
    for time in range(5):
        log.append(batch(time), None)
    size = len(data(0))
    assert [(1, 1)] == read(log, 1, 1)
    assert [(1, 1), (2, 2)] == read(log, 1, 2 * size)
    store.close()


def test_the_brokers_time(file: Path) -> None:
    """All records of a batch have it, and its checksum is right."""
    store, log = opened(file)
    log.append(batch(1, 2), 777)
    assert [(0, 777), (1, 777)] == read(log, 0)
    assert ((0, 777), None) == (log.first_since(5), log.first_since(778))
    store.close()


def test_a_time(file: Path) -> None:
    """The first record that is not older, though times are in no order."""
    store, log = opened(file)
    for times in ((10, 30), (20,), (40, 50)):
        log.append(batch(*times), None)
    assert [(0, 10), (1, 30), (1, 30), (4, 50), None] == [log.first_since(it) for it in (0, 11, 25, 41, 51)]
    log.remove_before(2)
    assert (2, 20) == log.first_since(15)
    store.close()


def test_what_has_expired(file: Path) -> None:
    """Batches at the beginning all of which is older are removed; one behind a newer one stays."""
    store, log = opened(file)
    for times in ((10, 30), (20,), (40, 50), (15,)):
        log.append(batch(*times), None)
    log.expire(30)
    assert 0 == log.start
    log.expire(41)
    assert (3, 6) == (log.start, log.end)
    log.expire(100)
    assert (6, 6) == (log.start, log.end)
    store.close()


def test_a_batch_that_is_sent_again(file: Path) -> None:
    """It is not written again, also after a start."""
    store, log = opened(file)
    for sequence in (0, 2, 4):
        assert sequence == log.append(batch(1, 2, producer=7, epoch=0, sequence=sequence), None)
    assert 2 == log.append(batch(1, 2, producer=7, epoch=0, sequence=2), None)
    store.close()
    store, log = opened(file)
    assert 4 == log.append(batch(1, 2, producer=7, epoch=0, sequence=4), None)
    assert 6 == log.end
    with pytest.raises(OutOfOrder):
        log.append(batch(1, producer=7, epoch=0, sequence=8), None)
    store.close()


def test_producers() -> None:
    """Numbers begin again with an epoch, and behind the greatest one; an older epoch is over; whom nobody knows may
    begin anywhere."""
    producers = Producers()
    for epoch, sequence in ((0, 5), (0, 6), (1, 0), (1, 1)):
        one = batch(1, producer=7, epoch=epoch, sequence=sequence)
        assert producers.check(one) is None
        producers.wrote(one)
    with pytest.raises(Superseded):
        producers.check(batch(1, producer=7, epoch=0, sequence=7))
    with pytest.raises(OutOfOrder):
        producers.check(batch(1, producer=7, epoch=2, sequence=3))
    producers.wrote(batch(1, 2, producer=8, epoch=0, sequence=2**31 - 2))
    assert producers.check(batch(1, producer=8, epoch=0, sequence=0)) is None
    for _ in range(6):  # those without numbers are all new
        assert producers.check(batch(1)) is None


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "nothing"),
        (data(1)[:40], "cut off"),
        (data(1)[:-1], "cut off"),
        (data(1)[:-1] + b"?", "checksum"),
        (data(1)[:16] + b"\1" + data(1)[17:], "format 1"),
    ],
    ids=["nothing", "no head", "cut off", "damaged", "old"],
)
def test_what_is_no_batch(sent: bytes, said: str) -> None:
    """It is refused whole."""
    with pytest.raises(BadBatch, match=said):
        list(batches(sent))

"""The tail of a log over the journal in memory: in order, without a gap, each slice from where its topic says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.shop.order import OrderConfirmed, order
from projections.publishing import slice_tail
from projections.publishing import tail as tailer
from projections.publishing.publication import COMMIT_END, Publication
from projections.publishing.tail import Tail
from schemas.codec import Codec
from schemas.formats import JSON
from schemas.registry import Schemas
from streams.concurrency.supervisor import Supervisor
from streams.journal.layout import LogSpan, first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, Published, RecordedEvent, SliceHead
from streams.journal.position import Place, parse_place
from streams.kafka.client import ProducerRecord, RecordTooLarge
from streams.kafka.topic_metadata import TopicMetadata
from streams.slices import slice_of
from tests.layouts import Known
from tests.unit.until import until

CODEC = Codec([s for s in Schemas.load("shop", "order") if s.name not in order.commands], order.events)
DATA = CODEC.encode(OrderConfirmed())
LOG = "order@0"


class Topic:
    """An events topic; `records` are those of its first partition."""

    def __init__(self) -> None:
        self.partitions: defaultdict[int, list[ProducerRecord]] = defaultdict(list)
        self.without_leader: set[int] = set()

    @property
    def records(self) -> list[ProducerRecord]:
        return self.partitions[0]

    async def describe(self, topics: Iterable[str]) -> dict[str, TopicMetadata]:
        return {topic: TopicMetadata("id", 8, without_leader=frozenset(self.without_leader)) for topic in topics}

    async def last_records(
        self, topic: str, partitions: Iterable[int], wanted: Callable[[int, Any], bool]
    ) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for one in partitions:
            its = [SimpleNamespace(offset=offset, headers=it[2]) for offset, it in enumerate(self.partitions[one])]
            found[one] = next((record for record in reversed(its) if wanted(one, record)), None)
        return found

    async def end_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return {partition: len(self.partitions[partition]) for partition in partitions}

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        self.partitions[partition].extend(records)
        return len(self.partitions[partition]) - 1

    @property
    def positions(self) -> list[Place]:
        return self.places(0)

    def places(self, partition: int) -> list[Place]:
        return [parse_place(self.header(record, "ce_position")) for record in self.partitions[partition]]

    def header(self, record: ProducerRecord, name: str) -> str:
        return dict(record[2])[name].decode()


def event(id: str, sequence: int, command: str) -> RecordedEvent:
    return RecordedEvent(id, sequence, "OrderConfirmed", DATA, command)


def commit_of(nr: int, events: Sequence[RecordedEvent], slices: int = 1, last: Commit | None = None) -> Commit:
    """A commit of the log that has all slices, behind `last`."""
    eventful = {slice_of(it.aggregate_id, slices) for it in events if it.is_event}
    before = last.slices if last is not None else {}
    heads = {
        slice: SliceHead(nr, nr if slice in eventful else before.get(slice, SliceHead()).eventful_nr)
        for slice in range(slices)
    }
    return Commit(LOG, nr, 1, "me", "t", heads, nr, datetime.now(UTC), tuple(events))


async def journal_of(*sizes: int) -> MemoryJournal:
    """A log with a commit of so many events each; a size below 0 is a command accepted without event."""
    journal, last = MemoryJournal(), None
    await journal.create()
    for nr, size in enumerate(sizes, 1):
        events = tuple(event("1", index + 1, f"c{nr}") for index in range(size))
        last = commit_of(nr, events if size >= 0 else (RecordedEvent("1", 1, "", b"0", f"c{nr}"),), 1, last)
        await journal.append(last)
    return journal


def tail_of(
    journal: MemoryJournal, topic: Any, supervisor: Supervisor | None = None, slices: int = 1, after: int = 0
) -> Tail:
    known = Known(first_layout(slices, 1))
    publication = Publication(
        type="order", topic="order-events", source="/orders", journal=journal, layout=known, broker=topic, codec=CODEC,
        supervisor=supervisor or Supervisor(),
    )  # fmt: skip
    return Tail(publication, LogSpan(number=0, seat=0, slices=tuple(range(slices)), after=after))


async def tail_until(journal: MemoryJournal, topic: Any, done: Callable[[Tail], bool], slices: int = 1) -> Tail:
    tail = tail_of(journal, topic, slices=slices)
    task = asyncio.create_task(tail.run())
    async with asyncio.timeout(5):
        while not done(tail):
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return tail


async def test_in_order() -> None:
    """All events of all commits are published in the order of the log; commits and commands without are passed."""
    journal, topic = await journal_of(2, 0, 1, -1, 3), Topic()
    await tail_until(journal, topic, lambda tail: tail.published == 5)
    assert [(1, 0), (1, 1), (3, 0), (5, 0), (5, 1), (5, 2)] == topic.positions
    ends = [
        position for position, record in zip(topic.positions, topic.records, strict=True) if COMMIT_END in record[2]
    ]
    assert [(1, 1), (3, 0), (5, 2)] == ends


async def test_goes_on_from_the_topic() -> None:
    """A tail begins after the topic's last record, in the middle of a commit too, and repeats nothing."""
    journal, topic = await journal_of(2, 0, 3, 1), Topic()
    await tail_until(journal, topic, lambda tail: tail.published == 4)
    everything = list(topic.positions)
    for kept in range(1, len(everything) + 1):
        del topic.records[kept:]
        await tail_until(journal, topic, lambda tail: tail.published >= 4)
        assert everything == topic.positions


async def test_goes_on_from_the_copy() -> None:
    """Where retention has emptied the topic, the copy beside the journal says where to go on."""
    journal, topic = await journal_of(1, 1, 1), Topic()
    await journal.save_published(LOG, Published(2, -1))
    await tail_until(journal, topic, lambda tail: tail.published == 3)
    assert [(3, 0)] == topic.positions


async def test_headers() -> None:
    """An event carries what the contract says, and its id is its position: the same each time it is published."""
    journal, topic = await journal_of(1), Topic()
    await tail_until(journal, topic, lambda tail: tail.published == 1)
    key, value, headers = topic.records[0]
    attributes = dict(headers)
    assert (b"1", DATA) == (key, value)
    assert (b"order-0:1:0", b"order-0:1:0", b"1") == (
        attributes["ce_id"],
        attributes["ce_position"],
        attributes["ce_sequence"],
    )
    assert attributes["ce_dataschema"].startswith(b"urn:avro:shop.order.OrderConfirmed:1:")
    assert b"c1" == attributes["ce_causationid"]


async def test_formats_and_versions() -> None:
    """What a value is, and by which schema, is said of each event: JSON, and what newer code wrote, included."""
    schemas = [schema for schema in Schemas.load("shop", "order") if schema.name == "OrderConfirmed"]
    as_json = Codec(schemas, {"OrderConfirmed": OrderConfirmed}, format=JSON).encode(OrderConfirmed())
    newer = b"\xc3\x01" + bytes(range(8))
    journal, topic = await journal_of(), Topic()
    rows = [RecordedEvent("1", nr, "OrderConfirmed", data, "c") for nr, data in enumerate((DATA, as_json, newer), 1)]
    await journal.append(commit_of(1, rows))
    await tail_until(journal, topic, lambda tail: tail.published == 1)
    said = [(dict(headers)["content-type"], dict(headers)["ce_dataschema"]) for _, _, headers in topic.records]
    urn = f"urn:avro:shop.order.OrderConfirmed:1:{schemas[0].fingerprint}".encode()
    assert [
        (b"avro/binary", urn),
        (b"application/json", urn),
        (b"avro/binary", b"urn:avro:0001020304050607"),
    ] == said


# -- a log that is not the one of the topic ----------------------------------------------------------------


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail looks again at once."""
    monkeypatch.setattr(tailer, "LOOK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(slice_tail, "LOOK_AGAIN_SECONDS", 0.01)


@asynccontextmanager
async def tailing(
    journal: MemoryJournal, topic: Topic, supervisor: Supervisor, slices: int = 1, after: int = 0
) -> AsyncIterator[Tail]:
    tail = tail_of(journal, topic, supervisor, slices, after)
    task = asyncio.create_task(tail.run())
    try:
        yield tail
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("left", "ends"), [(2, "ends at commit 2"), (0, "has nothing of it")])
async def test_a_log_that_ends_before_its_topic(
    left: int, ends: str, quickly: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker is not ready and says why once; nothing is published behind it, until the right log is back."""
    journal, topic, supervisor = await journal_of(1, 1, 1, 1), Topic(), Supervisor()
    await tail_until(journal, topic, lambda tail: tail.published == 4)
    log = journal._store.log[LOG]
    lost = log[left:]
    del log[left:]
    async with tailing(journal, topic, supervisor):
        await until(lambda: supervisor.troubles)
        assert f"up to 4:0, and the journal {ends}" in supervisor.troubles[f"tail {LOG}"]
        await asyncio.sleep(0.05)
        assert 1 == caplog.text.count("is JOURNAL_URL right")
        log.extend(lost)
        await journal.append(commit(5))
        await until(lambda: topic.positions[-1] == (5, 0))
        assert not supervisor.troubles


async def test_a_log_of_another_history(quickly: None) -> None:
    """The log has come past what was published, and has another event there: the worker is not ready."""
    journal, topic, supervisor = await journal_of(1, 1, 1), Topic(), Supervisor()
    await tail_until(journal, topic, lambda tail: tail.published == 3)
    other = await journal_of(1, 1)
    for nr in (3, 4, 5):
        await other.append(commit(nr, "another"))
    async with tailing(other, topic, supervisor):
        await until(lambda: supervisor.troubles)
        assert "order-events has another event order-0:3:0" in supervisor.troubles[f"tail {LOG}"]
    assert [(1, 0), (2, 0), (3, 0)] == topic.positions


async def test_a_journal_restored_under_a_running_worker(quickly: None) -> None:
    """A hint of a commit that was published long ago has the tail look where its log ends."""
    journal, topic, supervisor = await journal_of(1, 1, 1, 1), Topic(), Supervisor()
    async with tailing(journal, topic, supervisor) as tail:
        await until(lambda: tail.published == 4)
        tail.wake(3)
        await until(lambda: not tail._doubted)
        assert not supervisor.troubles, "the hint was late"
        del journal._store.log[LOG][2:]
        await journal.append(commit(3, "another"))
        tail.wake(3)
        await until(lambda: supervisor.troubles)
    assert 4 == len(topic.records)


def commit(nr: int, command: str = "") -> Commit:
    """One more, with an event."""
    return commit_of(nr, [event("1", nr, command or f"c{nr}")])


@pytest.mark.parametrize("kept", [1, 3])
async def test_strangers_at_the_end_of_the_topic(kept: int) -> None:
    """A tail goes on behind its own last record, whatever others have put behind that."""
    journal, topic = await journal_of(2, 1, 1), Topic()
    await tail_until(journal, topic, lambda tail: tail.published == 3)
    del topic.records[kept:]
    strangers: list[ProducerRecord] = [
        (None, b"heartbeat", []),
        (b"1", DATA, [("ce_position", b"order-1:9:0")]),
        (b"1", DATA, [("ce_position", b"order-0:9:0"), ("ce_id", b"mine")]),
        (b"1", DATA, [("ce_position", b"\xff")]),
        (b"1", DATA, [("ce_position", b"order-0:-9:0"), ("ce_id", b"order-0:-9:0")]),
    ]
    topic.records.extend(strangers)
    await tail_until(journal, topic, lambda tail: tail.published == 3)
    del topic.records[kept : kept + 5]
    assert [(1, 0), (1, 1), (2, 0), (3, 0)] == topic.positions


async def test_an_event_that_is_too_large(quickly: None, caplog: Any) -> None:
    """What is before it is published once; it is said what to do, health shows it, and it goes on when it can."""
    journal, supervisor, tries = await journal_of(2, 1), Supervisor(), []

    class Narrow(Topic):
        async def publish(
            self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False
        ) -> int:
            tries.append(len(records))
            if len(tries) < 5:
                sent = 0 if self.records else 1
                await super().publish(topic, partition, records[:sent])
                raise RecordTooLarge(topic, 2_000_000, 1_048_588, sent)
            return await super().publish(topic, partition, records)

    topic = Narrow()
    tail = tail_of(journal, topic, supervisor)
    task = asyncio.create_task(tail.run())
    async with asyncio.timeout(5):
        while not supervisor.troubles:
            await asyncio.sleep(0.001)
        assert "raise max.message.bytes" in supervisor.troubles["tail order-0"]
        while tail.published < 2:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ([(1, 0), (1, 1), (2, 0)], [3, 2, 2, 2, 2], {}) == (topic.positions, tries, dict(supervisor.troubles))
    assert 1 == caplog.text.count("nothing is published behind it")


# -- hints, which anybody may write ------------------------------------------------------------------------


class _LogWithAHole(MemoryJournal):
    """Its commits can be read up to the first one only."""

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        return [commit for commit in await super().commits(log, after, limit) if commit.nr == 1]


@pytest.mark.parametrize("is_hole", [False, True])
async def test_a_hint_of_a_commit_that_cannot_be_read(
    is_hole: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is asked before anybody is told of a hole: a hint of a commit that is not there is no alarm."""
    monkeypatch.setattr(tailer, "HOLE_SECONDS", 0.0)
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
    journal = _LogWithAHole((await journal_of(1, 1, 1) if is_hole else await journal_of(1))._store)

    def done(tail: Tail) -> bool:
        if tail.published == 1 and not tail._hinted:
            tail.wake(10**18)
        alarmed = any("cannot be read" in record.getMessage() for record in caplog.records)
        return alarmed if is_hole else tail._hinted == 1

    await tail_until(journal, Topic(), done)
    assert is_hole == bool(caplog.records)


async def test_a_hint_in_the_moment_of_its_end() -> None:
    """A tail that is ended ends, also when a hint comes in the same moment."""
    tail = tail_of(await journal_of(1), Topic())
    task = asyncio.create_task(tail.run())
    await until(lambda: tail.published == 1)
    await asyncio.sleep(0.01)
    tail.wake(2)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


async def test_a_topic_that_was_made_again_with_a_late_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic ends before what was published to it: the rest is published again behind what stands there."""
    monkeypatch.setattr(tailer, "LOOK_AT_TOPIC_SECONDS", 0.0)
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)

    journal, topic = await journal_of(1, 1, 1), Topic()
    lost = False

    def done(tail: Tail) -> bool:
        nonlocal lost
        if not lost and len(topic.records) == 3:
            del topic.records[1:]
            lost = True
        return lost and len(topic.records) == 3

    await tail_until(journal, topic, done)
    assert [(1, 0), (2, 0), (3, 0)] == topic.positions


async def test_a_second_app_publishes_too(caplog: pytest.LogCaptureFixture) -> None:
    """With two tails of a stream each event is there twice at most, new ones in order, and both say it once."""
    journal, topic = await journal_of(), Topic()
    tails = [tail_of(journal, topic), tail_of(journal, topic)]
    tasks = [asyncio.create_task(tail.run()) for tail in tails]
    for nr in range(1, 61):
        await journal.append(commit(nr))
        for tail in tails:
            tail.wake(nr)
        async with asyncio.timeout(5):
            while not all(tail.published == nr for tail in tails):
                await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [(nr, 0) for nr in range(1, 61)] == list(dict.fromkeys(topic.positions))
    assert all("does a second app publish this type" in tail.limit for tail in tails)
    assert len(tails) == caplog.text.count("does a second app publish this type")
    alone = await tail_until(await journal_of(*[1] * 60), Topic(), lambda tail: tail.published == 60)
    assert "" == alone.limit

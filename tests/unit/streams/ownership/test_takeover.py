"""A log changes hands: slice by slice, from where the journal and the command topic say. It begins only where nothing
of it was published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal
from streams.journal.port import NOTHING_CONSUMED, Commit, SliceHead, Unavailable
from streams.kafka.command_slices import CommandSlices
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.takeover import take_over
from tests.command_log import Topic

LOG = "order@1"
SPAN = LogSpan(number=1, seat=1, slices=(1, 4))
BEHIND = LogSpan(number=1, seat=1, slices=(1, 4), after=15, parents=(0,))


class Broker:
    """Kafka with a command topic, and one of events that has an end in these partitions: the last record there has
    these headers."""

    def __init__(self, *headers: tuple[str, bytes], ends: Mapping[int, int]) -> None:
        self._record = SimpleNamespace(headers=headers)
        self._ends = ends
        self.without_leader: dict[str, set[int]] = {}

    async def end_offsets(self, topic: str, partitions: Iterable[int]) -> Mapping[int, int]:
        wanted = list(partitions)
        if self.without_leader.get(topic, set()).intersection(wanted):
            raise TimeoutError
        return {partition: self._ends.get(partition, 0) for partition in wanted}

    async def last_records(
        self, topic: str, partitions: Iterable[int], wanted: Callable[[int, Any], bool]
    ) -> Mapping[int, Any]:
        assert topic == "order-events"
        ends = await self.end_offsets(topic, partitions)
        return {one: self._record for one, end in ends.items() if end and wanted(one, self._record)}

    async def describe(self, topics: list[str]) -> dict[str, Any]:
        without = frozenset(self.without_leader.get(topics[0], ()))
        return {topics[0]: TopicMetadata("t1", 8, without_leader=without)}


def at(position: bytes) -> list[tuple[str, bytes]]:
    return [("ce_id", position), ("ce_position", position)]


def commands(*headers: tuple[str, bytes], slice: int = 4) -> CommandSlices:
    """The slices of the log, of which one has events, where there are headers of the last one."""
    broker: Any = Broker(*headers, ends={slice: 7} if headers else {})
    return CommandSlices(broker, "order-commands", SPAN.slices, "order-events")


@pytest.mark.parametrize("slice", [1, 4])
async def test_a_log_that_was_published(slice: int) -> None:
    """An empty log beside events of any of its slices is not the log that they are from: nothing is written to it."""
    journal, published = MemoryJournal(), at(f"order-{slice}:15:0".encode())
    with pytest.raises(
        Unavailable, match=f"order-{slice}: its events are published up to 15:0, and the journal has no"
    ):
        await take_over(journal, commands(*published, slice=slice), LOG, SPAN, "t1", "me")
    assert await journal.head(LOG) is None


@pytest.mark.parametrize(
    "events",
    [
        commands(),
        commands(("x", b"")),
        commands(*at(b"order-2:15:0")),
        commands(*at(b"\xff")),
        commands(("ce_position", b"order-4:15:0")),
        commands(("ce_position", b"order-4:15:0"), ("ce_id", b"another")),
    ],
    ids=["none", "without a position", "of another stream", "unreadable", "without an id", "with an id of its own"],
)
async def test_a_log_that_begins(events: CommandSlices) -> None:
    """Nothing was published of it, and what a stranger has written there says nothing."""
    journal = MemoryJournal()
    old, new = await take_over(journal, events, LOG, SPAN, "t1", "me")
    assert (None, 1, {1: SliceHead(), 4: SliceHead()}) == (old, new.nr, new.slices)


async def test_a_log_that_begins_behind_another() -> None:
    """It begins with the next number, beside the events of the one before; those of its own are none of a log that is
    empty."""
    journal = MemoryJournal()
    _, new = await take_over(journal, commands(*at(b"order-4:15:3")), LOG, BEHIND, "t1", "me")
    assert (16, 1, 15) == (new.nr, new.epoch, new.derived_nr)
    with pytest.raises(Unavailable, match="order-4: its events are published up to 16:0, and the journal ends at comm"):
        await take_over(MemoryJournal(), commands(*at(b"order-4:16:0")), LOG, BEHIND, "t1", "me")


async def test_a_log_that_goes_on() -> None:
    """Is taken over without a look at its events."""
    journal = MemoryJournal()
    await take_over(journal, commands(), LOG, SPAN, "t1", "me")
    old, new = await take_over(journal, commands(*at(b"order-1:15:0")), LOG, SPAN, "t1", "you")
    assert (1, 2) == (old and old.nr, new.nr)


async def taken_over(head: Mapping[int, SliceHead], topic: Topic) -> tuple[Commit, Commit]:
    """The newest commit of a log, and the one with which it changes hands."""
    journal = MemoryJournal()
    _, first = await take_over(journal, Topic(), LOG, SPAN, "t1", "me")
    await journal.append(replace(first, nr=2, slices=head, derived_nr=1))
    old, new = await take_over(journal, topic, LOG, SPAN, topic.id, "you")
    assert old is not None
    assert (3, 2, "you", ()) == (new.nr, new.epoch, new.owner, new.events)
    return old, new


async def test_a_slice_without_a_leader() -> None:
    """Nobody can say where it ends: it goes on from what the log covers, and the log is taken over all the same. Its
    owner notices later whether commands were lost."""
    broker: Any = Broker(ends={1: 9, 4: 9})
    slices = CommandSlices(broker, "order-commands", SPAN.slices, "order-events")
    journal = MemoryJournal()
    _, head = await take_over(journal, slices, LOG, SPAN, "t1", "me")
    covered = {1: SliceHead(5, 0), 4: SliceHead(8, 0)}
    await journal.append(replace(head, nr=2, slices=covered))
    broker.without_leader = {"order-commands": {4}, "order-events": {1}}
    _, taken = await take_over(journal, slices, LOG, SPAN, "t1", "another")
    assert (3, covered) == (taken.nr, taken.slices)


async def test_an_events_partition_without_a_leader() -> None:
    """A first log waits for it: it may have the events of another journal. One that goes on from others does not: their
    seals are of this journal."""
    broker: Any = Broker(ends={1: 9})
    broker.without_leader = {"order-events": {4}}
    slices = CommandSlices(broker, "order-commands", SPAN.slices, "order-events")
    with pytest.raises(Unavailable, match="no leader of order-events-4"):
        await take_over(MemoryJournal(), slices, LOG, SPAN, "t1", "me")
    _, head = await take_over(MemoryJournal(), slices, LOG, BEHIND, "t1", "me")
    assert 16 == head.nr


async def test_where_each_slice_goes_on() -> None:
    """From what the journal covers of it; one that it has nothing of begins."""
    heads = {1: SliceHead(11, 2), 4: SliceHead(7, 1)}
    assert heads == (await taken_over(heads, Topic()))[1].slices
    assert {1: SliceHead(11, 2), 4: SliceHead()} == (await taken_over({1: SliceHead(11, 2)}, Topic()))[1].slices


async def test_one_slice_that_lost_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """What is left of it is done, and its new commands get old offsets; the others go on where they were."""
    topic = Topic()
    topic.lengths = {1: 5}
    _, new = await taken_over({1: SliceHead(11, 2), 4: SliceHead(7, 1)}, topic)
    assert {1: SliceHead(4, 2), 4: SliceHead(7, 1)} == new.slices
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "the journal covers offset 11 of partition 1, the topic ends before offset 5 of partition 1:" in said


async def test_a_topic_made_again(caplog: pytest.LogCaptureFixture) -> None:
    """All of its slices are read from their beginnings, whatever their ends; where events are stays as it is."""
    topic = Topic("t2")
    topic.lengths = {1: 5}
    _, new = await taken_over({1: SliceHead(11, 2), 4: SliceHead(NOTHING_CONSUMED, 0)}, topic)
    assert ({1: SliceHead(NOTHING_CONSUMED, 2), 4: SliceHead()}, "t2") == (new.slices, new.topic_id)
    assert "made again since offset 11 of partition 1: starting at its beginning" in caplog.text


@pytest.mark.parametrize(("lengths", "id"), [({}, "t3"), ({1: 5}, "t1")])
async def test_who_does_not_know_the_topic_as_it_is(lengths: dict[int, int], id: str) -> None:
    """Neither goes back to its beginning nor believes its end: by now it has another id."""
    journal, topic = MemoryJournal(), Topic("t2")
    _, first = await take_over(journal, Topic(), LOG, SPAN, "t1", "me")
    await journal.append(replace(first, nr=2, slices={1: SliceHead(11, 2), 4: SliceHead()}))
    topic.lengths = lengths
    with pytest.raises(Unavailable, match="made again"):
        await take_over(journal, topic, LOG, SPAN, id, "you")
    head = await journal.head(LOG)
    assert head is not None
    assert 2 == head.nr


async def test_a_log_that_begins_behind_a_topic_that_is_another_by_now() -> None:
    """What the seals cover is not taken for lost where the topic that ends before it was made again."""
    journal, topic = MemoryJournal(), Topic("t2")
    _, first = await take_over(MemoryJournal(), Topic(), LOG, SPAN, "t1", "me")
    heads = {1: SliceHead(11, 2), 4: SliceHead()}
    await journal.append(replace(first, log="order@0", nr=15, slices=heads, is_seal=True))
    topic.lengths = {1: 5}
    parents = [LogSpan(number=0, seat=0, slices=(1, 4), sealed=15)]
    with pytest.raises(Unavailable, match="made again"):
        await take_over(journal, topic, LOG, BEHIND, "t1", "you", parents)
    _, new = await take_over(journal, topic, LOG, BEHIND, "t2", "you", parents)
    assert (16, {1: SliceHead(NOTHING_CONSUMED, 2), 4: SliceHead()}) == (new.nr, new.slices)

"""Slices of one log beside one another: each reads what is its own, and looks are shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from projections.applying import event_processor as processor_module
from projections.applying import event_source
from projections.applying import partition_processor as partition_module
from projections.applying.partition_processor import PartitionProcessor
from projections.publishing import type_logs
from projections.stores.rows import Checkpoint
from streams.journal.position import BEGINNING
from tests.unit.boxes import STREAM, Boxes, by_type, put
from tests.unit.until import until


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boxes]:
    """Boxes in the first of two slices of a log."""
    monkeypatch.setattr(processor_module, "FIRST_PAUSE", 0.01)
    boxes = Boxes(slices=2)
    yield boxes
    await boxes.close()
    assert 0 == boxes.topic.readings, "a reading is left open"


async def opened(here: Boxes) -> PartitionProcessor:
    partition = here.partition()
    await partition.open([here.wanted(), here.wanted(by_type)])
    return partition


async def current(here: Boxes, partition: PartitionProcessor) -> None:
    """Return when all tables have all events of the slice, and go together."""
    await until(
        lambda: all(partition.is_current(name) and it.place.at == here.head for name, it in partition.tables.items())
    )
    assert here.expected() == here.rows.rows("boxes-1")
    assert here.expected(by_type) == here.rows.rows("by-type-1")


async def test_events_of_other_slices_are_left_out(here: Boxes) -> None:
    """What the journal brings are the events of the slice alone, in commits that hold others too."""
    a, other = here.id(), here.id(1)
    await here.write((other, put("x")), (a, put("a")), (other, put("y")), (a, put("b")), publish=False)
    await here.write_beside(3)
    await here.write((a, put("c")), (other, put("z")), publish=False)
    partition = await opened(here)
    await current(here, partition)
    assert ["a", "b", "c"] == here.rows.rows("boxes-1")[a]["in"]
    assert Checkpoint(5, 0, 5, 0) == partition.tables["boxes-1"].place


async def test_an_event_ends_its_commit_in_its_slice(here: Boxes) -> None:
    """A commit is whole with the last event of the slice, whatever of other slices stands behind it."""
    a, other = here.id(), here.id(1)
    await here.write((a, put("a")), (other, put("x")), (a, put("b")), (other, put("y")))
    from_topic = await here.published()
    [from_log] = [events async for events in here.reader.from_log(STREAM, BEGINNING, (2, 0))]
    for events in (from_topic, from_log):
        assert [((1, 0), False, 0), ((1, 2), True, 1)] == [(it.at, it.ends, it.complete) for it in events]


@pytest.mark.parametrize("topic", ["kept", "trimmed", "made again"])
async def test_a_quiet_slice_beside_a_busy_one(here: Boxes, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many commits the others have, none of them is read for it: at a start, while it is idle, and at its next
    event, also where the topic has nothing left that it could begin with."""
    monkeypatch.setattr(event_source, "IDLE_SECONDS", 0.02)
    await here.write((here.id(), put("a")))
    former = await opened(here)
    await current(here, former)
    await former.close()
    await here.write_beside(500)
    if topic == "trimmed":
        here.topic.remove_before(1)
    if topic == "made again":
        here.topic.records.clear()
    here.journal.read.clear()
    partition = await opened(here)
    await until(lambda: partition.is_current("boxes-1"))
    await here.write_beside(500)
    await asyncio.sleep(0.1)
    await here.write((here.id(), put("b")))
    await current(here, partition)
    assert set(here.journal.read) <= {len(here.log)}


async def test_what_a_quiet_slice_lacks_is_read_as_far_as_it_goes(here: Boxes) -> None:
    """The event on the topic says where the one before it is: what is behind that one need not be read."""
    a = here.id()
    await here.write((a, put("a")))
    await here.write((a, put("b")))
    await here.write_beside(500)
    await here.write((a, put("c")))
    here.topic.remove_before(2)
    partition = await opened(here)
    await current(here, partition)
    assert {1, 2} == set(here.journal.read)


async def test_a_table_of_a_quiet_slice_joins_the_others(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to where they are by the topic, and not by all the commits between two events."""
    monkeypatch.setattr(partition_module, "NEAR", 20)
    monkeypatch.setattr(partition_module, "BATCH_BEHIND", 1)
    partition = await opened(here)
    for number in range(5):
        await here.write((here.id(), put(str(number))))
        await here.write_beside(50)
    await current(here, partition)
    here.journal.read.clear()
    await partition.follow([here.wanted(), here.wanted(by_type), here.wanted(name="boxes-1.1")])
    await current(here, partition)
    await here.write((here.id(), put("last")))
    await current(here, partition)
    assert ([], here.expected()) == (here.journal.read, here.rows.rows("boxes-1.1"))


async def test_the_middle_of_a_slice(here: Boxes) -> None:
    """What the topic has lost in the middle comes from the log, between what the topic has."""
    a, other = here.id(), here.id(1)
    for what in "abcd":
        await here.write((other, put(what)), (a, put(what)))
        await here.write_beside(2)
    for offset in (1, 2):
        here.topic.lose(offset)
    partition = await opened(here)
    await current(here, partition)
    assert list("abcd") == here.rows.rows("boxes-1")[a]["in"]


async def test_slices_of_a_log_share_their_looks(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slices are idle, the head of their log is read once in a while."""
    monkeypatch.setattr(event_source, "IDLE_SECONDS", 0.2)
    await here.write((here.id(), put("a")))
    partitions = [await opened(here) for _ in range(16)]
    await until(lambda: all(partition.is_current("boxes-1") for partition in partitions))
    began, here.journal.heads = asyncio.get_running_loop().time(), 0
    await asyncio.sleep(0.5)
    seconds = asyncio.get_running_loop().time() - began
    assert 1 <= here.journal.heads <= 1 + seconds / 0.1


async def read_through(here: Boxes, slice: int) -> int:
    """The number of events that a slice has in the log."""
    found = here.reader.from_log(f"box-{slice}", BEGINNING, (len(here.log) + 1, 0))
    return sum([len(events) async for events in found])


async def test_slices_that_are_read_together_share_pages(here: Boxes) -> None:
    """A log that many slices need at the same time is read once."""
    await here.write_beside(2_000)
    assert [0, 2_000, 2_000, 0] == await asyncio.gather(*(read_through(here, slice) for slice in (0, 1, 1, 0)))
    assert list(range(1, 2_001)) == here.journal.read


async def test_what_was_shared_is_not_kept_for_long(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle worker has no pages of logs in memory."""
    monkeypatch.setattr(type_logs, "KEPT_SECONDS", 0.01)
    await here.write_beside(3)
    for times in (1, 2):
        assert 3 == await read_through(here, 1)
        assert 3 * times == len(here.journal.read)
        await asyncio.sleep(0.1)

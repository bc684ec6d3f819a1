"""Tables that are built: how far they say that they are, and what a store that is down does to them and to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from projections.applying import event_processor as processor_module
from projections.applying import event_reader, event_source
from projections.applying import partition_processor as partition_module
from projections.applying.partition_processor import PartitionProcessor
from projections.stores.rows import Changes
from streams.journal.port import Unavailable
from tests.memory_rows import MemoryRows
from tests.unit.boxes import Boxes, Reading, by_type, put
from tests.unit.until import until

NEW = "boxes-1.1"


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boxes]:
    """Boxes, where a table is near when it is three records behind."""
    monkeypatch.setattr(processor_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(partition_module, "NEAR", 3)
    monkeypatch.setattr(partition_module, "BATCH_BEHIND", 10)
    boxes = Boxes()
    yield boxes
    await boxes.close()


async def opened(here: Boxes, *wanted: Any, at_once: int = 4) -> PartitionProcessor:
    partition = here.partition(at_once)
    await partition.open(wanted or [here.wanted()])
    return partition


async def current(partition: PartitionProcessor, table: str = "boxes-1") -> None:
    await until(lambda: partition.is_current(table))


class Watched(MemoryRows):
    """What its table's progress was at each save."""

    def __init__(self) -> None:
        super().__init__()
        self.partition: PartitionProcessor | None = None
        self.seen: list[tuple[int, int]] = []

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        await super().save(partition, changes)
        progress = self.partition.progress(NEW) if self.partition is not None else None
        if progress is not None:
            self.seen.append((progress.done, progress.total))


@pytest.mark.parametrize("removed", [0, 30, 45, 60])
async def test_how_far_it_is(here: Boxes, removed: int) -> None:
    """In events, wherever they come from: it rises to all there are, of which it knows from the beginning."""
    for number in range(30):
        await here.write(("1", put(f"{number}")), (f"box {number}", put("a")))
    here.topic.remove_before(removed)
    rows = Watched()
    partition = await opened(here)
    await current(partition)
    rows.partition = partition
    await partition.follow([here.wanted(), here.wanted(name=NEW, rows=rows)])
    await current(partition, NEW)
    assert here.expected() == rows.rows(NEW)
    assert rows.seen == sorted(rows.seen)
    assert {60} == {total for _, total in rows.seen}
    progress = partition.progress(NEW)
    assert progress is not None
    assert (60, 60) == (progress.done, progress.total)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_topic_that_falls_silent(here: Boxes, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    """The rest comes from the journal: in batches between which others may change the tables, and as events done."""
    monkeypatch.setattr(event_source, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(event_reader, "EVENTS_AT_ONCE", 5)
    for number in range(30):
        await here.write(("1", put(f"{number}")))

    async def never(reading: Reading, most: int) -> Any:
        if lost:  # while it is read
            here.topic.records.clear()
        await asyncio.Event().wait()

    monkeypatch.setattr(Reading, "read", never)
    rows = Watched()
    rows.partition = partition = await opened(here, here.wanted(name=NEW, rows=rows))
    await current(partition, NEW)
    assert here.expected() == rows.rows(NEW)
    assert len(rows.saves) > 3
    assert rows.seen == sorted(rows.seen)
    assert (0, 25, 30) == (rows.seen[0][0], rows.seen[-1][0], rows.seen[0][1])


async def test_a_table_from_the_log_begins_at_the_topic_next_time(here: Boxes) -> None:
    """What was made of the log alone knows where the others stand on the topic, and does not look for it there."""
    for number in range(10):
        await here.write(("1", put(f"{number}")))
    here.topic.remove_before(10)
    partition = await opened(here)
    await current(partition)
    await partition.follow([here.wanted(), here.wanted(name=NEW)])
    await current(partition, NEW)
    place = here.rows.place(NEW)
    assert place is not None
    assert ((10, 0), 10) == (place.at, place.offset)


async def test_a_build_whose_store_is_down_leaves_its_place_to_others(here: Boxes) -> None:
    """Where one table may be built at a time, one whose store is down does not keep the next from being built."""
    for number in range(20):
        await here.write(("1", put(f"{number}")))
    down = MemoryRows()
    partition = await opened(here, at_once=1)
    await current(partition)
    down.down = True
    tables = [here.wanted(), here.wanted(by_type, rows=down)]
    await partition.follow(tables)
    await until(lambda: partition.held("by-type-1"))
    await partition.follow([*tables, here.wanted(name=NEW)])
    await current(partition, NEW)
    assert "Unavailable: the store in memory is down" == partition.held("by-type-1")
    down.down = False
    await current(partition, "by-type-1")
    assert "" == partition.held("by-type-1")


async def test_orders_are_followed_while_a_store_is_down(here: Boxes) -> None:
    """A table can be paused, and the partition closed, whatever its store does."""
    await here.write(("1", put("a")))
    here.rows.down = True
    partition = await opened(here)
    await until(lambda: partition.held("boxes-1"))
    async with asyncio.timeout(5):
        await partition.follow([here.wanted(paused=True)])
        assert "" == partition.held("boxes-1")
        await partition.follow([here.wanted()])
        await until(lambda: partition.held("boxes-1"))
        await partition.close()


async def test_work_ends_with_the_partition(here: Boxes) -> None:
    """What is done for somebody is broken off when the partition moves on, and says so."""
    partition = await opened(here)
    work = asyncio.create_task(partition.while_open(asyncio.Event().wait()))
    await asyncio.sleep(0.01)
    await partition.close()
    with pytest.raises(Unavailable, match="moved"):
        await work

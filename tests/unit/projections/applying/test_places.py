"""Places that move alone are stored now and then; what changes a row is stored at once, with its place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from projections.applying import event_processor as processor_module
from projections.applying import event_source, fold, partition_processor
from projections.applying.partition_processor import PartitionProcessor
from projections.projection import Projection
from projections.stores.rows import Checkpoint
from tests.unit.boxes import BANG, EMPTY, Boxes, counts, put
from tests.unit.until import until

emptied = Projection(
    "emptied", 1, "box", counts, lambda published: ("all",) if published.type == "Emptied" else (), local=True
)
"""Most events do not concern it."""
TABLE = "emptied-1"


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boxes]:
    monkeypatch.setattr(processor_module, "FIRST_PAUSE", 0.01)
    boxes = Boxes()
    yield boxes
    await boxes.close()


async def opened(here: Boxes) -> PartitionProcessor:
    partition = here.partition()
    await partition.open([here.wanted(emptied)])
    return partition


async def puts(here: Boxes, partition: PartitionProcessor, count: int) -> None:
    """So many events that do not concern the table, each in a batch of its own."""
    for number in range(count):
        await here.write(("1", put(str(number))))
        await until(lambda: partition.tables[TABLE].place.at == here.head)


def stored(here: Boxes) -> int:
    """The number of the commit up to which the store knows the table."""
    place = here.rows.place(TABLE)
    return 0 if place is None else place.nr


async def test_a_place_alone_waits(here: Boxes) -> None:
    """The table is told of at once, so that it is found, and is as far as its events; the store hears of that later."""
    partition = await opened(here)
    await puts(here, partition, 20)
    assert (20, 1, [[TABLE]]) == (partition.tables[TABLE].place.complete, stored(here), here.rows.saves)
    assert partition.is_current(TABLE)


async def test_what_does_not_concern_a_table_loads_nothing(here: Boxes) -> None:
    """No request is made of a store for it."""
    partition = await opened(here)
    await puts(here, partition, 3)
    assert [] == here.rows.loads


async def test_a_row_is_stored_at_once(here: Boxes) -> None:
    """With its place, as ever."""
    partition = await opened(here)
    await puts(here, partition, 5)
    await here.write(("1", EMPTY))
    await until(lambda: partition.tables[TABLE].place.at == here.head)
    assert (6, here.expected(emptied)) == (stored(here), here.rows.rows(TABLE))
    await puts(here, partition, 2)
    assert 6 == stored(here)


async def test_a_row_that_is_there_before_its_place(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may end between the records of the two. Who goes on has the place follow with the event that the row has
    already."""
    monkeypatch.setattr(partition_processor, "BATCH", 1)
    former = await opened(here)
    await puts(here, former, 2)
    await here.write(("1", EMPTY))
    await until(lambda: former.tables[TABLE].place.at == here.head)
    await puts(here, former, 2)
    await former.close()
    assert 3 == stored(here)
    here.rows.database.tables[0, TABLE].place = Checkpoint(1, 0, 1, 1)
    partition = await opened(here)
    await until(lambda: partition.tables[TABLE].place.at == here.head)
    assert (3, here.expected(emptied)) == (stored(here), here.rows.rows(TABLE))


async def test_a_key_that_waits_is_stored_at_once(here: Boxes) -> None:
    """So is what waits behind a projection that raises."""
    partition = here.partition()
    await partition.open([here.wanted()])
    for nr in (1, 2):
        await here.write(("1", BANG))
        await until(lambda: partition.tables["boxes-1"].place.at == here.head)
        place = here.rows.place("boxes-1")
        assert place is not None
        assert nr == place.nr


async def test_many_events(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is never far from its stored place: whoever goes on there has little to pass."""
    monkeypatch.setattr(fold, "PLACE_EVENTS", 4)
    partition = await opened(here)
    await puts(here, partition, 12)
    assert (9, 3) == (stored(here), len(here.rows.saves))


async def test_a_long_time(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a place old."""
    monkeypatch.setattr(fold, "PLACE_SECONDS", 0.0)
    partition = await opened(here)
    await puts(here, partition, 3)
    assert 3 == stored(here)


async def test_nothing_comes(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """At rest the store knows how far a table is. While it is down, it is told later."""
    monkeypatch.setattr(event_source, "IDLE_SECONDS", 0.02)
    partition = await opened(here)
    await puts(here, partition, 2)
    here.rows.down = True
    await puts(here, partition, 2)
    await until(lambda: here.journal.heads > 4)
    assert partition.is_current(TABLE)
    here.rows.down = False
    await until(lambda: stored(here) == 4)


async def test_a_table_that_is_paused(here: Boxes) -> None:
    """It is found where it stood still."""
    partition = await opened(here)
    await puts(here, partition, 5)
    await partition.follow([here.wanted(emptied, paused=True)])
    assert 5 == stored(here)


async def test_who_goes_on(here: Boxes) -> None:
    """From an older place events that change nothing are passed again, and then all that follows is there."""
    former = await opened(here)
    await puts(here, former, 5)
    await former.close()
    assert 1 == stored(here)
    await here.write(("1", EMPTY), ("2", put("a")))
    partition = await opened(here)
    await until(lambda: partition.tables[TABLE].place.at == here.head)
    assert here.expected(emptied) == here.rows.rows(TABLE)

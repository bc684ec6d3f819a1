"""Which tables are kept, which one answers, and which are removed, when versions and builds of a projection follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from projections.applying import event_processor
from projections.applying.control import Control
from projections.applying.projection_group import ProjectionGroup
from projections.applying.waits import MostAtOnce
from projections.http.forwarding import Busy
from projections.http.problems import NotNow
from projections.projection import Projection, PublishedEvent, Row
from projections.routing.cutover import Cutover, first_projection
from projections.stores.declaration import Table
from tests.unit.boxes import Boxes, Put, contents, put
from tests.unit.control_topic import ControlTopic, following
from tests.unit.until import until


class Alone:
    """The doors of a worker that is alone and has partition 0, the only one or the first of two."""

    def __init__(self) -> None:
        self.all_partitions = [0]
        self.partitions = [0]
        self.is_asked, self.is_member = 0, asyncio.Event()
        self.is_member.set()

    def here(self, name: str) -> list[int]:
        return self.partitions

    async def confirmed(self) -> None:
        """As the consumer group confirms that it is a member."""
        self.is_asked += 1
        await self.is_member.wait()

    async def each(self, name: str, path: str, tables: Any, here: Callable[[], Any]) -> list[Any]:
        return [await here()]


def group(
    type: str, kept: Sequence[Table], boxes: Any, control: Control, here: Sequence[int] = (0,)
) -> ProjectionGroup:
    """The tables of a type in partition 0 of the boxes, or in some."""
    return ProjectionGroup(
        type,
        f"{type}-events",
        kept,
        rows_of=lambda kept: boxes.rows,
        here=lambda kept: here,
        control=control,
        feed=boxes.topic,
        reader=boxes.reader,
        dead_letters=boxes.letters,
        at_once=asyncio.Semaphore(4),
    )


@dataclass
class Town:
    """Boxes, their store, the orders, and what their projection cannot take."""

    boxes: Boxes = field(default_factory=Boxes)
    orders: ControlTopic = field(default_factory=ControlTopic)
    bad: set[str] = field(default_factory=set)

    def _contents(self, row: Row | None, key: str, published: PublishedEvent) -> Row | None:
        if isinstance(published.event, Put) and published.event.what in self.bad:
            raise ValueError(f"cannot take {published.event.what}")
        return contents(row, key, published)

    @asynccontextmanager
    async def worker(self, *versions: int) -> AsyncIterator[Worker]:
        """One that has these versions of the projection."""
        kept = [Table(Projection("boxes", version, "box", self._contents)) for version in versions]
        async with following(self.orders) as control:
            boxes: Any = self.boxes
            source = group("box", kept, boxes, control)
            await source.open()
            try:
                yield Worker(self, control, source)
            finally:
                await source.close()

    @property
    def stored(self) -> set[str]:
        """The tables that are there."""
        return {table for (_, table), its in self.boxes.rows.kept.items() if its.place is not None}

    def contents(self, table: str) -> dict[str, list[str]]:
        return {key: row["in"] for key, row in self.boxes.rows.rows(table).items()}


@dataclass
class Worker:
    """One worker, alone."""

    town: Town
    control: Control
    source: ProjectionGroup
    doors: Alone = field(default_factory=Alone)

    async def looked(self) -> None:
        """As the leader does again and again."""
        await Cutover({"box": self.source}, self.control, self.doors, self.doors.confirmed)._look()  # type: ignore[arg-type]
        await self.source.follow()

    @property
    def kept(self) -> set[str]:
        return set(self.source.partitions[0].tables)

    @property
    def serving(self) -> str | None:
        return self.control.serving("boxes")

    async def current(self, table: str) -> None:
        await until(lambda: self.source.partitions[0].is_current(table))

    async def built_again(self, version: int, table: str) -> None:
        """As an operator orders it."""
        await self.control.build_again("boxes", version)
        await self.source.follow()
        await self.current(table)


@pytest.fixture
async def town() -> Town:
    """There is a box with something in it."""
    town = Town()
    await town.boxes.write(("1", put("a")))
    return town


async def test_a_new_version_takes_over_when_it_is_complete(town: Town) -> None:
    """New code leaves the table of the old one as it is, which goes on answering; then its own answers, once."""
    async with town.worker(1) as old:
        await old.current("boxes-1")
        await old.looked()
        assert "boxes-1" == old.serving
    await town.boxes.write(("1", put("b")))
    async with town.worker(2) as new:
        assert ({"boxes-2"}, "boxes-1") == (new.kept, new.serving)
        await new.current("boxes-2")
        assert 1 == await new.source.complete(0, "boxes-1"), "its code is gone"
        await new.looked()
        assert "boxes-2" == new.serving
        offset = new.control.offset
        await new.looked()
        assert offset == new.control.offset
        assert ({"1": ["a"]}, {"1": ["a", "b"]}) == (town.contents("boxes-1"), town.contents("boxes-2"))


async def test_a_table_whose_rows_are_gone(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """Its store is another one, or its changelog was lost, and it is still said to answer: nobody is told that there
    are no rows. It is built again, and answers when it is complete; that is said once."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
    town.boxes.rows.kept.clear()
    town.boxes.topic.remove_before(1)
    async with town.worker(1) as it:
        assert it.serving is None
        await it.current("boxes-1")
        await it.looked()
        assert ("boxes-1", {"1": ["a"]}) == (it.serving, town.contents("boxes-1"))
    async with town.worker(1) as it:
        assert "boxes-1" == it.serving
    said = [record.getMessage() for record in caplog.records if "has nothing of" in record.getMessage()]
    assert ["table boxes-1 has nothing of box-0, and answered: not any more until it is built again"] == said


async def test_a_store_that_is_down_when_its_rows_are_gone(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known when the store answers again."""
    monkeypatch.setattr(event_processor, "FIRST_PAUSE", 0.01)
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
    town.boxes.rows.kept.clear()
    town.boxes.rows.down = True
    async with town.worker(1) as it:
        assert "boxes-1" == it.serving
        town.boxes.rows.down = False
        await it.current("boxes-1")
        assert it.serving is None


async def test_a_table_of_no_events_answers(town: Town) -> None:
    """That there is nothing is right."""
    town.boxes = Boxes()
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
    async with town.worker(1) as it:
        assert "boxes-1" == it.serving


async def test_whether_partitions_have_events_is_asked_once(town: Town) -> None:
    """Of a table that answers and has nothing in many: readings of a log are apart, and a worker begins at once."""
    town.boxes = boxes = Boxes(slices=8)
    kept: Any = [Table(Projection("boxes", 1, "box", contents))]
    async with following(town.orders) as control:
        await control.serve("boxes", "boxes-1")
        source = group("box", kept, boxes, control, range(8))
        await source.open()
        await source.close()
        assert (1, "boxes-1") == (boxes.journal.heads, control.serving("boxes"))


async def test_who_waits_is_told_that_a_table_answers(town: Town) -> None:
    """No event comes that would wake a read that waits for a position: the table has it before it is the one to ask."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        waiting = asyncio.create_task(it.source.wait_for(0, 1, ["boxes"], 60, MostAtOnce(1)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert (None, False) == (it.serving, waiting.done())
        await it.looked()
        assert "boxes-1" == it.serving
        async with asyncio.timeout(5):
            assert await waiting


async def test_the_position_of_a_reply_without_events(town: Town) -> None:
    """A rejected command's reply names the newest commit with an event of its slice: the tables have it, or will,
    though the log goes on with commits that they never hear of."""
    town.boxes = boxes = Boxes(slices=2)
    await boxes.write((boxes.id(), put("a")))
    await boxes.write_beside(3)
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        await boxes.write_beside(3)
        rejected = boxes.log[-1].slices[0].eventful_nr
        assert (1, 7) == (rejected, boxes.log[-1].nr)
        assert await it.source.wait_for(0, rejected, ["boxes"], 60, MostAtOnce(0))
        last = await boxes.write((boxes.id(), put("b")), (boxes.id(1), put("c")), publish=False)
        waiting = asyncio.create_task(it.source.wait_for(0, last.slices[0].eventful_nr, ["boxes"], 60, MostAtOnce(1)))
        await boxes.write_beside(3)
        assert not waiting.done()
        await boxes.publish(last)
        async with asyncio.timeout(5):
            assert await waiting


async def test_who_waits_is_woken_by_the_batch(town: Town) -> None:
    """When the table has the commit, and not before; one more than may wait is told so at once."""
    bound = MostAtOnce(1)
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        assert await it.source.wait_for(0, 1, ["boxes"], 60, MostAtOnce(0)), (
            "who need not wait is answered all the same"
        )
        waiting = asyncio.create_task(it.source.wait_for(0, 3, ["boxes"], 60, bound))
        await until(lambda: bound.now == 1)
        with pytest.raises(Busy):
            await it.source.wait_for(0, 3, ["boxes"], 60, bound)
        await town.boxes.write(("1", put("b")))
        await until(lambda: town.contents("boxes-1") == {"1": ["a", "b"]})
        assert not waiting.done()
        await town.boxes.write(("1", put("c")))
        async with asyncio.timeout(5):
            assert await waiting
        assert not await it.source.wait_for(0, 4, ["boxes"], 0.01, bound)
        assert 0 == bound.now


async def test_who_waits_waits_for_the_look_at_the_log_too(town: Town) -> None:
    """A table that was recovered with the commit in it: who waits is answered when it is known to be of this log, and
    is not sent away before."""
    bound = MostAtOnce(1)
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        processor = it.source.partitions[0]._main
        processor.knows_log = None
        waiting = asyncio.create_task(it.source.wait_for(0, 1, ["boxes"], 60, bound))
        await until(lambda: bound.now == 1)
        await it.source._has_moved(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        processor.knows_log = True
        await it.source._has_moved(0)
        async with asyncio.timeout(5):
            assert await waiting


async def test_who_waits_is_told_that_the_partitions_move(town: Town) -> None:
    """He need not wait for what this worker does not get any more, in a rebalance or when it ends."""
    bound = MostAtOnce(10)
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        waiting = [asyncio.create_task(it.source.wait_for(0, 9, ["boxes"], 60, bound)) for _ in range(3)]
        await until(lambda: bound.now == 3)
    for task in waiting:
        with pytest.raises(NotNow, match="have just moved"):
            await task
    with pytest.raises(NotNow, match="has just moved"):
        await it.source.wait_for(0, 9, ["boxes"], 60, bound)


async def test_why_nothing_comes(town: Town) -> None:
    """Who has waited in vain is told what keeps the table."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        assert "" == it.source.why_not(0, ["boxes"])
        await it.control.pause("boxes", "why")
        await it.source.follow()
        assert "boxes-1 is paused" == it.source.why_not(0, ["boxes"])


async def test_how_far_a_table_is(town: Town) -> None:
    """It is known of the partitions that this worker has, for as long as it has them."""
    async with town.worker(1) as worker:
        await worker.current("boxes-1")
        assert (1, None) == (await worker.source.complete(0, "boxes-1"), await worker.source.complete(1, "boxes-1"))
    assert await worker.source.complete(0, "boxes-1") is None


async def test_both_versions_are_kept_up_to_date(town: Town) -> None:
    """Code that has both keeps both, before and after the switch; the newest answers."""
    async with town.worker(1) as old:
        await old.current("boxes-1")
        await old.looked()
    async with town.worker(1, 2) as both:
        await both.current("boxes-2")
        assert {"boxes-1", "boxes-2"} == both.kept
        await both.looked()
        assert "boxes-2" == both.serving
        await town.boxes.write(("1", put("b")))
        await until(lambda: town.contents("boxes-1") == town.contents("boxes-2") == {"1": ["a", "b"]})


async def test_old_code_comes_back(town: Town) -> None:
    """What a newer version has dropped meanwhile is built again, and answers when it is complete."""
    for version in (1, 2):
        async with town.worker(version) as it:
            await it.current(f"boxes-{version}")
            await it.looked()
    async with town.worker(2) as new:
        await new.control.drop("boxes-1")
        await new.source.follow()
        await until(lambda: town.stored == {"boxes-2"})
    async with town.worker(1) as old:
        await old.current("boxes-1")
        await old.looked()
        assert ("boxes-1", {"1": ["a"]}) == (old.serving, town.contents("boxes-1"))
    async with town.worker(2) as new:
        await new.looked()
        await asyncio.sleep(0.02)
        assert {"boxes-1", "boxes-2"} == town.stored, "the drop was of another day"


async def test_a_rebuild_takes_over_and_the_old_one_stands_still(town: Town) -> None:
    """A new table of the same version is built beside; when it answers the old one is not kept any more."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        await it.control.build_again("boxes", 1)
        await it.source.follow()
        assert {"boxes-1", "boxes-1.1"} == it.kept
        await it.current("boxes-1.1")
        await it.looked()
        assert ({"boxes-1.1"}, "boxes-1.1") == (it.kept, it.serving)


async def test_only_what_nobody_needs_is_removed(town: Town) -> None:
    """Neither what answers nor what is wanted, whatever is ordered; what was ordered while nobody was there, later."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        await it.built_again(1, "boxes-1.1")
        for table in ("boxes-1", "boxes-1.1", "boxes-7"):
            await it.control.drop(table)
        await it.source.follow()
        await asyncio.sleep(0.02)
        assert {"boxes-1", "boxes-1.1"} == town.stored
        await it.source.close()
        await it.control.serve("boxes", "boxes-1.1")
        await it.source.open()
        await until(lambda: town.stored == {"boxes-1.1"})


async def test_not_before_every_partition_is_complete(town: Town) -> None:
    """One partition that is not here, or not complete, keeps the table from answering."""
    async with town.worker(1) as it:
        it.doors.all_partitions = [0, 1]
        await it.current("boxes-1")
        await it.looked()
        assert it.serving is None


async def test_keys_that_wait_keep_a_table_from_answering(town: Town) -> None:
    """A table in which a key waits that does not wait in the one that answers would go back; the first of all would
    not, nor one in which nothing waits but what did before."""
    town.bad.add("bad")
    await town.boxes.write(("2", put("bad")))
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        assert "boxes-1" == it.serving
        await it.built_again(1, "boxes-1.1")
        await it.looked()
        assert "boxes-1.1" == it.serving
        await town.boxes.write(("3", put("worse")))
        await until(lambda: "3" in town.contents("boxes-1.1"))
    town.bad.add("worse")
    async with town.worker(2) as it:
        await it.current("boxes-2")
        await it.looked()
        assert "boxes-1.1" == it.serving, "the one that is worse is new, the one that is bad is not"
        town.bad.remove("worse")
        await it.built_again(2, "boxes-2.1")
        await it.looked()
        assert "boxes-2.1" == it.serving


async def test_who_is_no_leader_any_more(town: Town) -> None:
    """Who is cut off does not know it. Before one table takes the place of another the group has to confirm the leader;
    the first one takes nobody's."""
    async with town.worker(1) as it:
        await it.current("boxes-1")
        await it.looked()
        assert ("boxes-1", 0) == (it.serving, it.doors.is_asked)
    async with town.worker(2) as it:
        await it.current("boxes-2")
        it.doors.is_member.clear()
        looking = asyncio.create_task(it.looked())
        await until(lambda: it.doors.is_asked == 1)
        it.doors.partitions = []  # and it hears that another one leads
        it.doors.is_member.set()
        await looking
        assert "boxes-1" == it.serving
        it.doors.partitions = [0]
        await it.looked()
        assert ("boxes-2", 2) == (it.serving, it.doors.is_asked)


async def test_a_type_without_a_projection_comes_first(town: Town) -> None:
    """Tables are switched whatever the order of the types: the leader is found by the first projection there is."""
    async with town.worker(1) as worker:
        await worker.current("boxes-1")
        nothing = group("mail", [], town.boxes, worker.control)
        sources = {"mail": nothing, "box": worker.source}
        assert "boxes" == first_projection(sources)
        await Cutover(sources, worker.control, worker.doors, worker.doors.confirmed)._look()  # type: ignore[arg-type]
        assert "boxes-1" == worker.serving


async def test_opened_again(town: Town) -> None:
    """What could not be opened to its end is opened again: nothing of the first attempt goes on beside it."""
    async with town.worker(1) as worker:
        await worker.current("boxes-1")
        await worker.source.open()
        await worker.current("boxes-1")
        assert 1 == town.boxes.topic.readings

"""A processor of events into tables: from where they stand, in sequence, and never past what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition

from projections.applying import event_processor as processor_module
from projections.applying import event_source
from projections.applying.event_processor import EventProcessor
from projections.applying.fold import TableFold
from projections.stores.rows import Checkpoint
from streams.kafka.fetching.batches import unreadable_record
from tests.memory_rows import MemoryRows
from tests.unit.boxes import BANG, Boxes, by_type, put
from tests.unit.until import until


class Processors:
    """Boxes, and processors that apply their events."""

    def __init__(self) -> None:
        self.here = Boxes()
        self.aside: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def processor(self, *tables: TableFold, batch: int = 1_000) -> EventProcessor:
        self.batch = batch
        return EventProcessor(self.here.published_stream, self.here.letters, tables)

    def run(self, processor: EventProcessor) -> None:
        """Begin, and go on for ever."""

        async def follow() -> None:
            async with processor.batches(self.batch) as batches:
                async for batch in batches:
                    async with processor.changing:
                        self.aside += [table.table for table in await processor.apply(batch)]

        self._tasks.append(asyncio.create_task(processor.until_done(follow)))

    async def reach(self, *tables: TableFold) -> None:
        """Return when these tables have the whole log."""
        await until(lambda: all(table.place.at == self.here.head for table in tables))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


@pytest.fixture
async def processors(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Processors]:
    monkeypatch.setattr(processor_module, "FIRST_PAUSE", 0.01)
    processors = Processors()
    yield processors
    await processors.close()


@pytest.fixture
def here(processors: Processors) -> Boxes:
    return processors.here


async def again(here: Boxes, *, offset: int | None = None) -> TableFold:
    """The table as another worker finds it, perhaps with another offset."""
    table = here.table()
    place = here.rows.place(table.table)
    assert place is not None
    table.place = Checkpoint(place.nr, place.index, place.complete, place.offset if offset is None else offset)
    return table


async def filled(processors: Processors, *whats: str) -> None:
    """Boxes 1 and 2 have these, and the table is up to date."""
    for what in whats:
        await processors.here.write(("1", put(what)), ("2", put(what)))
    processors.run(processors.processor(table := processors.here.table()))
    await processors.reach(table)
    await processors.close()
    processors.here.topic.read.clear()


# -- where it begins -----------------------------------------------------------------------------------


async def test_from_the_beginning_and_on(processors: Processors, here: Boxes) -> None:
    """A new table gets all that is there and all that comes."""
    await here.write(("1", put("a")))
    processors.run(processors.processor(table := here.table()))
    await processors.reach(table)
    for what in "bcd":
        await here.write(("1", put(what)), ("2", put(what)))
        await processors.reach(table)
        assert here.expected() == here.rows.rows("boxes-1")


async def test_where_the_table_is(processors: Processors, here: Boxes) -> None:
    """What it has is not read again."""
    await filled(processors, *"abc")
    await here.write(("1", put("d")))
    processors.run(processors.processor(table := await again(here)))
    await processors.reach(table)
    assert ([6], here.expected()) == (here.topic.read, here.rows.rows("boxes-1"))


async def test_where_the_one_is_that_is_furthest_behind(processors: Processors, here: Boxes) -> None:
    """Tables at different places go together: each leaves out what it has."""
    await filled(processors, "a")
    behind = here.table(by_type)
    processors.run(processors.processor(await again(here), behind))
    await here.write(("1", put("b")))
    await processors.reach(behind)
    assert here.expected() == here.rows.rows("boxes-1")
    assert here.expected(by_type) == here.rows.rows("by-type-1")


@pytest.mark.parametrize("offset", [1, 4, 5, 100])
async def test_an_offset_that_does_not_fit(processors: Processors, here: Boxes, offset: int) -> None:
    """The offset is a hint: where the topic does not say the same, it is read from its beginning."""
    await filled(processors, *"abc")
    await here.write(("1", put("d")), ("2", put("d")))
    processors.run(processors.processor(table := await again(here, offset=offset)))
    await processors.reach(table)
    assert here.expected() == here.rows.rows("boxes-1")


@pytest.mark.parametrize("published", [0, 1, 2])
async def test_a_topic_that_was_made_again(processors: Processors, here: Boxes, published: int) -> None:
    """What was never published there comes from the log, and what follows from the topic."""
    await filled(processors, "a")
    here.topic.records.clear()
    for number, what in enumerate("bcd"):
        await here.write(("1", put(what)), ("2", put(what)), publish=number >= 3 - published)
    processors.run(processors.processor(table := await again(here)))
    await processors.reach(table)
    await here.write(("1", put("e")))
    await processors.reach(table)
    assert here.expected() == here.rows.rows("boxes-1")


@pytest.mark.parametrize("known", [True, False])
async def test_a_topic_that_does_not_reach_back(processors: Processors, here: Boxes, known: bool) -> None:
    """What retention has removed comes from the log, for a table that is behind and for a new one."""
    await filled(processors, "a")
    for what in "bcd":
        await here.write(("1", put(what)), ("2", put(what)))
    here.topic.remove_before(5)
    processors.run(processors.processor(table := await again(here) if known else here.table(name="boxes-1.1")))
    await processors.reach(table)
    assert here.expected() == here.rows.rows(table.table)
    assert [5] == here.topic.read


@pytest.mark.parametrize("says", [[0], [1, 0, 1], [2, 0, 0]])
@pytest.mark.parametrize("empty", [True, False])
async def test_a_log_that_says_little_at_a_time(
    processors: Processors, here: Boxes, says: list[int], empty: bool
) -> None:
    """A read of the log may end early, even at once: that is not its end."""
    for what in "abcd":
        await here.write(("1", put(what)), ("2", put(what)))
    here.topic.remove_before(8 if empty else 6)
    here.journal.says = says
    processors.run(processors.processor(table := here.table()))
    await processors.reach(table)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_a_late_duplicate_at_the_beginning(processors: Processors, here: Boxes) -> None:
    """Nor does it say that the topic has what came after it."""
    first = await here.write(("1", put("a")), publish=False)
    await here.write(("2", put("b")), publish=False)
    await here.publish(first)
    await here.write(("3", put("c")))
    processors.run(processors.processor(table := here.table()))
    await processors.reach(table)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_one_that_is_ahead_joins(processors: Processors, here: Boxes) -> None:
    """From then on the others do not have all before they have come as far."""
    await filled(processors, "a")
    ahead = await again(here)
    processor = processors.processor(behind := here.table(by_type))
    processors.run(processor)
    here.rows.down = True
    processor.join(ahead)
    assert (False, ahead.place.at) == (processor.has_all(behind), processor.at)
    here.rows.down = False
    await processors.reach(behind)
    await until(lambda: processor.has_all(behind) and processor.has_all(ahead))


# -- what is missing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [range(2, 3), range(2, 4), range(2, 6)])
async def test_what_the_topic_has_lost_comes_from_the_log(processors: Processors, here: Boxes, lost: range) -> None:
    """An event that is not on the topic any more is not missed, be it of a row that changes again or not."""
    await filled(processors, "a")
    await here.write(("3", put("b")), ("1", put("b")))
    await here.write(("4", put("c")), ("1", put("c")))
    await here.write(("5", put("d")), ("2", put("d")))
    for offset in lost:
        here.topic.lose(offset)
    table, local = await again(here), here.table(by_type)
    processors.run(processors.processor(table))
    processors.run(processors.processor(local))
    await processors.reach(table, local)
    assert here.expected() == here.rows.rows("boxes-1")
    assert here.expected(by_type) == here.rows.rows("by-type-1")


@pytest.mark.parametrize("named", [True, False])
async def test_records_that_are_removed_while_it_waits(processors: Processors, here: Boxes, named: bool) -> None:
    """Retention that overtakes a processor leaves nothing out, whether events name the one before them or not."""
    here.names_previous = named
    await here.write(("1", put("a")))
    table = here.table(by_type)
    processors.run(processors.processor(table))
    await processors.reach(table)
    here.rows.down = True
    await here.write(("1", put("b")))
    await asyncio.sleep(0.02)
    for number in range(5):
        await here.write((f"new {number}", put("c")))
    here.topic.remove_before(5)
    here.rows.down = False
    await processors.reach(table)
    assert here.expected(by_type) == here.rows.rows("by-type-1")


@pytest.mark.parametrize("late", [True, False])
async def test_a_topic_that_is_made_again_while_it_is_read(processors: Processors, here: Boxes, late: bool) -> None:
    """The new one begins anywhere, with an event that does not know which was before it, or with a late duplicate: what
    is not on it comes from the log."""
    first = await here.write(("1", put("a")))
    await here.write(("2", put("a")), ("3", put("a")))
    table = here.table(by_type)
    processors.run(processors.processor(table))
    await processors.reach(table)
    here.topic.records.clear()
    await here.write(("1", put("b")), publish=False)
    if late:
        await here.publish(first)
        await asyncio.sleep(0.01)
    here.names_previous = False
    await here.write(("2", put("b")))
    here.names_previous = True
    await here.write(("3", put("b")))
    await processors.reach(table)
    assert here.expected(by_type) == here.rows.rows("by-type-1")


async def test_a_topic_that_is_made_again_and_has_as_many_records(processors: Processors, here: Boxes) -> None:
    """Strangers' records stand where the events stood that the table has; the first event that a tail has published
    there does not know which was before it, and has the very offset that is due. The 52,980th schedule."""
    await here.write(("1", put("a")))
    table = here.table(by_type)
    processors.run(processors.processor(table))
    await processors.reach(table)
    here.topic.records.clear()
    here.topic.append(b"?", b"", [])
    await here.write(("1", put("b")), publish=False)
    here.names_previous = False
    await here.write(("2", put("b")))
    await processors.reach(table)
    assert here.expected(by_type) == here.rows.rows("by-type-1")


# -- what fails ----------------------------------------------------------------------------------------


async def test_a_batch_that_fails_is_tried_again(processors: Processors, here: Boxes) -> None:
    """Nothing is passed while the store is down, and nothing is lost."""
    here.rows.down = True
    processors.run(processors.processor(table := here.table()))
    await here.write(("1", put("a")))
    await asyncio.sleep(0.05)
    assert (Checkpoint(), []) == (table.place, processors.aside)
    await here.write(("1", put("b")))
    here.rows.down = False
    await processors.reach(table)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_the_store_of_one_table_fails(processors: Processors, here: Boxes) -> None:
    """That table is set aside, once, where it was; those of other stores go on."""
    other = MemoryRows()
    processor = processors.processor(going := here.table(), falling := here.table(by_type, rows=other))
    processors.run(processor)
    await here.write(("1", put("a")))
    await processors.reach(going, falling)
    other.down = True
    for what in "bc":
        await here.write(("1", put(what)))
        await processors.reach(going)
    await until(lambda: processor.at == here.head)
    assert (["by-type-1"], [going]) == (processors.aside, processor.tables)
    assert (Checkpoint(1, 0, 1, 1), here.head) == (falling.place, processor.at)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_both_stores_fail(processors: Processors, here: Boxes) -> None:
    """Then all of them wait, none is set aside."""
    other = MemoryRows()
    here.rows.down = other.down = True
    processors.run(processors.processor(one := here.table(), two := here.table(by_type, rows=other)))
    await here.write(("1", put("a")))
    await asyncio.sleep(0.05)
    assert [] == processors.aside
    here.rows.down = other.down = False
    await processors.reach(one, two)


async def test_an_event_that_cannot_be_read_is_waited_for(processors: Processors, here: Boxes) -> None:
    """Newer code has written it: nothing is applied of it and what is behind it, until its schema is there."""
    await here.write(("1", put("a")))
    await here.write(("1", ("Newer", b"\xc3\x01" + bytes(range(8)))))
    await here.write(("1", put("b")))
    processors.run(processors.processor(table := here.table(), batch=1))
    await until(lambda: table.place.nr == 1)
    await asyncio.sleep(0.05)
    assert Checkpoint(1, 0, 1, 1) == table.place


async def test_what_waits_is_in_the_dead_letters_first(processors: Processors, here: Boxes) -> None:
    """Before a place is moved past an event that waits behind a projection that raised, the event is kept."""
    here.letters.down = True
    processors.run(processors.processor(table := here.table()))
    await here.write(("1", put("a")), ("1", BANG), ("1", put("b")))
    await asyncio.sleep(0.05)
    assert (Checkpoint(), {}) == (table.place, here.rows.rows("boxes-1"))
    here.letters.down = False
    await processors.reach(table)
    assert [("boxes-1", "1", "box-0:1:1"), ("boxes-1", "1", "box-0:1:2")] == here.letters.kept
    assert 2 == table.quarantined["1"].events


# -- what is none of ours ----------------------------------------------------------------------------------


def placed(position: bytes, **more: bytes) -> list[tuple[str, bytes]]:
    """The headers of an event at a place, with the changes of a stranger."""
    headers = {"ce_id": position, "ce_position": position, "ce_sequence": b"1", "ce_time": b"t", **more}
    return list(headers.items())


STRANGE: list[tuple[Any, Any, list[tuple[str, bytes]]]] = [
    (None, b"heartbeat", []),
    (b"k", None, []),
    (b"k", b"x", placed(b"box-1:1:0")),
    (b"k", b"x", placed(b"box-0:1")),
    (b"k", b"x", placed(b"box-0:1:x")),
    (b"k", b"x", placed(b"box-0:0:0")),
    (b"k", b"x", placed(b"box-0:1:-1")),
    (b"k", b"x", placed(b"box-0:1_0:0")),
    (b"k", b"x", placed(b"\xff")),
    (b"k", b"x", placed(b"box-0:99:0")[:-1]),
    (b"\xff", b"x", placed(b"box-0:99:0")),
    (b"k", b"x", placed(b"box-0:99:0", ce_sequence=b"one")),
    (b"k", b"x", placed(b"box-0:99:0", ce_previous=b"?")),
    (b"1", put("x")[1], placed(b"box-0:2:0", ce_previous=b"box-0:900:0")),
    (b"1", put("x")[1], placed(b"box-0:99:0", ce_previous=b"box-0:99:0")),
    (b"1", put("x")[1], placed(b"box-0:2000000:0", ce_id=b"7b1f")),
    (b"1", put("x")[1], placed(b"box-0:2000000:0")[1:]),
    (b"1", b"another value", placed(b"box-0:1:0", ce_id=b"7b1f")),
    (b"k", None, placed(b"box-0:99:0")),
]


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("where", ["first", "between", "last", "alone"])
async def test_a_record_of_others_is_passed_over(
    processors: Processors, here: Boxes, strange: Any, where: str, caplog: Any
) -> None:
    """Wherever it stands: the tables have all events, read on, and it is said once and counted."""
    if where in ("first", "alone"):
        here.topic.append(*strange)
    await here.write(("1", put("a")), publish=where != "alone")
    if where == "between":
        here.topic.append(*strange)
    await here.write(("1", put("b")), publish=where != "alone")
    if where == "last":
        here.topic.append(*strange)
    processors.run(processor := processors.processor(table := here.table()))
    await until(lambda: processor.offset == here.topic.end and table.place.at == here.head)
    assert here.expected() == here.rows.rows("boxes-1")
    here.topic.append(*strange)
    await here.write(("2", put("c")))
    await until(lambda: processor.offset == here.topic.end)
    assert here.expected() == here.rows.rows("boxes-1")
    assert (1, 2) == (caplog.text.count("none that this system has published"), here.reader.passed_over["box-0"])


@pytest.mark.parametrize("together", [True, False])
async def test_a_copy_of_an_event_that_all_tables_have(processors: Processors, here: Boxes, together: bool) -> None:
    """A mirror may copy an event with its id and change what is in it: what all tables have is not read again."""
    processors.run(processor := processors.processor(table := here.table()))
    commit = await here.write(("1", put("a")), publish=not together)
    if together:
        await here.publish(commit)
    else:
        await processors.reach(table)
    here.topic.append(b"1", b"enriched", here.topic.records[0].headers)
    await here.write(("1", put("b")))
    await until(lambda: processor.offset == here.topic.end and table.place.at == here.head)
    assert ("", here.expected()) == (processor.held, here.rows.rows("boxes-1"))


async def test_an_event_beyond_the_end_of_the_log(processors: Processors, here: Boxes) -> None:
    """It is said that the log is not the one that it is from, as where a journal was restored, not that it may come."""
    await here.write(("1", put("a")))
    processors.run(processor := processors.processor(table := here.table()))
    await processors.reach(table)
    here.topic.append(b"1", put("x")[1], placed(b"box-0:2000000:0", ce_previous=b"box-0:1999999:0"))
    async with here.topic.grown:
        here.topic.grown.notify_all()
    await until(lambda: bool(processor.held))
    reason = "JournalBehind: box-0: its events are published up to 1999999:0, and the journal ends at commit 1"
    assert reason in processor.held


async def test_what_the_log_cannot_give_is_asked_for_once(
    processors: Processors, here: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that follows what the log does not have is not looked for again and again without a pause."""
    await here.write(("1", put("a")), ("1", put("b")))
    reads = 0

    async def read(*args: Any) -> list[Any]:
        nonlocal reads
        reads += 1
        first, *others = await type(here.reader).read(here.reader, *args)
        return [first._replace(follows=(900, 0)), *others]

    monkeypatch.setattr(here.reader, "read", read)
    processors.run(processor := processors.processor(table := here.table()))
    await until(lambda: "MissingEvents: box-0: the journal lacks what is before event 1:0" in processor.held)
    await asyncio.sleep(0.1)
    assert (Checkpoint(), True) == (table.place, reads < 10)


async def test_an_event_that_cannot_be_read(processors: Processors, here: Boxes) -> None:
    """It comes from the log at once, though nothing follows on the topic that says that it is missing."""
    await here.write(("1", put("a")))
    processors.run(processor := processors.processor(table := here.table()))
    await processors.reach(table)
    await here.write(("1", put("b")), publish=False)
    damaged = unreadable_record(TopicPartition("box-events", 0), here.topic.end, here.topic.end, -1, "damaged")
    here.topic.records.append(damaged)  # type: ignore[arg-type]
    async with here.topic.grown:
        here.topic.grown.notify_all()
    await processors.reach(table)
    await until(lambda: processor.offset == here.topic.end)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_a_stranger_at_the_end_is_not_read_again_and_again(
    processors: Processors, here: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that looks whether its place is still there finds it before what is none of ours."""
    monkeypatch.setattr(event_source, "IDLE_SECONDS", 0.02)
    await here.write(("1", put("a")))
    here.topic.append(None, b"heartbeat", [])
    processors.run(processor := processors.processor(table := here.table()))
    await processors.reach(table)
    await until(lambda: processor.offset == here.topic.end)
    here.topic.read.clear()
    await asyncio.sleep(0.1)
    assert (set(), True) == (set(here.topic.read) - {here.topic.end}, processor.has_all(table))

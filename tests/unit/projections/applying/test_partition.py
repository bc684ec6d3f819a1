"""All tables of one partition: they go together, catch up, stand still and come back, and none misses an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.applying import event_processor as processor_module
from projections.applying import event_source
from projections.applying import partition_processor as partition_module
from projections.applying.partition_processor import PartitionProcessor
from projections.applying.refolding import fold_key
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.rows import Changes, Checkpoint
from streams.journal.port import Unavailable
from tests.flat_rows import encoded
from tests.memory_rows import MemoryRows
from tests.unit.boxes import BANG, Boxes, Put, Reading, boxes, by_type, contents, put
from tests.unit.until import until


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boxes]:
    """Boxes, where a table is near when it is three records behind."""
    monkeypatch.setattr(processor_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(partition_module, "NEAR", 3)
    boxes = Boxes()
    yield boxes
    await boxes.close()
    assert 0 == boxes.topic.readings, "a reading is left open"


async def current(here: Boxes, partition: PartitionProcessor, *tables: str) -> None:
    """Return when these tables have the whole log, and go with the others."""
    await until(
        lambda: all(
            partition.is_current(table) and partition.tables[table].place.at == here.head
            for table in tables or partition.tables
        )
    )


async def fill(here: Boxes, count: int, box: str = "1") -> None:
    for number in range(count):
        await here.write((box, put(str(number))))


async def opened(here: Boxes, *wanted: Any) -> PartitionProcessor:
    partition = here.partition()
    await partition.open(wanted or [here.wanted(), here.wanted(by_type)])
    return partition


# -- one after another ---------------------------------------------------------------------------------


async def test_tables_go_together(here: Boxes) -> None:
    """What is read once becomes the rows of all tables, kept at once in each store."""
    partition = await opened(here)
    await fill(here, 3)
    await current(here, partition)
    assert here.expected() == here.rows.rows("boxes-1")
    assert here.expected(by_type) == here.rows.rows("by-type-1")
    assert {("boxes-1", "by-type-1")} == {tuple(tables) for tables in here.rows.saves}
    assert 1 == here.topic.readings


async def test_a_worker_that_begins_anew_goes_on(here: Boxes) -> None:
    """The tables themselves say where."""
    former = await opened(here)
    await fill(here, 5)
    await current(here, former)
    await former.close()
    await fill(here, 2)
    here.topic.read.clear()
    partition = await opened(here)
    await current(here, partition)
    assert (here.expected(), [5]) == (here.rows.rows("boxes-1"), here.topic.read)


async def test_a_new_table_catches_up_and_joins(here: Boxes) -> None:
    """It is built beside the others, which go on meanwhile, and then goes with them."""
    partition = await opened(here)
    await fill(here, 20)
    await current(here, partition)
    await partition.follow([here.wanted(), here.wanted(by_type), here.wanted(name="boxes-1.1")])
    assert not partition.is_current("boxes-1.1")
    await fill(here, 5)
    await current(here, partition)
    assert here.rows.rows("boxes-1") == here.rows.rows("boxes-1.1") == here.expected()
    await fill(here, 5)
    await current(here, partition)
    assert here.rows.rows("boxes-1") == here.rows.rows("boxes-1.1") == here.expected()
    assert (1, {partition._main}) == (here.topic.readings, {it.processor for it in partition.tables.values()})


async def never_answers_too_early(here: Boxes, partition: PartitionProcessor, table: str) -> None:
    """Return when a table is current; whenever it is, it has the whole log."""

    def looked() -> bool:
        found = partition.is_current(table)
        assert not found or here.expected() == here.rows.rows(table)
        return found

    await until(looked)


@pytest.mark.parametrize("near", [0, 3, 1_000])
async def test_who_is_behind_is_not_current(here: Boxes, monkeypatch: pytest.MonkeyPatch, near: int) -> None:
    """Nor when it begins together with one that is up to date: it does not answer before it has all that was there."""
    monkeypatch.setattr(partition_module, "NEAR", near)
    monkeypatch.setattr(partition_module, "BATCH", 2)
    former = await opened(here)
    await fill(here, 10)
    await current(here, former)
    await former.close()
    partition = await opened(here, here.wanted(), here.wanted(name="boxes-1.1"))
    await never_answers_too_early(here, partition, "boxes-1.1")


async def test_the_first_tables_are_not_current_at_once(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is none to catch up with: a first table, and the first of a new version, has to be built."""
    monkeypatch.setattr(partition_module, "BATCH", 2)
    await fill(here, 10)
    partition = await opened(here)
    await never_answers_too_early(here, partition, "boxes-1")


async def test_nothing_to_catch_up_with_is_current(here: Boxes) -> None:
    """Where there are no events at all, a table has them all."""
    partition = await opened(here)
    await until(lambda: partition.is_current("boxes-1"))


async def test_pause_and_resume(here: Boxes) -> None:
    """A table that is paused stands still where it was, the others go on; later it catches up, and misses nothing."""
    partition = await opened(here)
    await fill(here, 2)
    await current(here, partition)
    await partition.follow([here.wanted(), here.wanted(by_type, paused=True)])
    await fill(here, 10)
    await current(here, partition, "boxes-1")
    assert (2, False) == (partition.tables["by-type-1"].place.nr, partition.is_current("by-type-1"))
    await partition.follow([here.wanted(), here.wanted(by_type)])
    await current(here, partition)
    assert here.expected(by_type) == here.rows.rows("by-type-1")


async def test_all_are_paused_and_resumed_at_once(here: Boxes) -> None:
    """Then there is none to join, and the first that is near is joined by the others."""
    partition = await opened(here)
    await fill(here, 2)
    await current(here, partition)
    await partition.follow([here.wanted(paused=True), here.wanted(by_type, paused=True)])
    await until(lambda: here.topic.readings == 0)
    await fill(here, 10)
    await partition.follow([here.wanted(), here.wanted(by_type)])
    await fill(here, 10)
    await current(here, partition)
    assert here.expected(by_type) == here.rows.rows("by-type-1")
    assert (here.expected(), 1) == (here.rows.rows("boxes-1"), here.topic.readings)


async def test_paused_from_the_beginning(here: Boxes) -> None:
    """A partition whose tables are all paused reads nothing until one goes on."""
    partition = await opened(here, here.wanted(paused=True))
    await fill(here, 5)
    await asyncio.sleep(0.02)
    assert ([], 0) == (here.topic.read, here.topic.readings)
    await partition.follow([here.wanted()])
    await current(here, partition)
    assert here.expected() == here.rows.rows("boxes-1")


async def test_a_table_that_is_not_wanted_any_more(here: Boxes) -> None:
    """It is let go, while it is being built too."""
    partition = await opened(here, here.wanted(), here.wanted(by_type))
    await fill(here, 10)
    await current(here, partition)
    await partition.follow([here.wanted(), here.wanted(name="boxes-1.1")])
    await partition.follow([here.wanted()])
    await fill(here, 2)
    await current(here, partition)
    assert ({"boxes-1"}, 10) == (partition.tables.keys(), len(here.rows.rows("by-type-1")) * 10)
    assert here.expected(by_type) != here.rows.rows("by-type-1")
    assert 1 == here.topic.readings


async def test_closed(here: Boxes) -> None:
    """Nothing is applied any more."""
    partition = await opened(here, here.wanted(), here.wanted(name="boxes-1.1"))
    await fill(here, 5)
    await current(here, partition)
    await partition.close()
    await fill(here, 5)
    await asyncio.sleep(0.02)
    assert (5, 0) == (here.rows.rows("boxes-1")["1"]["sequence"], here.topic.readings)


async def test_so_many_catch_up_at_once(here: Boxes) -> None:
    """The others wait for their turn."""
    partition = here.partition(at_once=1)
    await partition.open([here.wanted()])
    await fill(here, 50)
    await current(here, partition)
    names = [f"boxes-1.{number}" for number in range(1, 6)]
    await partition.follow([here.wanted(), *(here.wanted(name=name) for name in names)])
    await until(lambda: here.topic.readings <= 2 and all(map(partition.is_current, names)))
    assert all(here.expected() == here.rows.rows(name) for name in names)


# -- a store that fails --------------------------------------------------------------------------------


async def test_the_others_go_on_without_a_store(here: Boxes) -> None:
    """For as long as a store is down its tables fall behind, and no other waits for them; then they catch up."""
    other = MemoryRows()
    partition = await opened(here, here.wanted(), here.wanted(by_type, rows=other))
    await fill(here, 2)
    await current(here, partition)
    other.down = True
    for _ in range(5):
        await fill(here, 3)
        await current(here, partition, "boxes-1")
        await asyncio.sleep(0.02)
    assert (2, False) == (partition.tables["by-type-1"].place.nr, partition.is_current("by-type-1"))
    other.down = False
    await current(here, partition)
    assert here.expected(by_type) == other.rows("by-type-1")


async def test_a_store_is_down_when_a_partition_is_opened(here: Boxes) -> None:
    """The tables of the others are served, and those of this one when it is back."""
    other = MemoryRows()
    other.down = True
    partition = await opened(here, here.wanted(), here.wanted(by_type, rows=other))
    await fill(here, 10)
    await current(here, partition, "boxes-1")
    other.down = False
    await current(here, partition)
    assert here.expected(by_type) == other.rows("by-type-1")


async def test_a_store_is_down_when_a_table_is_ordered(here: Boxes) -> None:
    """The others go on, and the table is built when the store is back."""
    other = MemoryRows()
    partition = await opened(here, here.wanted())
    await fill(here, 10)
    await current(here, partition)
    other.down = True
    await partition.follow([here.wanted(), here.wanted(by_type, rows=other)])
    await fill(here, 5)
    await current(here, partition, "boxes-1")
    other.down = False
    await current(here, partition)
    assert here.expected(by_type) == other.rows("by-type-1")


# -- one key -------------------------------------------------------------------------------------------


class Mended:
    """The contents of boxes, by code that has a bug until it is mended."""

    def __init__(self) -> None:
        self.done = False
        self.projection = Projection("boxes", 1, "box", self._evolve)

    def _evolve(self, row: Row | None, key: str, published: PublishedEvent) -> Row | None:
        if self.done and not isinstance(published.event, Put):
            return row
        return contents(row, key, published)


async def folded_anew(partition: PartitionProcessor, projection: str, key: str) -> bool:
    """Whether there is such a row; what its projection raises still is a `TypeError`."""
    found = await partition.while_open(fold_key(partition, projection, key))
    for row in found:
        if row.waits is not None:
            raise TypeError(row.waits.error)
    return bool(found)


async def test_a_key_is_released(here: Boxes) -> None:
    """When its projection is mended, its row is folded anew with all that waited, and it goes on from there."""
    code = Mended()
    partition = await opened(here, here.wanted(code.projection))
    await here.write(("1", put("a")), ("1", BANG), ("1", put("b")), ("2", put("c")))
    await until(lambda: partition.is_current("boxes-1") and "1" in partition.tables["boxes-1"].quarantined)
    with pytest.raises(TypeError, match="no rule for Bomb"):
        await folded_anew(partition, "boxes", "1")
    assert (2, ["a"]) == (partition.tables["boxes-1"].quarantined["1"].events, here.rows.rows("boxes-1")["1"]["in"])
    code.done = True
    assert await folded_anew(partition, "boxes", "1")
    assert (["a", "b"], {}) == (here.rows.rows("boxes-1")["1"]["in"], partition.tables["boxes-1"].quarantined)
    await here.write(("1", put("d")))
    await current(here, partition)
    assert {"in": ["a", "b", "d"], "position": "box-0:2:0", "sequence": 4} == here.rows.rows("boxes-1")["1"]
    await partition.close()
    again = await opened(here, here.wanted(code.projection))
    assert {} == again.tables["boxes-1"].quarantined


async def test_a_key_is_released_by_a_skip(here: Boxes) -> None:
    """The event that its projection cannot take is left out, now and whenever it is folded again."""
    partition = await opened(here)
    await here.write(("1", put("a")), ("1", BANG), ("1", put("b")))
    await until(lambda: "1" in partition.tables["boxes-1"].quarantined)
    await partition.follow([here.wanted(skips={"box-0:1:1": "a bomb"}), here.wanted(by_type)])
    assert await folded_anew(partition, "boxes", "1")
    assert ["a", "b"] == here.rows.rows("boxes-1")["1"]["in"]


@pytest.mark.parametrize("projection", [boxes, by_type])
async def test_a_row_is_folded_anew(here: Boxes, projection: Projection) -> None:
    """From the log, in every table of its projection, up to where each of them is."""
    partition = await opened(here, here.wanted(projection), here.wanted(projection, f"{projection.name}-1.1"))
    await fill(here, 3)
    await here.write(("2", put("a")))
    await current(here, partition)
    key = "1" if projection is boxes else "Put"
    for name in partition.tables:
        row = here.rows.rows(name)[key]
        here.rows.kept[0, name].rows[key] = encoded(what="nonsense", position=row["position"])
    assert await folded_anew(partition, projection.name, key)
    assert not await folded_anew(partition, projection.name, "nobody")
    await fill(here, 2)
    await current(here, partition)
    assert all(here.expected(projection) == here.rows.rows(name) for name in partition.tables)


async def test_a_row_of_a_table_that_stands_still(here: Boxes) -> None:
    """It is folded up to where its table stands, and the table still stands."""
    partition = await opened(here)
    await fill(here, 3)
    await current(here, partition)
    await partition.follow([here.wanted(paused=True), here.wanted(by_type)])
    await fill(here, 3)
    assert await folded_anew(partition, "boxes", "1")
    await current(here, partition, "by-type-1")
    assert ("box-0:3:0", 3) == (here.rows.rows("boxes-1")["1"]["position"], partition.tables["boxes-1"].place.nr)


class Obedient(MemoryRows):
    """As a local store does, it keeps whatever it is told, and others come in between."""

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, Row]:
        await asyncio.sleep(0)
        return await super().load(partition, table, keys)

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        await asyncio.sleep(0)
        for table, change in changes.items():
            for key in change.rows:
                self.kept[partition, table].rows.pop(key, None)
        await super().save(partition, changes)


async def test_rows_are_folded_anew_while_a_table_catches_up(here: Boxes) -> None:
    """Several at once, too: none is older than its table afterwards."""
    here.rows = Obedient()
    partition = await opened(here, here.wanted(by_type))
    for number in range(40):
        await here.write((f"{number % 4}", put(f"{number}")))
    await current(here, partition)
    await partition.follow([here.wanted(by_type), here.wanted()])
    await asyncio.gather(*(folded_anew(partition, "boxes", f"{number % 4}") for number in range(12)))
    await fill(here, 5, "0")
    await current(here, partition)
    assert here.expected() == here.rows.rows("boxes-1")


@pytest.mark.parametrize("turns", range(8))
async def test_a_partition_is_closed_while_a_row_is_folded_anew(here: Boxes, turns: int) -> None:
    """Nothing begins again by that."""
    here.rows = Obedient()
    partition = await opened(here, here.wanted(by_type))
    await fill(here, 20)
    await current(here, partition)
    await partition.follow([here.wanted(by_type), here.wanted()])
    folding = asyncio.create_task(folded_anew(partition, "boxes", "1"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await partition.close()
    saved = len(here.rows.saves)
    await asyncio.gather(folding, return_exceptions=True)
    await asyncio.sleep(0.02)
    assert (saved, 0) == (len(here.rows.saves), here.topic.readings)


async def test_a_row_that_cannot_be_folded_anew_now(here: Boxes) -> None:
    """Whoever asks is told, and the tables go on."""
    partition = await opened(here)
    await fill(here, 3)
    await current(here, partition)
    here.rows.down = True
    with pytest.raises(Unavailable):
        await folded_anew(partition, "boxes", "1")
    here.rows.down = False
    await fill(here, 3)
    await current(here, partition)
    assert here.expected() == here.rows.rows("boxes-1")


# -- all together --------------------------------------------------------------------------------------

ACTS = ["write", "write", "write", "new", "pause", "resume", "drop", "down", "up", "restart", "turn", "key"]
STEPS = st.lists(st.sampled_from(ACTS), max_size=25)


class Jittery(MemoryRows):
    """A store that answers after as many turns of the loop as it is told."""

    turns: Any

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        for _ in range(next(self.turns)):
            await asyncio.sleep(0)
        await super().save(partition, changes)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(st.integers(0, 6), min_size=1, max_size=5), st.sampled_from([0, 2, 1_000]))
async def test_no_table_misses_or_doubles_an_event(steps: list[str], turns: list[int], near: int) -> None:
    """Whatever is ordered, and whenever: in the end each table that is kept is a fold of the log, and one that is said
    to be current had all that the others had."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processor_module, "FIRST_PAUSE", 0.001)
        patched.setattr(processor_module, "LONGEST_PAUSE", 0.005)
        patched.setattr(partition_module, "NEAR", near)
        here = Boxes()
        rounds = 0

        def turn() -> int:
            nonlocal rounds
            rounds += 1
            return turns[rounds % len(turns)]

        stores = [Jittery(), Jittery()]
        for store in stores:
            store.turns = iter(turn, None)
        tables: dict[str, tuple[Projection, MemoryRows, bool]] = {
            "boxes-1": (boxes, stores[0], False),
            "by-type-1": (by_type, stores[1], False),
        }

        def wanted() -> list[Any]:
            return [here.wanted(its, name, rows, paused=paused) for name, (its, rows, paused) in tables.items()]

        partition = await opened(here, *wanted())
        for number, step in enumerate(steps):
            match step:
                case "write":
                    for box in "12":
                        await here.write((box, put(f"{number}")), ("3", put(f"{number}")))
                case "new":
                    tables[f"boxes-1.{number}"] = (boxes, stores[number % 2], False)
                case "pause" | "resume":
                    name = list(tables)[number % len(tables)]
                    tables[name] = (*tables[name][:2], step == "pause")
                case "drop" if len(tables) > 1:
                    tables.pop(list(tables)[number % len(tables)])
                case "down" | "up":
                    stores[number % 2].down = step == "down"
                case "restart":
                    await partition.close()
                    partition = await opened(here, *wanted())
                case "turn":
                    for _ in range(number % 4):
                        await asyncio.sleep(0)
                case "key":
                    asyncio.get_running_loop().call_soon(lambda: None)
                    await asyncio.gather(folded_anew(partition, "boxes", "3"), return_exceptions=True)
            await partition.follow(wanted())
            for name, (projection, rows, _) in tables.items():
                if partition.is_current(name) and not rows.down:
                    at = partition._main.at
                    assert partition.tables[name].place.at >= at, f"{name} of {projection.name}"
        for store in stores:
            store.down = False
        for name, (projection, rows, _) in tables.items():
            tables[name] = (projection, rows, False)
        await partition.follow(wanted())
        await here.write(("1", put("last")))
        await current(here, partition)
        for name, (projection, rows, _) in tables.items():
            assert here.expected(projection) == rows.rows(name)
        await here.close()
        assert 0 == here.topic.readings


async def test_places_of_a_new_table(here: Boxes) -> None:
    """A table that nobody has kept yet begins before the first event."""
    partition = await opened(here)
    assert Checkpoint() == partition.tables["boxes-1"].place


# -- a log that is not the one of the topic ---------------------------------------------------------------


async def test_a_log_that_is_older_than_the_tables(here: Boxes) -> None:
    """Yesterday's copy of the journal: the tables say so and stand still, and no position counts as reached, until the
    journal is the right one again."""
    former = await opened(here)
    await fill(here, 5)
    await current(here, former)
    await former.close()
    lost = here.log[2:]
    del here.log[2:]
    partition = await opened(here)
    await until(lambda: partition.held("boxes-1"))
    assert "box-0: its events are published up to 5:0, and the journal ends at commit 2" in partition.held("boxes-1")
    assert not partition.knows_log
    here.log[2:] = lost
    await fill(here, 1)
    await current(here, partition)
    assert partition.knows_log
    assert here.expected() == here.rows.rows("boxes-1")


async def test_a_log_that_is_empty_beside_a_full_topic(here: Boxes) -> None:
    """A table that is new applies nothing of a topic whose log is not there."""
    await fill(here, 3)
    here.log.clear()
    partition = await opened(here)
    await until(lambda: partition.held("boxes-1"))
    assert "the journal has nothing of it" in partition.held("boxes-1")
    assert {} == here.rows.rows("boxes-1")


async def test_a_journal_that_does_not_answer_holds_no_table(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published goes on into the tables while nobody can say where the log ends."""
    monkeypatch.setattr(event_source, "LOOK_SECONDS", 0.01)
    await fill(here, 3)
    expected = here.expected()

    async def never(log: str, after: int) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(here.journal, "head", never)
    partition = await opened(here)
    await current(here, partition)
    assert expected == here.rows.rows("boxes-1")
    assert partition.knows_log


async def test_a_topic_that_ends_with_a_transaction(here: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its marker has an offset and is no record: nobody waits for one."""
    monkeypatch.setattr(event_source, "LOOK_SECONDS", 0.01)
    await fill(here, 3)
    at = Reading.at

    async def never(reading: Reading, offset: int) -> Any:
        return await at(reading, offset) if offset < 3 else await asyncio.Event().wait()

    monkeypatch.setattr(Reading, "at", never)
    monkeypatch.setattr(Reading, "end", lambda reading: asyncio.sleep(0, 4))
    partition = await opened(here)
    await until(lambda: partition.tables["boxes-1"].place.at == here.head)
    assert partition.knows_log

"""One row folded anew from the log: by a projection that was mended, or without events that are to be skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from projections.applying.partition_processor import PartitionProcessor
from projections.applying.refolding import fold_key, fold_waiting
from projections.projection import Projection, PublishedEvent, Row
from tests.flat_rows import GONE, encoded
from tests.unit.boxes import STREAM, Boxes, Put, contents, put
from tests.unit.until import until


class Fragile:
    """A store of boxes in memory, and projections that raise when one of these things is put."""

    def __init__(self, *bad: str) -> None:
        self.here = Boxes()
        self.bad = set(bad)
        self.boxes = Projection("boxes", 1, "box", self._contents)
        self.by_thing = Projection("by-thing", 1, "box", self._where, self._things, local=True)

    def _check(self, published: PublishedEvent) -> None:
        if isinstance(published.event, Put) and published.event.what in self.bad:
            raise ValueError(f"cannot take {published.event.what}")

    def _contents(self, row: Row | None, key: str, published: PublishedEvent) -> Row | None:
        self._check(published)
        return contents(row, key, published)

    def _things(self, published: PublishedEvent) -> list[str]:
        return [published.event.what] if isinstance(published.event, Put) else []

    def _where(self, row: Row | None, key: str, published: PublishedEvent) -> Row:
        self._check(published)
        return {"in": [*(row["in"] if row else []), published.aggregate_id]}

    async def opened(self, skips: Mapping[str, str] | None = None) -> PartitionProcessor:
        """A worker that has applied all that is there."""
        partition = self.here.partition()
        await partition.open([self.here.wanted(self.boxes, skips=skips or {}), self.here.wanted(self.by_thing)])
        await until(lambda: all(partition.is_current(table) for table in partition.tables))
        return partition

    async def skip(self, partition: PartitionProcessor, *positions: str) -> None:
        skips = dict.fromkeys(positions, "why")
        await partition.follow([self.here.wanted(self.boxes, skips=skips), self.here.wanted(self.by_thing)])

    async def put(self, box: str, *things: str) -> list[str]:
        """One commit; the positions of its events."""
        commit = await self.here.write(*((box, put(thing)) for thing in things))
        return [f"{STREAM}:{commit.nr}:{index}" for index in range(len(things))]

    def contents(self, box: str) -> list[str]:
        row = self.here.rows.rows("boxes-1").get(box, {"in": []})
        return list(row["in"])


def waiting(partition: PartitionProcessor, table: str = "boxes-1") -> dict[str, tuple[str, int]]:
    """Where each key in quarantine waits, and how many events."""
    return {key: (its.position, its.events) for key, its in partition.tables[table].quarantined.items()}


@pytest.fixture
async def fragile() -> AsyncIterator[Fragile]:
    fragile = Fragile("bad", "worse")
    yield fragile
    await fragile.here.close()


async def test_what_waits_still_is_told(fragile: Fragile) -> None:
    """A projection that is not mended raises as before, and nothing has changed but that somebody has tried."""
    await fragile.put("1", "a")
    first, _ = await fragile.put("1", "bad", "b")
    partition = await fragile.opened()
    [row] = await fold_key(partition, "boxes", "1")
    assert row.waits is not None
    assert (first, "ValueError: cannot take bad", 2) == (row.waits.position, row.waits.error, row.waits.events)
    assert ({"1": (first, 2)}, ["a"]) == (waiting(partition), fragile.contents("1"))


async def test_the_next_event_that_raises(fragile: Fragile) -> None:
    """Behind an event that is skipped the key waits at the next one that raises; what lies between is applied. It goes
    on when that is skipped, too, and whoever takes over knows all of this."""
    await fragile.put("1", "a")
    first, _, second, _ = await fragile.put("1", "bad", "b", "worse", "c")
    partition = await fragile.opened()
    assert {"1": (first, 4)} == waiting(partition)
    await fragile.skip(partition, first)
    [row] = await fold_waiting(partition, "boxes", first)
    assert row.waits is not None
    assert ({"1": (second, 2)}, ["a", "b"]) == (waiting(partition), fragile.contents("1"))
    await fragile.put("1", "d")
    await until(lambda: waiting(partition) == {"1": (second, 3)})
    await partition.close()
    partition = await fragile.opened({first: "why"})
    assert {"1": (second, 3)} == waiting(partition)
    await fragile.skip(partition, first, second)
    assert [] == await fold_waiting(partition, "boxes", first)
    [row] = await fold_waiting(partition, "boxes", second)
    assert (None, {}, ["a", "b", "c", "d"]) == (row.waits, waiting(partition), fragile.contents("1"))


async def test_a_good_row_is_not_given_up(fragile: Fragile) -> None:
    """When the code of today raises on what that of yesterday could fold, the row stays as it is, and does not wait."""
    await fragile.put("1", "a", "good")
    partition = await fragile.opened()
    fragile.bad.add("good")
    [row] = await fold_key(partition, "boxes", "1")
    assert row.waits is not None
    assert ({}, ["a", "good"]) == (waiting(partition), fragile.contents("1"))


async def test_code_that_raises_earlier_than_before(fragile: Fragile) -> None:
    """A row that waits is not taken back behind where it was: it waits there still."""
    await fragile.put("1", "a", "good")
    [position] = await fragile.put("1", "bad")
    partition = await fragile.opened()
    fragile.bad.add("good")
    await fold_key(partition, "boxes", "1")
    assert ({"1": (position, 1)}, ["a", "good"]) == (waiting(partition), fragile.contents("1"))


async def test_rows_over_many_aggregates(fragile: Fragile) -> None:
    """They are folded from the whole log of the partition; one that no event touches any more is removed."""
    for box in ("1", "2"):
        await fragile.put(box, "a", "bad")
    partition = await fragile.opened()
    assert 2 == partition.tables["by-thing-1"].quarantined["bad"].events
    fragile.bad.clear()
    await fold_key(partition, "by-thing", "bad")
    rows = fragile.here.rows.rows("by-thing-1")
    assert (["1", "2"], {}) == (rows["bad"]["in"], waiting(partition, "by-thing-1"))
    fragile.here.rows.kept[0, "by-thing-1"].rows["old"] = encoded(**{"in": ["1"], "position": "box-0:1:0"})
    [row] = await fold_key(partition, "by-thing", "old")
    assert {GONE: True, "position": row.position, "revision": 1} == fragile.here.rows.rows("by-thing-1")["old"]
    assert [] == await fold_key(partition, "by-thing", "none")


async def test_a_row_of_which_no_json_can_be_made(fragile: Fragile) -> None:
    """Whatever keeps it from being encoded is why it waits still, not an error of the one who asks."""
    await fragile.put("1", "a", "b")
    partition = await fragile.opened()

    def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
        if row is None:
            return {"in": []}
        row["in"].append(object())  # which it must not do, so nobody looks at what has not changed
        return row

    partition.tables["boxes-1"].projection = replace(fragile.boxes, evolve=evolve)
    [row] = await fold_key(partition, "boxes", "1")
    assert row.waits is not None
    assert "TypeError" in row.waits.error
    assert ["a", "b"] == fragile.contents("1")


async def test_an_aggregate_with_many_events_comes_in_pieces(fragile: Fragile) -> None:
    """They are not all in memory at once, and all are in the row."""
    for number in range(30):
        await fragile.put("1", *(f"{number}-{n}" for n in range(50)))
    partition = await fragile.opened()
    journal, sizes = fragile.here.journal, []
    found = type(journal).events

    async def events(*args: Any) -> Any:
        rows = await found(journal, *args)
        sizes.append(len(rows))
        return rows

    journal.events = events  # type: ignore[method-assign]
    fragile.here.rows.kept[0, "boxes-1"].rows.clear()
    await fold_key(partition, "boxes", "1")
    assert 1_500 == len(fragile.contents("1"))
    assert max(sizes) <= 1_000


async def test_events_go_on_while_a_row_is_folded(fragile: Fragile) -> None:
    """The row has what came in the meantime, once."""
    partition = await fragile.opened()

    async def write() -> None:
        for number in range(60):
            await fragile.put("1", f"{number}")
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    while not writing.done():
        await fold_key(partition, "boxes", "1")
        await asyncio.sleep(0)
    await until(lambda: len(fragile.contents("1")) == 60)
    assert [f"{number}" for number in range(60)] == fragile.contents("1")

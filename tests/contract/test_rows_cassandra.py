"""What only Cassandra can do to a read model, which has no transactions there: stop anywhere between two requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from projections.stores.listings import SharedRows
from projections.stores.rows import Changes, Checkpoint, Quarantined
from projections.stores.shared.cassandra import CassandraRows
from projections.stores.shared.cassandra_tables import BUCKETS, REVISION_BITS
from streams.journal.port import JournalMissing, Unavailable
from tests.contract.read_models import (
    BY_STATUS,
    BY_USER,
    ReadModels,
    changes,
    gone,
    having,
    new_table,
    row,
    save,
    two_workers,
    with_before,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDS = "abcdef"
MOST_REQUESTS = 40


class Line:
    """The line from a worker to the servers. It counts the requests, and at one of them stops the worker or breaks."""

    def __init__(self, rows: SharedRows, monkeypatch: pytest.MonkeyPatch) -> None:
        assert isinstance(rows, CassandraRows)
        self._execute: Any = rows._session.execute
        self.requests = 0
        self.breaks_at = self.stops_at = 0
        self.loses_the_answer = False
        self.stopped, self.go_on = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(rows._session, "execute", self.execute)

    async def execute(self, statement: Any, parameters: Sequence[Any] | None = None) -> Any:
        self.requests += 1
        if self.requests == self.stops_at:
            self.stopped.set()
            await self.go_on.wait()
        if 0 < self.breaks_at <= self.requests:
            if self.loses_the_answer and self.requests == self.breaks_at:
                await self._execute(statement, parameters)
            raise Unavailable("the line is broken")
        return await self._execute(statement, parameters)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def models(cassandra_url: str) -> AsyncIterator[ReadModels]:
    """Two workers on one keyspace."""
    async with two_workers(cassandra_url, lambda table: (BY_STATUS, BY_USER)) as found:
        yield found


@pytest.fixture
def table() -> str:
    """A table that no other test uses."""
    return new_table()


def opened(nr: int) -> Changes:
    """Orders that are open; `a` and `b` are listed by user as well."""
    users = {"a": {"user": "u", "day": "1"}, "b": {"user": "u", "day": "2"}}
    return changes(**{id: row(nr, n, id=id, status="open", at=id, **users.get(id, {})) for n, id in enumerate(IDS)})


def placed(nr: int) -> Changes:
    """The same orders: most have moved, one has moved within its group, one is removed, one is as it was."""
    rows = dict(opened(nr).rows)
    for id in "abc":
        rows[id] = having(rows[id], status="placed")
    rows["d"] = having(rows["d"], at="0")
    return changes(**{**rows, "e": gone(nr, 9)})


def held(nr: int) -> Changes:
    """The same orders: all have moved to where they are not in the end."""
    return changes(**{id: having(it, status="held") for id, it in opened(nr).rows.items()})


async def shown(rows: SharedRows, table: str) -> dict[str, str]:
    """The ids that each group shows."""
    groups = (("by-status", "open"), ("by-status", "placed"), ("by-status", "held"), ("by-user", "u"))
    pages = [await rows.listed(table, *group) for group in groups]
    return {group: "".join(it["id"] for it in page.rows) for (_, group), page in zip(groups, pages, strict=True)}


async def execute(rows: SharedRows, cql: str) -> Any:
    """What an operator would type."""
    assert isinstance(rows, CassandraRows)
    return await rows._session.execute(cql.format(k=rows._keyspace))


async def entries(rows: SharedRows, table: str) -> int:
    """How many entries there are, shown or not."""
    [[count]] = await execute(rows, f"SELECT count(*) FROM {{k}}.listings WHERE tbl = '{table}' ALLOW FILTERING")
    return int(count)


AFTERWARDS = {"open": "df", "placed": "abc", "held": "", "u": "ab"}


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_save_that_is_cut_off_anywhere_is_done_again(
    lost: str, models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever request of a save the worker dies at: meanwhile each order is shown in its old place or its new one,
    the place of the table stays behind, and the next owner's repeat leaves what belongs there and nothing else."""
    for breaks_at in range(1, MOST_REQUESTS):
        table = new_table()
        await save(models.two, 3, {table: opened(1)})
        change = await with_before(models.one, 3, table, placed(2))
        with monkeypatch.context() as patch:
            line = Line(models.one, patch)
            line.breaks_at, line.loses_the_answer = breaks_at, lost == "answer"
            try:
                await models.one.save(3, {table: change})
                break
            except Unavailable:
                pass
        for id in "abc":
            by_status = await shown(models.two, table)
            assert id in by_status["open"] + by_status["placed"]
        assert "ab" == (await shown(models.two, table))["u"]
        known = (await models.two.places(3))[table]
        rows = await models.two.load(3, table, IDS)
        assert known == opened(1).place or (known == placed(2).place and rows == placed(2).rows)
        await save(models.two, 3, {table: placed(2)})
        assert AFTERWARDS == await shown(models.two, table)
        assert 7 == await entries(models.two, table)
        assert placed(2).rows == await models.two.load(3, table, IDS)
        assert placed(2).place == (await models.two.places(3))[table]
    assert 6 < breaks_at < MOST_REQUESTS - 1


async def test_a_worker_that_wakes_in_the_middle_of_a_save_changes_nothing(
    models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was stopped: its successor has gone on in other batches, and what the late one still writes of rows,
    listings and places is not seen."""
    for stops_at in range(1, MOST_REQUESTS):
        table = new_table()
        await save(models.two, 3, {table: opened(1)})
        change = await with_before(models.one, 3, table, held(2))
        with monkeypatch.context() as patch:
            line = Line(models.one, patch)
            line.stops_at = stops_at
            late = asyncio.create_task(models.one.save(3, {table: change}))
            stopped = asyncio.create_task(line.stopped.wait())
            await asyncio.wait([late, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if late.done():
                await late
                break
            await save(models.two, 3, {table: placed(3)})
            assert AFTERWARDS == await shown(models.two, table)
            line.go_on.set()
            await late
        assert AFTERWARDS == await shown(models.two, table)
        assert placed(3).rows == await models.two.load(3, table, IDS)
        assert placed(3).place == (await models.two.places(3))[table]
    assert 6 < stops_at < MOST_REQUESTS - 1


async def test_a_replay_leaves_no_entries_behind(models: ReadModels, table: str) -> None:
    """What is older than the row is not listed at all: whoever reads a group need not pass over it."""
    for batch in (opened(1), placed(3), opened(1), held(2), placed(3)):
        await save(models.one, 3, {table: batch})
    assert 7 == await entries(models.two, table)


async def test_a_drop_that_is_cut_off_anywhere_is_done_again(
    models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is done the table is named, at its old place with all its rows or at its beginning. Built on from
    there it comes out right, and dropped again nothing is left."""
    steps = range(1, 2 + 2 * BUCKETS + len(IDS), 4)
    for breaks_at in steps:
        table = new_table()
        await save(models.two, 3, {table: placed(2)})
        with monkeypatch.context() as patch:
            line = Line(models.one, patch)
            line.breaks_at, line.loses_the_answer = breaks_at, True
            with pytest.raises(Unavailable, match=r"broken"):
                await models.one.drop(3, table)
        known = (await models.two.places(3)).get(table)
        if known is None:  # it was done
            assert {} == await models.two.load(3, table, IDS)
        if known != placed(2).place:
            assert known in (None, Checkpoint())
            for batch in (opened(1), placed(2)):
                await save(models.two, 3, {table: batch})
        assert placed(2).rows == await models.two.load(3, table, IDS)
        assert AFTERWARDS == await shown(models.two, table)
        await models.two.drop(3, table)
        assert {} == await models.two.load(3, table, IDS)
        assert 0 == await entries(models.two, table)
        assert table not in await models.two.places(3)


async def test_a_late_writer_does_not_fill_what_was_dropped(
    models: ReadModels, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped in the middle of a save: its rows and its place are older than the drop, and stay away."""
    await save(models.two, 3, {table: opened(1)})
    change = await with_before(models.one, 3, table, placed(500))
    line = Line(models.one, monkeypatch)
    line.stops_at = 2  # it has read from where timestamps begin
    late = asyncio.create_task(models.one.save(3, {table: change}))
    await line.stopped.wait()
    await models.two.drop(3, table)
    line.go_on.set()
    await late
    assert table not in await models.two.places(3)
    assert {} == await models.two.load(3, table, IDS)
    assert {"open": "", "placed": "", "held": ""}.items() <= (await shown(models.two, table)).items()


async def test_timestamps_are_positions(models: ReadModels, table: str) -> None:
    """Of rows, entries and places, so that whoever looks can tell; an index that does not fit is refused."""
    await save(models.one, 3, {table: opened(7)})
    expected = {((7 << 20) + n + 1) << 4 for n in range(len(IDS))}
    for kept in ("rows", "listings"):
        found = await execute(models.one, "SELECT tbl, WRITETIME(row) FROM {k}." + kept)
        assert expected == {at for name, at in found if name == table}
    found = await execute(models.one, "SELECT tbl, WRITETIME(nr) FROM {k}.places WHERE partition = 3")
    assert ((7 << 20) + len(IDS)) << 4 == dict(found)[table]
    with pytest.raises(ValueError, match=r"no timestamp for so many"):
        await save(models.one, 3, {table: changes(a=row(8, (1 << 20) - 1))})


async def test_what_is_folded_anew_too_often_at_one_position(models: ReadModels, table: str) -> None:
    """A row is refused rather than lost, and the one that is there stays; a quarantine goes on to hold."""
    for n in range(1 << REVISION_BITS):
        await save(models.one, 3, {table: changes(a=row(5, 0, n, n=n))})
        assert {"n": n, "position": "order-3:5:0"} == await models.two.row(3, table, "a")
    with pytest.raises(ValueError, match=r"build the table anew"):
        await save(models.one, 3, {table: changes(a=row(5, 0, 1 << REVISION_BITS, n=-1))})
    assert {"n": n, "position": "order-3:5:0"} == await models.two.row(3, table, "a")
    await save(models.one, 3, {table: changes(a=row(6, n=-1))})
    assert {"n": -1, "position": "order-3:6:0"} == await models.two.row(3, table, "a")
    for n in range(1 << REVISION_BITS):
        it = Quarantined("order-3:1:0", f"error {n}", 1, "order-3:2:0")
        await save(models.one, 3, {table: Changes(Checkpoint(6), {}, {"a": it})})
        assert (await models.two.quarantined(3, table))["a"].error.startswith("error")
    await save(models.one, 3, {table: Changes(Checkpoint(6), {}, {"a": Quarantined("order-3:2:0", "", 0)})})
    assert {} == await models.two.quarantined(3, table)


async def test_many_keys_in_quarantine(models: ReadModels, table: str) -> None:
    """More than one answer holds."""
    many = {f"{n}": Quarantined(f"order-3:1:{n}", "KeyError: 'x'", 1) for n in range(2100)}
    await save(models.one, 3, {table: Changes(Checkpoint(1, 3000), {}, many)})
    assert many == await models.two.quarantined(3, table)


async def test_a_keyspace_that_is_gone_is_missing(cassandra_url: str) -> None:
    """Not before `create`, nor after somebody has dropped it: the message says what makes it."""
    async with two_workers(cassandra_url) as models:
        await save(models.one, 3, {"orders-1": changes(a=row(1))})
        await execute(models.two, "DROP KEYSPACE {k}")
        with pytest.raises(JournalMissing, match=r"faust -A <app> setup"):
            await models.one.load(3, "orders-1", ["a"])
        with pytest.raises(JournalMissing, match=r"^keyspace t\w+ is missing or incomplete: .*setup"):
            await models.two.open()

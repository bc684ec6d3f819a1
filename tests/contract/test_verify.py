"""`journal verify`: each kind of damage is found where it is, and what is derived is made right again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streams.journal.port import Journal, Published, RecordedEvent, Snapshot, StoredEvent
from tests.contract.orders import LAYOUT, LINE, LOGS, OPEN, Orders, next_commit

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def row_of(orders: Orders, log: int, sequence: int) -> StoredEvent:
    """A row of the first order of a log."""
    rows = await orders.journal.events(orders.type, orders.key(log))
    return next(row for row in rows if row.event.sequence == sequence and row.event.is_event)


async def derive(orders: Orders, log: int, row: StoredEvent, **changes: Any) -> None:
    """Write the derived row as it is not in the log."""
    fillers = [RecordedEvent("filler", 1, "LineAdded", b"", "")] * row.index
    commit = (await orders.journal.commits(orders.name(log), 0, 1))[0]
    event = replace(row.event, **changes)
    await orders.journal.derive([replace(commit, nr=row.nr, recorded_at=row.recorded_at, events=(*fillers, event))])
    await orders.journal.remove_events(orders.type, await orders.journal.events(orders.type, "filler"))


async def test_a_healthy_journal(orders: Orders) -> None:
    """Nothing disagrees, and everything was looked at."""
    verification = orders.verification()
    assert [] == [found async for found in verification.run()]
    counts = verification.counts
    commits = [commit for log in range(LOGS) for commit in await orders.log(log)]
    assert (len(commits), 3 * LOGS * 8, 3 * LOGS) == (counts.commits, counts.events, counts.aggregates)
    assert 3 * LOGS == counts.snapshots


async def test_an_empty_journal(journal: Journal) -> None:
    """There is nothing that could disagree."""
    assert [] == await Orders(journal).verify()


async def test_a_row_is_missing(orders: Orders) -> None:
    """Found at its place in the log, derived again."""
    row = await row_of(orders, 1, 3)
    await orders.journal.remove_events(orders.type, [row])
    [found] = await orders.verify()
    assert (orders.place(row), f"{orders.key(1)}: row 3 is missing") == (found.where, found.what)
    assert [] == await orders.repaired([found])
    assert row == await row_of(orders, 1, 3)


async def test_all_derived_rows_are_missing(orders: Orders) -> None:
    """Even with no row left, all of them come back, and the snapshots were right all the time."""
    before = {}
    for log in range(LOGS):
        for number in range(3):
            key = orders.key(log, number)
            before[key] = list(await orders.journal.events(orders.type, key))
            await orders.journal.remove_events(orders.type, before[key])
    found = await orders.verify()
    assert sum(map(len, before.values())) == len(found)
    assert [] == await orders.repaired(found)
    assert before == {key: list(await orders.journal.events(orders.type, key)) for key in before}


@pytest.mark.parametrize(
    "changes",
    [{"data": b"other"}, {"type": "LineRemoved"}, {"command_id": "x"}, {"correlation_id": "x"}, {"traceparent": "x"}],
)
async def test_a_row_is_changed(orders: Orders, changes: dict[str, Any]) -> None:
    """Whatever column it is, filled where the log has nothing included."""
    row = await row_of(orders, 0, 2)
    await derive(orders, 0, row, **changes)
    [found] = await orders.verify()
    assert (orders.place(row), f"{orders.key(0)}: row 2 is not what the log has") == (found.where, found.what)
    assert [] == await orders.repaired([found])
    assert row == await row_of(orders, 0, 2)


@pytest.mark.parametrize("beyond", [False, True])
async def test_a_row_too_many(orders: Orders, beyond: bool) -> None:
    """In a commit that does not have it, or of a commit that the log does not have: removed, the others stay."""
    row = await row_of(orders, 0, 2)
    head = await orders.journal.head(orders.name(0))
    assert head is not None
    extra = replace(row, nr=head.nr + 7) if beyond else replace(row, nr=2, index=99)
    await derive(orders, 0, extra, sequence=9)
    [found] = await orders.verify()
    assert (orders.place(extra), f"{orders.key(0)}: row 9 is not in the log") == (found.where, found.what)
    assert [] == await orders.repaired([found])
    assert 9 == len(await orders.journal.events(orders.type, orders.key(0)))


async def test_an_aggregate_too_many(orders: Orders) -> None:
    """One that the log never heard of, with a row and a snapshot: both go."""
    row = await row_of(orders, 1, 1)
    stranger = orders.key(1, 50)
    await derive(orders, 1, row, aggregate_id=stranger)
    await orders.journal.save_snapshots(orders.type, [Snapshot(stranger, 1, row.nr, 1, b"{}")])
    found = await orders.verify()
    assert {orders.place(row), f"{orders.type} {stranger}"} == {it.where for it in found}
    assert [] == await orders.repaired(found)
    assert [] == list(await orders.journal.events(orders.type, stranger))
    assert await orders.journal.snapshot(orders.type, stranger) is None


def other_state(snapshot: Snapshot) -> Snapshot:
    held = msgspec.json.decode(snapshot.state)
    held["state"]["user_id"] = "somebody else"
    return replace(snapshot, state=msgspec.json.encode(held))


def other_ids(snapshot: Snapshot) -> Snapshot:
    held = msgspec.json.decode(snapshot.state)
    held["outcomes"]["never-sent"] = held["outcomes"].popitem()[1]
    return replace(snapshot, state=msgspec.json.encode(held))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (other_state, "has another state than the log gives"),
        (other_ids, "remembers other commands than the log has"),
        (lambda it: replace(it, sequence=it.sequence + 1), "has sequence"),
        (lambda it: replace(it, nr=it.nr + 1_000), "has sequence"),
        (lambda it: replace(it, state=b"{"), "cannot be read"),
    ],
)
async def test_a_snapshot_is_wrong(orders: Orders, damage: Callable[[Snapshot], Snapshot], what: str) -> None:
    """Found, and removed; the others stay."""
    key = orders.key(1, 2)
    snapshot = await orders.journal.snapshot(orders.type, key)
    assert snapshot is not None
    await orders.journal.save_snapshots(orders.type, [damage(snapshot)])
    [found] = await orders.verify()
    assert f"{orders.type} {key}" == found.where
    assert what in found.what
    assert [] == await orders.repaired([found])
    assert await orders.journal.snapshot(orders.type, key) is None
    assert await orders.journal.snapshot(orders.type, orders.key(1, 1)) is not None


async def test_a_snapshot_is_right_though_rows_are_missing(orders: Orders) -> None:
    """A snapshot is held against the log, not against rows that may be wrong themselves."""
    row = await row_of(orders, 0, 1)
    await orders.journal.remove_events(orders.type, [row])
    assert [orders.place(row)] == [found.where for found in await orders.verify()]


async def test_events_that_cannot_be_folded(orders: Orders) -> None:
    """A domain that raises over its own events is reported, aggregate by aggregate, and does not end the search."""

    def evolve(state: object, event: object) -> object:
        raise ZeroDivisionError(type(event).__name__)

    orders.decider = dataclasses.replace(orders.decider, evolve=evolve)
    found = await orders.verify()
    assert 3 * LOGS == len(found)
    assert all(it.what.startswith("its events cannot be folded") and it.repair is None for it in found)


async def test_a_snapshot_of_another_version(orders: Orders) -> None:
    """It is counted, not held against states that it does not mean."""
    key = orders.key(0)
    await orders.journal.save_snapshots(orders.type, [Snapshot(key, 1, 1, 0, b"old")])
    verification = orders.verification()
    assert [] == [found async for found in verification.run()]
    assert 1 == verification.counts.older_snapshots
    orders.decider = dataclasses.replace(orders.decider, state_version=2)
    verification = orders.verification()
    assert [] == [found async for found in verification.run()]
    assert (0, 3 * LOGS) == (verification.counts.snapshots, verification.counts.older_snapshots)


async def test_published_ahead_of_the_log(orders: Orders) -> None:
    """Set back to the end of the log, or new events would not be published."""
    head = await orders.journal.head(orders.name(1))
    assert head is not None
    await orders.journal.save_published(orders.name(1), Published(head.nr + 1, 0))
    [found] = await orders.verify()
    assert orders.name(1) == found.where
    assert [] == await orders.repaired([found])
    assert Published(head.nr, -1) == await orders.journal.published(orders.name(1))


async def test_one_partition_alone(orders: Orders) -> None:
    """What is wrong elsewhere, in its own log or another, is not looked for."""
    await orders.journal.remove_events(orders.type, [await row_of(orders, 1, 3)])
    for slice in range(LAYOUT.slices):
        assert (slice == 1) == len(await orders.verify(only=slice))


async def test_repair_looks_once_more(orders: Orders) -> None:
    """What the log has by the time of the repair is not removed, and repairing twice is allowed."""
    row = await row_of(orders, 0, 2)
    head = await orders.journal.head(orders.name(0))
    assert head is not None
    ahead = StoredEvent(replace(row.event, sequence=9, command_id="later"), head.nr + 1, 0, row.recorded_at)
    await derive(orders, 0, ahead)
    [found] = await orders.verify()
    assert found.repair is not None
    await orders.journal.append(next_commit(head, ahead.event, recorded_at=row.recorded_at))
    assert "rows removed: 0" in await found.repair()
    assert [] == await orders.verify()


async def test_while_a_writer_is_active(orders: Orders) -> None:
    """Verified again and again under load, takeovers included: never a false alarm; what is damaged is found still."""
    stop = asyncio.Event()

    async def write(log: int) -> None:
        number = 0
        while not stop.is_set():
            owner = await orders.owner(log, f"w{number}")
            for _ in range(40):
                number += 1
                key = orders.key(log, number % 20)
                await orders.send(
                    owner, key, "OpenOrder" if number <= 20 else "AddLine", OPEN if number <= 20 else LINE
                )
            await orders.send(owner, key, "OpenOrder", OPEN)
            await orders.settled(owner)
            await owner.close()

    writers = [asyncio.create_task(write(log)) for log in range(LOGS)]
    try:
        before = len(await orders.log(0))
        for _ in range(8):
            assert [] == await orders.verify()
        assert len(await orders.log(0)) > before, "nothing was written meanwhile: this proves nothing"
        row = await row_of(orders, 1, 3)
        await orders.journal.remove_events(orders.type, [row])
        found = await orders.verify()
        assert [orders.place(row)] == [it.where for it in found]
        assert [] == await orders.repaired(found)
    finally:
        stop.set()
        await asyncio.gather(*writers)

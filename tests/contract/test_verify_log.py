"""`journal verify`, continued: damage to the log itself, which is found where it is, and which nothing repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from streams.journal.cassandra.tables import COMMITS_PER_BUCKET
from streams.journal.port import Commit, RecordedEvent
from streams.ownership.takeover import take_over
from tests.command_log import Topic
from tests.contract.conftest import Journals
from tests.contract.orders import EVENTS, LAYOUT, WINDOW, Orders, next_commit
from tests.contract.test_cassandra import execute, keyspace

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENCODED = b"\xc3\x01" + bytes.fromhex(next(iter(EVENTS.schemas))) + b"data"


def line(orders: Orders, **changes: Any) -> RecordedEvent:
    """The ninth event of the first order."""
    event = RecordedEvent(orders.key(0), 9, "LineAdded", ENCODED, "ninth", "ninth")
    return replace(event, **changes)


def said(commit: Commit, **changes: Any) -> Commit:
    """The commit with another head of its first slice."""
    first = min(commit.slices)
    return replace(commit, slices={**commit.slices, first: replace(commit.slices[first], **changes)})


LOG_DAMAGE: list[tuple[str, Callable[[Orders, Commit], Commit], str]] = [
    ("epoch falls", lambda o, head: next_commit(head, epoch=head.epoch - 1), "has epoch 2 after epoch 3"),
    ("epoch skipped", lambda o, head: next_commit(head, epoch=head.epoch + 2), "has epoch 5 right after epoch 3"),
    ("full takeover", lambda o, head: next_commit(head, line(o), epoch=head.epoch + 1), "a takeover writes an empty"),
    ("other owner", lambda o, head: next_commit(head, owner="x"), "is by x, but epoch 3 belongs to c"),
    ("offset falls", lambda o, head: next_commit(head, offset=3), "covers command offset 3 of partition 0, commit"),
    ("topic changes", lambda o, head: next_commit(head, topic_id="x"), "counts offsets of topic x"),
    ("eventful wrong", lambda o, head: said(next_commit(head), eventful_nr=1), "says that commit 1 is the newest"),
    ("eventful unsaid", lambda o, head: said(next_commit(head, line(o)), eventful_nr=9), "it is "),
    ("slice left out", lambda o, head: next_commit(head, slices={2: head.slices[2]}), "covers the partitions [2], and"),
    ("indexed falls", lambda o, head: next_commit(head, derived_nr=1), "says that all is derived up to commit 1"),
    ("indexed ahead", lambda o, head: next_commit(head, derived_nr=head.nr + 1), "says that all is derived up to"),
    ("sequence gap", lambda o, head: next_commit(head, line(o, sequence=11)), "has sequence 11 where 9 is due"),
    ("note ahead", lambda o, head: next_commit(head, line(o, type="#x")), "has sequence 9 where 8 is due"),
    ("stray", lambda o, head: next_commit(head, line(o, aggregate_id=o.key(1, 9))), "belongs to partition 3 of 4"),
    ("schema", lambda o, head: next_commit(head, line(o, data=b"\xc3\x01" + bytes(9))), "needs schema 0000000000"),
    ("no schema", lambda o, head: next_commit(head, line(o, data=b"{}")), "needs schema (none"),
    ("again", lambda o, head: next_commit(head, line(o, command_id="0-0")), "9 accepted commands after"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "what"), [pytest.param(*it[1:], id=it[0]) for it in LOG_DAMAGE])
async def test_the_log_is_damaged(orders: Orders, damage: Callable[[Orders, Commit], Commit], what: str) -> None:
    """Found at the commit; there is nothing to repair it from."""
    head = await orders.journal.head(orders.name(0))
    assert head is not None
    commit = damage(orders, head)
    await orders.journal.append(commit)
    await orders.journal.derive([commit])
    found = [it for it in await orders.verify() if what in it.what]
    places = f"{orders.name(0)}:{commit.nr}", f"{orders.type}-0:{commit.nr}:0"
    assert [True] == [it.where.startswith(places) for it in found]
    assert found[0].repair is None
    assert not found[0].note


async def test_a_takeover_goes_back(orders: Orders) -> None:
    """Where Kafka had lost the end of the commands, the next owner covers less: nothing is wrong."""
    head = await orders.journal.head(orders.name(0))
    assert head is not None
    await orders.journal.append(next_commit(head, epoch=head.epoch + 1, owner="d", offset=3))
    assert [] == await orders.verify()


async def test_an_id_again_beyond_the_window(orders: Orders) -> None:
    """An id that was forgotten may come again: worth a note."""
    head = await orders.journal.head(orders.name(0))
    assert head is not None
    for number in range(WINDOW + 1):
        id = "0-0" if number == WINDOW else f"new-{number}"
        head = next_commit(head, line(orders, sequence=9 + number, command_id=id))
        await orders.journal.append(head)
        await orders.journal.derive([head])
    [found] = await orders.verify()
    assert found.note
    assert "accepts command 0-0 again" in found.what


# -- Cassandra only: a log that lost what it had acknowledged -------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def in_cassandra(cassandra_journals: Journals) -> Orders:
    """A healthy journal in Cassandra."""
    orders = Orders(cassandra_journals.one)
    await orders.write()
    return orders


def commit_row(orders: Orders, nr: int) -> str:
    return f"log = '{orders.name(0)}' AND bucket = {nr // COMMITS_PER_BUCKET} AND nr = {nr}"


async def test_a_hole_in_the_log(in_cassandra: Orders) -> None:
    """Its commits are named; rows derived from them are all that is left, so a repair leaves them alone."""
    orders, [lost, also] = in_cassandra, [3, 4]
    kept = {key: await orders.journal.events(orders.type, key) for key in (orders.key(0, n) for n in range(3))}
    table = f"{keyspace(orders.journal)}.commits"
    for nr in (lost, also):
        await execute(orders.journal, f"DELETE FROM {table} WHERE {commit_row(orders, nr)}")
    found = await orders.verify()
    wrong = [it for it in found if not it.note]
    assert [f"{orders.name(0)}:3"] == [it.where for it in wrong]
    assert "commits 3 to 4 are missing" in wrong[0].what
    rows = [row for rows in kept.values() for row in rows if row.nr in (lost, also)]
    assert sorted(orders.place(row) for row in rows) == sorted(it.where for it in found if it.note)
    assert found == await orders.repaired(found)
    assert kept == {key: await orders.journal.events(orders.type, key) for key in kept}


async def test_a_commit_that_cannot_be_read(in_cassandra: Orders) -> None:
    """Bytes that are damaged, with a header or without, are found one commit after another; the rest is verified."""
    orders = in_cassandra
    table = f"{keyspace(orders.journal)}.commits"
    [[payload]] = await execute(orders.journal, f"SELECT payload FROM {table} WHERE {commit_row(orders, 3)}")
    for nr, damaged in ((3, payload[: len(payload) // 2]), (5, b"nothing")):
        values = f"payload = 0x{damaged.hex()}"
        await execute(orders.journal, f"UPDATE {table} SET {values} WHERE {commit_row(orders, nr)}")
    wrong = [it for it in await orders.verify() if not it.note]
    assert [f"{orders.name(0)}:{nr}" for nr in (3, 5)] == [it.where for it in wrong]
    assert all(it.what.startswith("cannot be read") for it in wrong)


async def split(orders: Orders) -> Commit:
    """The first log is sealed, and each of its slices goes on in a log of its own. Returns the seal."""
    owner = await orders.owner(0, "d")
    await owner.suspend(5)
    nr = await owner.seal()
    await owner.close()
    planned = LAYOUT.split(0, [(0, LAYOUT.log(0).slices[:1]), (2, LAYOUT.log(0).slices[1:])])
    await orders.journal.change_layout(orders.type, planned)
    begun = await orders.journal.change_layout(orders.type, planned.seal(0, nr))
    for number in (2, 3):
        span, parents = begun.log(number), [begun.log(0)]
        await take_over(orders.journal, Topic(), orders.name(number), span, "t1", "e", parents)
    seal = await orders.journal.head(orders.name(0))
    assert seal is not None
    assert seal.is_seal
    return seal


async def test_a_log_that_was_split(orders: Orders) -> None:
    """An aggregate's rows are those of all logs that had its slice; one that is missing is derived from the log that
    has it."""
    await split(orders)
    assert [] == await orders.verify()
    key = orders.key(0)
    rows = await orders.journal.events(orders.type, key)
    await orders.journal.remove_events(orders.type, rows[2:3])
    found = await orders.verify()
    assert found
    assert [] == await orders.repaired(found)
    assert rows == await orders.journal.events(orders.type, key)


async def test_a_commit_behind_the_seal(orders: Orders) -> None:
    """Nobody who obeys the fence writes one; it is found, and so is that the layout says otherwise."""
    seal = await split(orders)
    await orders.journal.append(replace(seal, nr=seal.nr + 1, is_seal=False))
    found = [finding.what for finding in await orders.verify()]
    assert f"stands behind commit {seal.nr}, which seals the log" in found

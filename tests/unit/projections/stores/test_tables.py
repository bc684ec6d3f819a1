"""Local tables over real RocksDB: what is written, what a recovery makes of a changelog, and what a drop leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from projections.stores.local import queries
from projections.stores.rows import Checkpoint, Quarantined, decode_row
from streams.concurrency.tasks import cancel
from tests.unit.local_machines import TABLE, Changelog, Machine
from tests.unit.sql_machines import row


@pytest.fixture
def changelog() -> Changelog:
    return Changelog()


@pytest.fixture
def machine(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "one", changelog)


@pytest.fixture
def other(tmp_path: Path, changelog: Changelog) -> Machine:
    return Machine(tmp_path / "other", changelog)


async def test_written_with_its_offset(machine: Machine, other: Machine) -> None:
    """Rows stand in RocksDB with the offset that they have on the changelog; another worker recovers the same."""
    await machine.put(1, a={"owner": "x"}, b={"owner": "x"})
    await machine.put(2, a={"owner": "y"})
    other.recover()
    for worker in (machine, other):
        assert [row(2, owner="y"), row(1, owner="x")] == await worker.loaded("a", "b")
        assert ({TABLE: Checkpoint(2, 0, 2, 2)}, 4) == (await worker.rows.places(0), worker.read_up_to)
    assert machine.all() == other.all()


async def test_the_changelog_comes_first(machine: Machine, other: Machine, changelog: Changelog) -> None:
    """Rows that are not all on the changelog are not in the table either: the events are applied when they come again,
    and whoever has recovered a part of them meanwhile comes to the same."""
    await machine.put(1, a={"owner": "x"})
    before = machine.all()
    changelog.room = 1
    with pytest.raises(ConnectionError):
        await machine.put(2, a={"owner": "y"}, b={"owner": "y"})
    assert before == machine.all()
    other.recover()
    assert ([row(2, owner="y"), None], Checkpoint(1, 0, 1, 1)) == (
        await other.loaded("a", "b"),
        (await other.rows.places(0))[TABLE],
    )
    changelog.room = None
    await machine.put(2, a={"owner": "y"}, b={"owner": "y"})
    machine.recover()
    other.recover()
    assert [row(2, owner="y")] * 2 == await machine.loaded("a", "b")
    assert machine.all() == other.all()


async def test_who_ends_in_between(
    machine: Machine, other: Machine, changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends when the changelog has its rows, and has not answered yet, leaves a table without them: who
    takes over has them, and so has the one that ended, when it is back."""
    await machine.put(1, a={"owner": "x"})
    before, has = machine.all(), asyncio.Event()

    async def no_answer(topic: str, partition: int, records: Sequence[Any], refuse: bool = False) -> int:
        await Changelog.publish(changelog, topic, partition, records)
        has.set()
        return await asyncio.Future()

    monkeypatch.setattr(changelog, "publish", no_answer)
    saving = asyncio.create_task(machine.put(2, a={"owner": "y"}))
    await has.wait()
    await cancel(saving)
    assert before == machine.all()
    for worker in (other, machine):
        worker.recover()
        assert [row(2, owner="y")] == await worker.loaded("a")
        assert ({TABLE: Checkpoint(2, 0, 2, 2)}, 3) == (await worker.rows.places(0), worker.read_up_to)


async def test_late_rows_of_a_former_owner(machine: Machine, other: Machine) -> None:
    """Older rows that a former owner puts behind newer ones change nothing, for either, when they recover."""
    waits = Quarantined("type-0:3:0", "no price", 1)
    await machine.put(1, a={"owner": "x"})
    other.recover()
    await other.put(3, a={"owner": "z"}, b={"owner": "z"}, held={"c": waits})
    await machine.put(2, a={"owner": "y"}, held={"c": Quarantined("type-0:2:0", "", 0)})  # it was stopped amid this
    for worker in (machine, other):
        worker.recover()
        assert [row(3, owner="z")] * 2 == await worker.loaded("a", "b")
        assert {"c": waits} == await worker.rows.quarantined(0, TABLE)
        assert ({TABLE: Checkpoint(3, 0, 3, 3)}, 8) == (await worker.rows.places(0), worker.read_up_to)
        assert {"z": 2} == queries.counts(worker.store, 0, TABLE, "owner")
    assert machine.all() == other.all()


async def test_what_others_wrote_is_read(machine: Machine, other: Machine) -> None:
    """A worker that writes behind what it has not read goes on from there when it recovers, and misses none of it."""
    await machine.put(1, a={"owner": "x"})
    other.recover()
    await other.put(2, b={"owner": "y"})
    await machine.put(3, c={"owner": "z"})
    assert 1 == machine.read_up_to
    machine.recover()
    assert [row(1, owner="x"), row(2, owner="y"), row(3, owner="z")] == await machine.loaded("a", "b", "c")


async def test_what_a_removed_row_has_left(machine: Machine) -> None:
    """Queries do not see what a removed row has left behind; the engine does."""
    await machine.put(1, a={"owner": "x"}, b={"owner": "x"})
    await machine.put(2, b=None)
    assert [row(2, gone=True)] == await machine.loaded("b")
    assert queries.row(machine.store, 0, TABLE, "b") is None
    assert [{"owner": "x"}] == [decode_row(value) for value in queries.scan(machine.store, 0, TABLE)]
    assert (["a"], {"x": 1}) == (
        queries.indexed(machine.store, 0, TABLE, "owner", "x", "", 10),
        queries.counts(machine.store, 0, TABLE, "owner"),
    )


# -- drop ------------------------------------------------------------------------------------------------


async def test_drop(machine: Machine, other: Machine) -> None:
    """Nothing is left of a table, not an entry of an index nor a count; other tables stay. Once more does nothing."""
    await machine.put(1, table="things-2", a={"owner": "x"})
    alone = machine.all()
    waits = Quarantined("type-0:1:0", "no price", 1)
    await machine.put(1, a={"owner": "x"}, b={"owner": "y"}, c={"owner": "y"}, held={"d": waits})
    await machine.put(2, a={"owner": "y"}, b=None)
    other.recover()
    await machine.rows.drop(0, TABLE)
    known = machine.read_up_to
    await machine.rows.drop(0, TABLE)
    other.recover()
    assert (alone, alone, known) == (machine.all(), other.all(), machine.read_up_to)


@pytest.mark.parametrize("room", range(9))
async def test_a_drop_that_is_cut_off(machine: Machine, other: Machine, changelog: Changelog, room: int) -> None:
    """Wherever the worker dies: the next owner has the table whole or at its beginning, so that it can be built on from
    there, and no row is gone whose events wait. It can drop what is left."""
    waits = Quarantined("type-0:1:0", "no price", 1)
    await machine.put(1, a={"owner": "x"}, b={"owner": "y"}, c={"owner": "z"}, held={"c": waits})
    whole = machine.all()
    changelog.room = room
    with contextlib.suppress(ConnectionError):
        await machine.rows.drop(0, TABLE)
    changelog.room = None
    other.recover()
    if (await other.rows.places(0)).get(TABLE, Checkpoint()) != Checkpoint():
        assert whole == other.all()
    if await other.rows.quarantined(0, TABLE):
        assert [row(1, owner="z")] == await other.loaded("c")
    await other.rows.drop(0, TABLE)
    assert {} == other.all()

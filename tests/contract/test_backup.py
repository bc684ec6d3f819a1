"""Backups: what a journal of each kind has comes back in an empty one, and what is not whole does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from streams.backup.archive import BackupError, Reader
from streams.backup.journal_copy import back_up, look, restore
from streams.journal.memory import MemoryJournal
from streams.journal.port import Identity, Journal
from streams.open_journal import open_journal
from tests.contract.conftest import CONTEXT
from tests.contract.orders import EVENTS, LAYOUT, LOGS, OPEN, Orders
from tests.stores import drop_journals

pytestmark = pytest.mark.asyncio(loop_scope="session")
OURS = Identity(context=CONTEXT, namespace="t", partitions=LAYOUT.slices, cluster="one")
ELSEWHERE = replace(OURS, cluster="two")


@pytest_asyncio.fixture(loop_scope="session")
async def empty(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Journal]:
    """A journal of the same kind in which there is nothing."""
    kind = request.node.callspec.params["journals"]
    if kind == "memory":
        journal = MemoryJournal()
        await journal.create()
        yield journal
        return
    url = request.getfixturevalue(f"{kind}_url")
    opened = open_journal(url, f"{namespace}r_", CONTEXT)
    await opened.create()
    await opened.open()
    yield opened
    await opened.close()
    await drop_journals(url, f"{namespace}r_")


async def backed_up(orders: Orders, path: Path) -> tuple[int, int]:
    """A backup of these orders."""
    whose = await orders.journal.claim(OURS)
    begin = replace(await look(orders.journal, [orders.type]), identity=replace(OURS, context=whose.context))
    return await back_up(orders.journal, begin, path, lambda done, total: None)


def restored_to(journal: Journal, path: Path) -> object:
    return restore(journal, Reader(path), ELSEWHERE, lambda done, total: None)


async def test_a_journal_comes_back(orders: Orders, empty: Journal, tmp_path: Path) -> None:
    """Commits, layout and schemas are those that were there, rows by aggregate are derived, nothing is said to be
    published, nothing disagrees, and an owner goes on where the last one was."""
    path = tmp_path / "folder" / "orders.backup"
    progress: list[tuple[int, int]] = []
    await orders.journal.claim(OURS)
    begin = replace(await look(orders.journal, [orders.type]), identity=OURS)
    counts = await back_up(orders.journal, begin, path, lambda done, total: None)
    assert [path] == list(path.parent.iterdir())
    assert counts == await restore(empty, Reader(path), ELSEWHERE, lambda done, total: progress.append((done, total)))
    assert (counts[0], counts[0]) == progress[-1]

    there = Orders(empty, orders.decider, dict(orders.offsets))
    assert ELSEWHERE == await empty.identity()
    assert replace(LAYOUT, version=1, hint_key="") == await empty.layout(orders.type)
    for log in range(LOGS):
        assert await orders.log(log) == await there.log(log)
        assert None is await empty.published(orders.name(log))
        for number in range(3):
            key = orders.key(log, number)
            assert await orders.journal.events(orders.type, key) == await empty.events(orders.type, key)
    assert EVENTS.schemas.items() <= (await empty.schemas()).items()
    assert [] == await there.verify()

    last = (await there.log(0))[-1]
    owner = await there.owner(0, "d")
    await there.send(owner, there.key(0, 4), "OpenOrder", OPEN)
    await there.settled(owner)
    await owner.close()
    after = (await there.log(0))[-1]
    assert (last.epoch + 1, 1) == (after.epoch, len(after.events))
    assert [] == await there.verify()


async def test_a_file_that_is_cut_off(orders: Orders, empty: Journal, tmp_path: Path) -> None:
    """It is refused, and no worker can take what there is of it for a journal; the whole file goes on from there."""
    path = tmp_path / "orders.backup"
    await backed_up(orders, path)
    whole = path.read_bytes()
    cut = tmp_path / "cut.backup"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(BackupError, match="is not whole: it is cut off, or damaged, behind commit"):
        await restored_to(empty, cut)
    assert None is await empty.layout(orders.type)
    await restored_to(empty, path)
    assert [] == await Orders(empty, orders.decider).verify()


@pytest.mark.parametrize("journals", ["memory"], indirect=True)
async def test_what_is_no_backup(orders: Orders, tmp_path: Path) -> None:
    """A file of something else, and one that is not there, are refused in a line."""
    path = tmp_path / "orders.backup"
    with pytest.raises(BackupError, match="No such file"):
        Reader(path)
    path.write_bytes(b"commits")
    with pytest.raises(BackupError, match="is no backup of a journal"):
        Reader(path)


@pytest.mark.parametrize("journals", ["memory"], indirect=True)
async def test_what_is_committed_later_is_not_in_it(orders: Orders, empty: Journal, tmp_path: Path) -> None:
    """A backup ends where the logs ended when they were looked at, whatever goes on meanwhile."""
    path = tmp_path / "orders.backup"
    before = [await orders.log(log) for log in range(LOGS)]
    await orders.journal.claim(OURS)
    begin = replace(await look(orders.journal, [orders.type]), identity=OURS)
    owner = await orders.owner(1, "d")
    await orders.send(owner, orders.key(1, 4), "OpenOrder", OPEN)
    await orders.settled(owner)
    await owner.close()
    await back_up(orders.journal, begin, path, lambda done, total: None)
    await restored_to(empty, path)
    there = Orders(empty, orders.decider)
    assert before == [await there.log(log) for log in range(LOGS)]
    assert len(await orders.log(1)) > len(before[1])


@pytest.mark.parametrize("journals", ["memory"], indirect=True)
async def test_where_it_cannot_be_restored(orders: Orders, empty: Journal, tmp_path: Path) -> None:
    """Into a journal that has logs of that type, one of another cluster, or with another number of partitions."""
    path = tmp_path / "orders.backup"
    await backed_up(orders, path)
    with pytest.raises(BackupError, match=r"has logs of .* already: restore into an empty one"):
        await restored_to(orders.journal, path)
    with pytest.raises(BackupError, match="PARTITIONS=4, and here is orders with PARTITIONS=8"):
        await restore(empty, Reader(path), replace(ELSEWHERE, partitions=8), lambda done, total: None)


@pytest.mark.parametrize("journals", ["memory"], indirect=True)
async def test_nothing_to_back_up(journal: Journal) -> None:
    """A journal without logs of these types is none that one would want back."""
    with pytest.raises(BackupError, match="there is nothing to back up"):
        await look(journal, ["nothing"])

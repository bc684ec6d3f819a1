"""The contract of the journal: what every implementation promises to the write side and to the tailer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, Fenced, Journal, JournalMissing, RecordedEvent, Snapshot, log_type
from streams.open_journal import open_journal
from tests.contract.conftest import KINDS, Journals, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]


async def append_all(journal: Journal, commits: Iterable[Commit]) -> None:
    """One after another, as an owner does."""
    for commit in commits:
        await journal.append(commit)


async def all_commits(journal: Journal, log: str) -> list[Commit]:
    """The whole log, read as the tailer reads it."""
    found: list[Commit] = []
    while read := await journal.commits(log, len(found), 1000):
        found += read
    return found


async def test_a_commit_is_read_as_it_was_appended(journal: Journal, make_commit: Make, log: str) -> None:
    """All that is in a commit comes back from the head and from the log, Unicode and empty fields included."""
    events = (event("Zoë/1 ☃", 1), RecordedEvent("b", 7, "OrderPlaced", b"\x00", "command"))
    commit = make_commit(1, *events)
    await journal.append(commit)
    assert await journal.head(log) == commit
    assert await journal.commits(log, 0, 10) == [commit]


async def test_an_empty_log_has_no_head(journal: Journal, log: str) -> None:
    """A log to which nothing was appended has no head and no commits."""
    assert await journal.head(log) is None
    assert list(await journal.commits(log, 0, 10)) == []


async def test_every_text_is_kept(journal: Journal, make_commit: Make, log: str) -> None:
    """Ids come from outside: whatever characters they have, and however many, they are kept, and told apart."""
    type = log_type(log)
    ids = ["\0", "\\0", "\\", "\\\0", "'; --", "\U0001f6d2" * 512, "\x7f\u2028"]
    events = [RecordedEvent(id, 1, "LineAdded", b"\0", id, id, id) for id in ids]
    await journal.append(make_commit(1, *events), [Snapshot(id, 1, 1, 1, id.encode()) for id in ids])
    await journal.derive([make_commit(1, *events)])
    await journal.save_snapshots(type, [Snapshot(id, 1, 1, 1, id.encode()) for id in ids])
    assert await journal.commits(log, 0, 10) == [make_commit(1, *events)]
    for id, expected in zip(ids, events, strict=True):
        assert [row.event for row in await journal.events(type, id)] == [expected]
        assert await journal.snapshot(type, id) == Snapshot(id, 1, 1, 1, id.encode())
    assert sorted(ids) == sorted([id async for id in journal.aggregate_ids(type)])


async def test_the_log_is_dense_and_in_order(journal: Journal, make_commit: Make, log: str) -> None:
    """Commits come back by nr from 1, each once."""
    await append_all(journal, [make_commit(nr) for nr in range(1, 31)])
    assert [commit.nr for commit in await all_commits(journal, log)] == list(range(1, 31))


async def test_the_second_writer_of_a_place_is_fenced(journals: Journals, make_commit: Make, log: str) -> None:
    """Who appends where another stands already is told so, names both, and changes nothing."""
    first = make_commit(1, event("a", 1), epoch=2, owner="winner")
    await journals.one.append(first)
    with pytest.raises(Fenced, match=r"winner in epoch 2.*loser in epoch 1"):
        await journals.two.append(make_commit(1, event("a", 1), epoch=1, owner="loser"))
    assert await journals.two.head(log) == first


async def test_an_owner_of_the_same_name_is_fenced_by_its_epoch(journal: Journal, make_commit: Make) -> None:
    """A worker that owned the partition twice does not take its own older commit for the newer one."""
    await journal.append(make_commit(1, epoch=1, owner="a", offset=5))
    with pytest.raises(Fenced):
        await journal.append(make_commit(1, epoch=2, owner="a", offset=5))


async def test_other_events_at_the_same_place_are_fenced(journal: Journal, make_commit: Make) -> None:
    """Even the same owner and offset cannot replace the events of a commit."""
    await journal.append(make_commit(1, event("a", 1)))
    with pytest.raises(Fenced):
        await journal.append(make_commit(1, event("b", 1)))


async def test_appending_the_same_commit_again_succeeds(journal: Journal, make_commit: Make, log: str) -> None:
    """An owner that does not know whether it had succeeded may ask again, and the commit stands there once."""
    commit = make_commit(1, event("a", 1), event("a", 2))
    await journal.append(commit)
    await journal.append(commit)
    assert await all_commits(journal, log) == [commit]


async def test_the_same_commit_again_succeeds_when_others_follow(journal: Journal, make_commit: Make) -> None:
    """The repeat succeeds although it is not the newest any more."""
    await append_all(journal, [make_commit(1, event("a", 1)), make_commit(2)])
    await journal.append(make_commit(1, event("a", 1)))


async def test_many_owners_take_over_and_each_place_has_one_winner(
    journals: Journals, make_commit: Make, log: str
) -> None:
    """Owners that fight for a log fence each other: every success is in the log, once, and epochs only rise."""
    chance = random.Random(42)
    succeeded: list[Commit] = []

    async def own(name: str, journal: Journal) -> None:
        for _ in range(8):
            head = await journal.head(log)
            nr, epoch = (head.nr, head.epoch + 1) if head else (0, 1)
            try:
                for _ in range(chance.randint(1, 6)):  # the first is the takeover
                    nr += 1
                    commit = make_commit(nr, event(name, nr), epoch=epoch, owner=name)
                    await journal.append(commit)
                    succeeded.append(commit)
                    await asyncio.sleep(chance.random() / 200)
            except Fenced:
                pass

    await asyncio.gather(*(own(f"owner-{i}", (journals.one, journals.two)[i % 2]) for i in range(6)))
    found = await all_commits(journals.one, log)
    assert found == sorted(succeeded, key=lambda commit: commit.nr)
    assert [commit.nr for commit in found] == list(range(1, len(found) + 1))
    assert all(a.epoch <= b.epoch and (a.epoch < b.epoch or a.owner == b.owner) for a, b in pairwise(found))


async def test_a_log_of_thousands_is_read_in_pieces(journal: Journal, make_commit: Make, log: str) -> None:
    """Head and log are right after 2,003 commits, and any piece of the log starts right after what was asked for."""
    for nr in range(1, 2004):
        await journal.append(make_commit(nr))
        if nr in (1, 998, 999, 1000, 1001, 1999, 2000, 2003):
            head = await journal.head(log)
            assert head is not None
            assert head.nr == nr
    assert [commit.nr for commit in await all_commits(journal, log)] == list(range(1, 2004))
    for after, limit in [
        (0, 1),
        (997, 5),
        (998, 1),
        (999, 3),
        (1000, 1),
        (1500, 1000),
        (2002, 10),
        (2003, 10),
        (5000, 9),
    ]:
        read = [commit.nr for commit in await journal.commits(log, after, limit)]
        assert read == list(range(after + 1, min(after + limit, 2003) + 1))


async def test_a_large_commit_is_kept_whole(journal: Journal, make_commit: Make, log: str) -> None:
    """A group of 600 KB, with one event of 200 KB in it, is appended, read and indexed."""
    chance = random.Random(1)
    name = f"large {log}"
    events = [
        event(name, 1, chance.randbytes(200_000)),
        *(event(name, n, chance.randbytes(1000)) for n in range(2, 402)),
    ]
    commit = make_commit(1, *events)
    await journal.append(commit)
    assert await journal.head(log) == commit
    assert list(await journal.commits(log, 0, 10)) == [commit]
    await journal.derive([commit])
    assert [stored.event for stored in await journal.events(log_type(log), name)] == events


async def test_a_reader_sees_no_gap_while_the_log_grows(journals: Journals, make_commit: Make, log: str) -> None:
    """Who reads on from what it has read gets every commit, in order, while another appends."""
    last = 300
    seen: list[int] = []

    async def read() -> None:
        while len(seen) < last:
            seen.extend(commit.nr for commit in await journals.two.commits(log, len(seen), 7))
            assert seen == list(range(1, len(seen) + 1))
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for nr in range(1, last + 1):
            await journals.one.append(make_commit(nr))
            await asyncio.sleep(0)


async def test_logs_do_not_touch_each_other(journal: Journal, make_commit: Make, log: str) -> None:
    """What is appended to a log of a type is in no other one of it."""
    await journal.append(make_commit(1))
    assert await journal.head(log.replace("@0", "@1")) is None


async def test_creating_again_keeps_everything(journal: Journal, make_commit: Make, log: str) -> None:
    """`create` may run at every start."""
    await journal.append(make_commit(1))
    await journal.create()
    assert await journal.head(log) == make_commit(1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_journal_that_was_never_created_says_so(
    kind: str, request: pytest.FixtureRequest, namespace: str
) -> None:
    """Opening it raises `JournalMissing`, which names the way out, and makes nothing."""
    if kind == "memory":
        missing: Journal = MemoryJournal()
    else:
        missing = open_journal(request.getfixturevalue(f"{kind}_url"), namespace, "missing")
    for _ in range(2):
        with pytest.raises(JournalMissing, match=r"setup"):
            await missing.open()
    await missing.close()


async def test_many_create_at_the_same_moment(journals: Journals, make_commit: Make, log: str) -> None:
    """Workers that start together may all call `create`."""
    await asyncio.gather(*(journal.create() for journal in (journals.one, journals.two) * 2))
    await journals.two.append(make_commit(1))
    assert await journals.one.head(log) == make_commit(1)

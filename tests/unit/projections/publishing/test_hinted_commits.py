"""The commits that hints bring: published without a look at the journal where they go on from what is, only there."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from projections.publishing import tail as tailer
from projections.publishing.hints import carried_commits
from projections.publishing.hints.carried_commits import CarriedCommits
from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from projections.publishing.tail_assignment import Tailers
from streams.journal.commit_hint import encode_hint, read_hint
from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead
from tests.layouts import Known
from tests.unit.projections.publishing.test_tailer import CODEC, LOG, Topic, commit_of, event, journal_of
from tests.unit.until import until

KEY = "key"
SEAT = 0


class Read(MemoryJournal):
    """Counts what is read of a log."""

    reads = 0

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        self.reads += 1
        return await super().commits(log, after, limit)


class Topics(Topic):
    """The topic of events, and that of hints, which ends at `hints`."""

    hints = 5

    async def end_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        if topic == "order-commits":
            return dict.fromkeys(partitions, self.hints)
        return await super().end_offsets(topic, partitions)


class Publishing:
    """The tail of a log with two commits, both published, which is brought hints; looks of its own are far apart."""

    def __init__(self, journal: Read, topic: Topics) -> None:
        self.journal, self.topic = journal, topic
        publication = Publication(
            type="order", topic="order-events", source="/orders", journal=journal, hints="order-commits",
            layout=Known(first_layout(1, 1, KEY)), broker=topic, codec=CODEC,  # type: ignore[arg-type]
        )  # fmt: skip
        self.tailers = Tailers(publication)
        self.last = journal._store.log[LOG][-1]

    @property
    def tail(self) -> Tail:
        return self.tailers.tails[0]

    async def write(self, **changes: Any) -> Commit:
        """Append the next commit, with an event or without."""
        self.last = self.after(self.last, **changes)
        await self.journal.append(self.last)
        return self.last

    def after(self, last: Commit, **changes: Any) -> Commit:
        events = changes.pop("events", (event("1", last.nr + 1, f"c{last.nr + 1}"),))
        return replace(commit_of(last.nr + 1, events, 1, last), **changes)

    async def hint(self, *values: bytes) -> None:
        """These are the next hints."""
        records = [SimpleNamespace(offset=self.topic.hints + index, value=value) for index, value in enumerate(values)]
        self.topic.hints += len(values)
        await self.tailers.receive(SEAT, records)  # type: ignore[arg-type]

    async def published(self, nr: int) -> int:
        """How often the journal was read until a commit was published."""
        before = self.journal.reads
        await until(lambda: self.tail.published >= nr)
        await asyncio.sleep(0.01)
        return self.journal.reads - before


@asynccontextmanager
async def publishing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Publishing]:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 1e9)
    monkeypatch.setattr(tailer, "CALM_POLL_SECONDS", 1e9)
    own = Publishing(Read((await journal_of(1, 1))._store), Topics())
    own.tailers.assign({SEAT})
    await until(lambda: own.tail.published == 2)
    await asyncio.sleep(0.01)
    try:
        yield own
    finally:
        await own.tailers.close()


async def test_the_next_commits_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are published as they were brought, one by one or together, and the journal is not asked for more."""
    async with publishing(monkeypatch) as own:
        before = own.last
        first = await own.write()
        await own.hint(encode_hint(first, before, KEY))
        assert 0 == await own.published(3)
        second = await own.write()
        third = await own.write()
        await own.hint(encode_hint(second, first, KEY), encode_hint(third, second, KEY))
        assert 0 == await own.published(5)
        assert [(nr, 0) for nr in range(1, 6)] == own.topic.positions


async def test_commits_without_events_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hint tells of them, and the next one names the one before them."""
    async with publishing(monkeypatch) as own:
        before = own.last
        await own.write(events=())
        await own.hint(encode_hint(await own.write(), before, KEY))
        assert 0 == await own.published(4)
        last = own.last
        read = await own.write(events=())
        await own.hint(encode_hint(read))
        assert 1 <= await own.published(5)
        await own.hint(encode_hint(await own.write(), last, KEY))
        assert 0 == await own.published(6)
        assert [(1, 0), (2, 0), (4, 0), (6, 0)] == own.topic.positions


async def test_hints_that_come_later_than_what_they_bring_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have nobody read the journal again: else the tail stayed ahead of hints, and read whatever they bring."""
    async with publishing(monkeypatch) as own:
        commits = [own.last, *[await own.write() for _ in range(4)]]
        await own.hint(encode_hint(commits[1]))
        assert 1 <= await own.published(6)
        before = own.journal.reads
        for previous, late in pairwise(commits[1:]):
            await own.hint(encode_hint(late, previous, KEY))
            await asyncio.sleep(0.01)
        newest = await own.write()
        await own.hint(encode_hint(newest, commits[-1], KEY))
        await until(lambda: own.tail.published == 7)
        assert before == own.journal.reads
        assert [(nr, 0) for nr in range(1, 8)] == own.topic.positions


async def test_a_hint_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have brought is read, in its order; and the hints behind it are believed again."""
    async with publishing(monkeypatch) as own:
        first, second = await own.write(), await own.write()
        await own.hint(encode_hint(second, first, KEY))
        assert 1 <= await own.published(4)
        await own.hint(encode_hint(await own.write(), second, KEY))
        assert 0 == await own.published(5)
        assert [(nr, 0) for nr in range(1, 6)] == own.topic.positions


@pytest.mark.parametrize("changes", [{"owner": "another"}, {"epoch": 9}])
async def test_another_history(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that goes on from another one with the same number, as a log has it that was restored, is not believed:
    what the journal has there is published."""
    async with publishing(monkeypatch) as own:
        other = replace(own.last, **changes)
        lost = own.after(other, events=(event("1", 3, "lost"), event("1", 4, "lost")))
        await own.write()
        await own.hint(encode_hint(lost, other, KEY))
        assert 1 <= await own.published(3)
        assert [(1, 0), (2, 0), (3, 0)] == own.topic.positions


async def test_hints_from_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be of commits that the journal had before it was restored, behind one that it still has."""
    async with publishing(monkeypatch) as own:
        lost = own.after(own.last)
        old = SimpleNamespace(offset=4, value=encode_hint(lost, own.last, KEY))
        await own.tailers.receive(SEAT, [old])  # type: ignore[list-item]
        await until(lambda: own.journal.reads >= 2)
        await asyncio.sleep(0.01)
        assert 2 == own.tail.published
        await own.write(events=(), owner="heir", epoch=2)
        await own.hint(encode_hint(await own.write(owner="heir", epoch=2)))
        await own.published(4)
        assert [(1, 0), (2, 0), (4, 0)] == own.topic.positions


async def test_a_tail_that_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has published nothing itself that a hint could go on from: it reads."""
    async with publishing(monkeypatch) as former:
        await former.tailers.close()
        own = Publishing(Read(former.journal._store), former.topic)
        own.tailers.assign({SEAT})
        await until(lambda: own.journal.reads and own.tail.published == 2)
        await asyncio.sleep(0.01)
        before = own.last
        await own.hint(encode_hint(await own.write(), before, KEY))
        assert 1 <= await own.published(3)
        await own.tailers.close()
        assert [(1, 0), (2, 0), (3, 0)] == own.topic.positions


async def test_hints_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key of the journal, or of another log with the same seat, a commit counts for nothing."""
    async with publishing(monkeypatch) as own:
        forged = own.after(own.last, events=(event("1", 3, "forged"),))
        await own.hint(encode_hint(forged, own.last, "no key"))
        await own.hint(encode_hint(replace(forged, log="order@7"), own.last, KEY))
        await asyncio.sleep(0.01)
        assert (2, 2) == (own.tail.published, len(own.topic.records))


async def test_a_new_beginning() -> None:
    """What was published before is not known any more, and what waited is forgotten: the log may be another by now."""
    first = commit_of(1, [event("1", 1, "c1")])
    second = commit_of(2, [event("1", 2, "c2")], 1, first)
    hint = read_hint(encode_hint(second, first, KEY), KEY)
    assert hint.carried is not None
    for begins_anew in (False, True):
        carried = CarriedCommits()
        carried.begin(0)
        carried.follow([first])
        if begins_anew:
            carried.begin(0)
        carried.put(hint.carried, 0)
        assert ([] if begins_anew else [second.nr]) == [commit.nr for commit in carried.take(1)]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits for which there is no room are read."""
    monkeypatch.setattr(carried_commits, "MOST_BYTES", 4_000)
    async with publishing(monkeypatch) as own:
        commits = [own.last, *[await own.write() for _ in range(9)]]
        await own.hint(*[encode_hint(it, before, KEY) for before, it in pairwise(commits)])
        assert 1 <= await own.published(11)
        assert [(nr, 0) for nr in range(1, 12)] == own.topic.positions
        assert (0, 0) == (own.tail.carried._bytes, len(own.tail.carried._waiting))


@pytest.mark.parametrize("slices", [1, 64])
def test_what_waits_is_counted_as_it_is_in_memory(slices: int) -> None:
    """Not by the bytes of its events alone, which are little of it: a tail that is behind has thousands."""
    heads = {slice: SliceHead(10_000 + slice, 1_000) for slice in range(slices)}
    first = replace(commit_of(1, [event("1", 1, "c1")], 1), slices=heads)
    values = [encode_hint(replace(first, nr=1 + nr), replace(first, nr=nr), KEY) for nr in range(1_000, 1_200)]
    carried = CarriedCommits()
    carried.begin(0)
    tracemalloc.start()
    try:
        for value in values:
            brought = read_hint(value, KEY).carried
            assert brought is not None
            carried.put(brought, 0)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 2 < carried._bytes < 2 * taken


async def test_a_calm_log_is_looked_at_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose hint is lost is published all the same; one that a hint says is there is looked for as before."""
    async with publishing(monkeypatch) as own:
        monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(tailer, "CALM_POLL_SECONDS", 0.3)
        await own.hint(b"2")
        await asyncio.sleep(0.35)
        before = own.journal.reads
        await asyncio.sleep(0.25)
        assert own.journal.reads - before <= 1
        assert 1 <= await own.published((await own.write()).nr)
        await asyncio.sleep(0.4)
        await own.hint(b"%d" % (own.last.nr + 1))
        before = own.journal.reads
        await asyncio.sleep(0.1)
        assert own.journal.reads - before >= 3


async def test_reading_of_hints_that_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calm log is looked at at once, and then for a while as often as a busy one: its hint may have been missed."""
    async with publishing(monkeypatch) as own:
        monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
        own.tail._moved -= 1e9
        await own.hint(b"2")
        await asyncio.sleep(0.05)
        before = own.journal.reads
        await asyncio.sleep(0.1)
        assert own.journal.reads == before
        monkeypatch.setattr(tailer, "CALM_POLL_SECONDS", 1e8)
        own.tailers.may_lack_some()
        await own.write()
        assert 1 <= await own.published(own.last.nr)
        await own.write()
        assert 1 <= await own.published(own.last.nr)

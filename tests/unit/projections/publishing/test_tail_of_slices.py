"""A log of several slices is published to a partition each, and goes on in each where that stands."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import count, product
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from projections.publishing import slice_tails, tail_assignment
from projections.publishing import tail as tailer
from projections.publishing.publication import COMMIT_END, PREVIOUS, Publication
from projections.publishing.slice_tail import MANY_STRANGE
from projections.publishing.tail import Tail
from projections.publishing.tail_assignment import Tailers
from streams.concurrency.supervisor import Supervisor
from streams.journal import layout_follower
from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, Published, SliceHead
from streams.journal.position import parse_place
from streams.kafka.client import ProducerRecord
from streams.slices import slice_of
from tests.layouts import Known
from tests.unit.projections.publishing.test_tailer import (
    CODEC,
    DATA,
    LOG,
    Topic,
    commit_of,
    event,
    tail_of,
    tail_until,
    tailing,
)
from tests.unit.until import until

SLICES = 3
IDS = [next(id for id in map(str, count()) if slice_of(id, SLICES) == slice) for slice in range(SLICES)]
"""An aggregate of each slice."""


async def journal_with(*commits: Sequence[int], after: int = 0) -> MemoryJournal:
    """A log with commits of an event of each of these slices, in this order."""
    journal, last = MemoryJournal(), None
    await journal.create()
    for nr, slices in enumerate(commits, after + 1):
        last = commit_of(nr, [event(IDS[slice], nr, f"c{nr}") for slice in slices], SLICES, last)
        await journal.append(last)
    return journal


async def append(journal: MemoryJournal, *slices: int) -> int:
    """One more commit; its number."""
    last = journal._store.log[LOG][-1]
    nr = last.nr + 1
    await journal.append(commit_of(nr, [event(IDS[slice], nr, f"c{nr}") for slice in slices], SLICES, last))
    return nr


async def published_until(journal: MemoryJournal, topic: Topic, nr: int) -> Tail:
    return await tail_until(journal, topic, lambda tail: tail.published >= nr, SLICES)


def whole(topic: Topic) -> dict[int, list[ProducerRecord]]:
    return {slice: list(topic.partitions[slice]) for slice in range(SLICES)}


def in_chain(topic: Topic, slice: int) -> bool:
    """Whether each record of a partition names the one before it."""
    names = [topic.header(record, PREVIOUS) for record in topic.partitions[slice]]
    return names == [f"order-{slice}:0:0", *(topic.header(it, "ce_position") for it in topic.partitions[slice])][:-1]


async def test_each_slice_is_a_stream() -> None:
    """Events go to the partition of their slice, in order; each names the one before, and the last of a commit ends it,
    among those of its slice."""
    journal, topic = await journal_with([0, 1, 0], [2], [], [1, 1], [0]), Topic()
    await published_until(journal, topic, 5)
    assert [[(1, 0), (1, 2), (5, 0)], [(1, 1), (4, 0), (4, 1)], [(2, 0)]] == [topic.places(it) for it in range(SLICES)]
    assert [[False, True, True], [True, False, True], [True]] == [
        [COMMIT_END in record[2] for record in topic.partitions[slice]] for slice in range(SLICES)
    ]
    assert all(in_chain(topic, slice) for slice in range(SLICES))
    assert {"order-1:4:1"} == {topic.header(topic.partitions[1][2], name) for name in ("ce_id", "ce_position")}


# -- where it goes on ----------------------------------------------------------------------------------------------

COMMITS = [[0, 1], [0, 0, 2], [], [1], [1, 0, 1], [2], [0]]


async def some_published() -> tuple[MemoryJournal, Topic]:
    journal, topic = await journal_with(*COMMITS), Topic()
    await published_until(journal, topic, len(COMMITS))
    return journal, topic


@pytest.mark.parametrize("copy", [None, *range(len(COMMITS) + 1)])
async def test_goes_on_from_wherever_slices_stand(copy: int | None) -> None:
    """Whichever part of its end each partition has, of a batch that was interrupted or for a loss, and whatever the
    copy says: each event is there once, in order, in its chain."""
    journal, topic = await some_published()
    expected = whole(topic)
    journal._store.published.clear()
    if copy is not None:
        await journal.save_published(LOG, Published(copy, -1))
    kept = list(product(*(range(1, len(records) + 1) for records in expected.values())))
    for lengths in random.Random(copy or 0).sample(kept, 12):
        for slice, length in enumerate(lengths):
            del topic.partitions[slice][length:]
        tail = await published_until(journal, topic, len(COMMITS))
        assert expected == whole(topic), (copy, lengths)
        assert [len(records) for records in expected.values()] == [slice.end for slice in tail.slices]


class Counted(MemoryJournal):
    """Says which commits were read in batches."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.read: list[int] = []
        self.limits: list[int] = []

    async def commits(self, log: str, after: int, limit: int) -> Sequence[Commit]:
        found = await super().commits(log, after, limit)
        if limit > 1:
            self.read += [commit.nr for commit in found]
            self.limits.append(limit)
        return found


async def test_a_slice_that_was_still_for_long() -> None:
    """Nothing is read from its last record on: the copy says that there was nothing more of it."""
    journal, topic = await journal_with([0], *[[1]] * 100), Topic()
    await published_until(journal, topic, 101)
    await journal.save_published(LOG, Published(99, -1))
    await append(journal, 0)
    counted = Counted(journal._store)
    await published_until(counted, topic, 102)
    assert ([100, 101, 102], [(1, 0), (102, 0)]) == (counted.read, topic.places(0))
    assert all(in_chain(topic, slice) for slice in (0, 1))


@pytest.mark.parametrize("emptied", [{0}, {1, 2}, {0, 1, 2}])
async def test_partitions_without_a_record(emptied: set[int]) -> None:
    """Whether retention removed them all or the topic was made again: they go on behind the copy, others where they
    were. What is before the next event is not said where it is not known."""
    journal, topic = await some_published()
    await journal.save_published(LOG, Published(5, -1))
    expected = {slice: topic.places(slice) for slice in range(SLICES)}
    for slice in emptied:
        topic.partitions[slice].clear()
    nr = await append(journal, 0, 1, 2)
    await published_until(journal, topic, nr)
    for slice in range(SLICES):
        behind = [place for place in expected[slice] if slice not in emptied or place > (5, 99)]
        assert [*behind, (nr, slice)] == topic.places(slice)
        assert (slice not in emptied) == (PREVIOUS in dict(topic.partitions[slice][0][2]))


async def test_the_copy_is_right_when_there_is_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept now and then, and once more when a tail has nothing to do; what is kept already is not kept again."""
    monkeypatch.setattr(tailer, "REMEMBER_SECONDS", 0.05)
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
    kept: list[int] = []

    class Watched(MemoryJournal):
        async def save_published(self, log: str, published: Published) -> None:
            kept.append(published.nr)

    journal = Watched((await journal_with([0]))._store)
    async with tailing(journal, Topic(), Supervisor(), SLICES) as tail:
        for _ in range(20):
            tail.wake(await append(journal, 0, 1))
            await asyncio.sleep(0.001)
        await until(lambda: kept[-1:] == [21])
        await asyncio.sleep(0.1)
    assert (sorted(set(kept)), True) == (kept, len(kept) < 15)


async def test_a_slice_that_had_no_event_yet() -> None:
    """Its first event says that nothing was before it, however late it comes."""
    journal, topic = await journal_with([0], [0], [0]), Topic()
    await published_until(journal, topic, 3)
    await published_until(journal, topic, await append(journal, 2))
    assert in_chain(topic, 2)


async def test_a_topic_that_was_made_again_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of which a late record stands on the new topic gets the rest again, the others are left alone."""
    monkeypatch.setattr(tailer, "LOOK_AT_TOPIC_SECONDS", 0.0)
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
    journal, topic = await some_published()
    expected = whole(topic)
    async with tailing(journal, topic, Supervisor(), SLICES) as tail:
        await until(lambda: tail.published == len(COMMITS))
        del topic.partitions[1][2:]
        await until(lambda: len(topic.partitions[1]) == len(expected[1]))
        nr = await append(journal, 0, 1, 2)
        await until(lambda: tail.published == nr)
    assert expected == {slice: records[:-1] for slice, records in whole(topic).items()}
    assert all(in_chain(topic, slice) for slice in range(SLICES))


async def test_a_log_behind_another() -> None:
    """A log that begins behind a number publishes from there, whatever its parents have left on the topic."""
    journal, topic = await journal_with([0], [1, 0], [2], after=10), Topic()
    position = b"order-0:7:0"
    topic.partitions[0].append((b"1", DATA, [("ce_position", position), ("ce_id", position)]))
    async with tailing(journal, topic, Supervisor(), SLICES, after=10) as tail:
        assert 10 == tail.published
        await until(lambda: tail.published == 13)
    assert [[(7, 0), (11, 0), (12, 1)], [(12, 0)], [(13, 0)]] == [topic.places(slice) for slice in range(SLICES)]
    assert position.decode() == topic.header(topic.partitions[0][1], PREVIOUS)


def parts_of(journal: MemoryJournal, topic: Any) -> Publication:
    """The log is sealed, and has two heirs, of slice 0 and of the others, each with a commit that begins it."""
    last = journal._store.log[LOG][-1]
    seal = replace(last, nr=last.nr + 1, events=(), is_seal=True)
    journal._store.log[LOG].append(seal)
    layout = first_layout(SLICES, 1).split(0, [(0, [0]), (1, [1, 2])]).seal(0, seal.nr)
    for span in layout.open:
        heads = {slice: seal.slices[slice] for slice in span.slices}
        first = replace(seal, log=f"order@{span.number}", nr=seal.nr + 1, slices=heads, is_seal=False)
        journal._store.log[first.log].append(first)
    return Publication(
        type="order", topic="order-events", source="/orders", journal=journal, layout=Known(layout), broker=topic,
        codec=CODEC, supervisor=Supervisor(),
    )  # fmt: skip


async def add_to_heir(journal: MemoryJournal, number: int, slice: int) -> int:
    """One more commit of an heir, with an event; its number."""
    last = journal._store.log[f"order@{number}"][-1]
    nr = last.nr + 1
    heads = {**last.slices, slice: SliceHead(nr, nr)}
    await journal.append(replace(last, nr=nr, slices=heads, events=(event(IDS[slice], nr, f"c{nr}"),)))
    return nr


async def run_until(tail: Tail, nr: int) -> None:
    task = asyncio.create_task(tail.run())
    await until(lambda: tail.published == nr)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("copy", [None, 0, 2])
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_sealed_log_whose_heirs_are_published(copy: int | None, is_known: bool) -> None:
    """Whoever is given its seat, whether the layout that is known has the seal or not, finds that it is out, and says
    so to the heirs' tails; even where a former tail has taken that back."""
    journal, topic = await some_published()
    publication = parts_of(journal, topic)
    parent, *heirs = publication.layout.layout.logs
    async with asyncio.timeout(5):
        await Tail(publication, parent).run()
    for heir, slice in zip(heirs, (0, 2), strict=True):
        await run_until(Tail(publication, heir), await add_to_heir(journal, heir.number, slice))
    before = whole(topic)
    journal._store.published.pop(LOG)
    if copy is not None:
        await journal.save_published(LOG, Published(copy, -1))
    async with asyncio.timeout(5):
        await Tail(publication, parent if is_known else replace(parent, sealed=None)).run()
    assert parent.sealed == journal._store.published[LOG].nr
    assert before == whole(topic)


async def test_a_late_record_of_the_log_before() -> None:
    """It is not the event before the first one of an heir, which names the one that the topic has lost: readers see
    that something is missing, and look themselves."""
    journal, topic = await some_published()
    publication = parts_of(journal, topic)
    parent, heir, _ = publication.layout.layout.logs
    assert parent.sealed is not None
    await journal.save_published(LOG, Published(parent.sealed, -1))
    lost = topic.header(topic.partitions[0][-1], "ce_position")
    topic.partitions[0] = topic.partitions[0][:1]
    nr = await add_to_heir(journal, heir.number, 0)
    await run_until(Tail(publication, heir), nr)
    first = topic.partitions[0][1]
    assert (parse_place(topic.header(first, "ce_position")), topic.header(first, PREVIOUS)) == ((nr, 0), lost)


async def test_a_log_that_was_published_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each assignment, and now and then: a former tail, gone by now, may have noted that it is less."""
    monkeypatch.setattr(tail_assignment, "LOOK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(layout_follower, "LOOK_SECONDS", 0.01)
    journal, topic = await some_published()
    publication = parts_of(journal, topic)
    parent = publication.layout.layout.log(0)
    tailers = Tailers(publication)
    tailers.assign({0})
    await until(lambda: 0 not in tailers.tails)
    await journal.replace_published(LOG, Published(1, -1))
    tailers.assign({0, 1})
    await until(lambda: journal._store.published[LOG].nr == parent.sealed)
    await until(lambda: 0 not in tailers.tails)
    following = asyncio.create_task(tailers.follow_layout())
    await journal.replace_published(LOG, Published(1, -1))
    await until(lambda: journal._store.published[LOG].nr == parent.sealed)
    following.cancel()
    await tailers.close()


# -- a log that is not the one of the topic ------------------------------------------------------------------------


async def test_a_log_that_ends_before_one_of_its_slices() -> None:
    """The reason names the slice that is furthest; nothing is published of the others either."""
    journal, topic = await some_published()
    await journal.save_published(LOG, Published(4, -1))
    del journal._store.log[LOG][5:]
    expected, supervisor = whole(topic), Supervisor()
    async with tailing(journal, topic, supervisor, SLICES):
        await until(lambda: supervisor.troubles)
        reason = "order-0: its events are published up to 7:0, and the journal ends at commit 5"
        assert reason in supervisor.troubles[f"tail {LOG}"]
    assert expected == whole(topic)


async def test_a_log_that_ends_before_its_copy() -> None:
    """It is not the one that was published, also where the topic has nothing."""
    journal, supervisor = await journal_with([0], [1]), Supervisor()
    await journal.save_published(LOG, Published(9, -1))
    async with tailing(journal, Topic(), supervisor, SLICES):
        await until(lambda: supervisor.troubles)
        assert "up to 9:-1, and the journal ends at commit 2" in supervisor.troubles[f"tail {LOG}"]


async def test_another_event_in_one_slice() -> None:
    """The log has come past all that was published, and has another event than one of the slices."""
    journal, topic = await some_published()
    log, supervisor = journal._store.log[LOG], Supervisor()
    log[4] = commit_of(5, [event(IDS[slice], 5, "another") for slice in (1, 0, 1)], SLICES, log[3])
    async with tailing(journal, topic, supervisor, SLICES):
        await until(lambda: supervisor.troubles)
        assert "order-events has another event order-1:5:2" in supervisor.troubles[f"tail {LOG}"]


# -- slices that differ --------------------------------------------------------------------------------------------


class Jammed(Topic):
    """Takes nothing in some partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.jammed: set[int] = set()
        self.waiting: dict[int, Sequence[ProducerRecord]] = {}
        self.freed = asyncio.Event()
        self.bug: Exception | None = None

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        while partition in self.jammed:
            self.waiting[partition] = records
            await self.freed.wait()
            if self.bug is not None:
                raise self.bug
        return await super().publish(topic, partition, records)


async def test_a_partition_that_takes_nothing(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """The others go on without it, and it has in memory what it was to take, and no more; the log counts as published
    up to there. When it takes something it comes to where they are, without a gap. That is said once each, and is a
    trouble."""
    monkeypatch.setattr(slice_tails, "TAKEN_SECONDS", 0.02)
    caplog.set_level("INFO")
    journal, topic, supervisor = Counted((await journal_with([0]))._store), Jammed(), Supervisor()
    async with tailing(journal, topic, supervisor, SLICES) as tail:
        await until(lambda: tail.published == 1)
        topic.jammed = {1}
        tail.wake(await append(journal, 0, 1, 2))
        await until(lambda: topic.places(2))
        for nr in range(3, 8):
            tail.wake(await append(journal, 0, 1, 2))
            await until(lambda nr=nr: topic.places(2)[-1] == (nr, 2))
        await until(lambda: [7, 1, 7] == [tail.published_of(it) for it in range(SLICES)])
        assert ([], 1) == (topic.places(1), tail.published)
        assert 1 == len(topic.waiting[1])
        assert "order-events-1 takes nothing" in supervisor.troubles["publishing order-1"]
        topic.jammed = set()
        topic.freed.set()
        await until(lambda: tail.published == 7)
        assert {} == supervisor.troubles
        tail.wake(await append(journal, 0, 1, 2))
        await until(lambda: tail.published == 8)
    assert {len(topic.places(slice)) - (slice == 0) for slice in range(SLICES)} == {7}
    assert all(in_chain(topic, slice) for slice in range(SLICES))
    said = [record.getMessage() for record in caplog.records if "order-1" in record.getMessage()]
    assert ["order-events-1 takes nothing: its events wait, and the others of order@0 do not"] == [
        record.getMessage() for record in caplog.records if "takes nothing" in record.getMessage()
    ]
    assert ["order-1 is published to where the others of order@0 are"] == said


async def test_no_partition_takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an outage: a batch is tried now and then, and the log is not read to its end for nobody."""
    monkeypatch.setattr(slice_tails, "TAKEN_SECONDS", 0.05)
    journal, topic = Counted((await journal_with([0], *[[1, 2]] * 400))._store), Jammed()
    topic.jammed = set(range(SLICES))
    async with tailing(journal, topic, Supervisor(), SLICES) as tail:
        await asyncio.sleep(0.3)
        assert max(journal.read) <= 5 + 50 * 7
        topic.jammed = set()
        topic.freed.set()
        await until(lambda: tail.published == 401)
    assert all(in_chain(topic, slice) for slice in range(SLICES))
    assert [1, 400, 400] == [len(topic.places(slice)) for slice in range(SLICES)]


async def test_no_partition_takes_anything_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none whose topic could be looked at meanwhile: the tail waits, and does not begin again over it."""
    monkeypatch.setattr(slice_tails, "TAKEN_SECONDS", 0.02)
    monkeypatch.setattr(tailer, "LOOK_AT_TOPIC_SECONDS", 0.0)
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.01)
    journal, topic = await journal_with([0, 1, 2]), Jammed()
    topic.jammed = set(range(SLICES))
    tail = tail_of(journal, topic, slices=SLICES)
    running = asyncio.create_task(tail.run())
    await asyncio.sleep(0.2)
    assert not running.done()
    topic.jammed = set()
    topic.freed.set()
    await until(lambda: tail.published == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [1] * SLICES == [len(topic.places(slice)) for slice in range(SLICES)]


async def test_a_partition_without_a_leader_when_a_tail_begins() -> None:
    """Where it goes on cannot be seen: the others do, and it does when it has a leader. What was said of the log before
    stays true."""
    journal, topic = await some_published()
    await journal.replace_published(LOG, Published(4, -1))
    del topic.partitions[0][-2:]
    expected = topic.places(1)
    topic.without_leader = {1}
    async with tailing(journal, topic, Supervisor(), SLICES) as tail:
        nr = await append(journal, 0, 1)
        await until(lambda: tail.published_of(0) == nr)
        assert ([(5, 1), (7, 0), (8, 0)], 4, 4) == (topic.places(0)[-3:], tail.published, tail.published_of(1))
        topic.without_leader = set()
        await until(lambda: tail.published == nr)
    assert [*expected, (8, 1)] == topic.places(1)
    assert all(in_chain(topic, slice) for slice in range(SLICES))


async def test_a_slice_that_stands_still_is_no_trouble_of_a_worker_that_has_it_no_more() -> None:
    """Its partition had no leader when the tail began, and has what the log has not; then another worker tails it."""
    journal, topic, supervisor = await journal_with([0, 1]), Topic(), Supervisor()
    position = b"order-1:7:0"
    topic.partitions[1].append((b"1", DATA, [("ce_position", position), ("ce_id", position)]))
    topic.without_leader = {1}
    async with tailing(journal, topic, supervisor, SLICES) as tail:
        await until(lambda: tail.published_of(0) == 1)
        topic.without_leader = set()
        await until(lambda: "tail order-1" in supervisor.troubles)
    assert {} == supervisor.troubles


async def test_what_is_raised_over_a_slice_that_was_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the tail, which begins again: nobody else would miss it. Until it has, it says no more than is out."""
    monkeypatch.setattr(slice_tails, "TAKEN_SECONDS", 0.02)
    journal, topic = await journal_with([0, 1], [0, 1]), Jammed()
    topic.jammed, topic.bug = {1}, ZeroDivisionError()
    tail = tail_of(journal, topic, slices=SLICES)
    running = asyncio.create_task(tail.run())
    await until(lambda: tail.published_of(0) == 2)
    topic.freed.set()
    with pytest.raises(ZeroDivisionError):
        await running
    assert (0, 0) == (tail.published, tail.published_of(1))


async def test_a_tail_that_ends_while_a_partition_takes_nothing() -> None:
    """The next one sends what that partition lacks, and nothing twice to the others."""
    journal, topic = await journal_with(*COMMITS), Jammed()
    topic.jammed = {1}
    async with tailing(journal, topic, Supervisor(), SLICES):
        await until(lambda: topic.places(0))
        await asyncio.sleep(0.01)
    topic.jammed = set()
    await published_until(journal, topic, len(COMMITS))
    other = (await some_published())[1]
    assert [other.places(slice) for slice in range(SLICES)] == [topic.places(slice) for slice in range(SLICES)]


async def test_others_write_to_one_partition() -> None:
    """What others do is counted slice by slice, and the limit names those that it is about."""
    journal, topic = await journal_with([0, 1]), Topic()
    async with tailing(journal, topic, Supervisor(), SLICES) as tail:
        for _ in range(MANY_STRANGE + 1):
            await until(lambda: tail.published == journal._store.log[LOG][-1].nr)
            topic.partitions[1].append((None, b"heartbeat", []))
            tail.wake(await append(journal, 0, 1))
        await until(lambda: tail.limit)
        assert tail.limit.startswith("order-1: others write to order-events, too")


def _are_at(nr: int, *tails: Tail) -> bool:
    return all(tail.published == nr for tail in tails)


async def test_two_tails_of_one_log() -> None:
    """Each event is in its partition twice at most, new ones in order."""
    journal, topic = await journal_with(*COMMITS), Topic()
    async with (
        tailing(journal, topic, Supervisor(), SLICES) as one,
        tailing(journal, topic, Supervisor(), SLICES) as two,
    ):
        for slices in COMMITS * 3:
            nr = await append(journal, *slices)
            for tail in (one, two):
                tail.wake(nr)
            await until(partial(_are_at, nr, one, two))
    for slice in range(SLICES):
        once = list(dict.fromkeys(topic.places(slice)))
        assert (sorted(once), 2) == (once, max(Counter(topic.places(slice)).values()))


# -- what is read at once, and by whom -----------------------------------------------------------------------------


async def test_large_commits_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where commits are large few are read together, and where they are small many."""
    journal = Counted((await journal_with(*[[0, 1]] * 200))._store)
    await published_until(journal, Topic(), 200)
    assert (slice_tails.FIRST_COMMITS, slice_tails.COMMITS_AT_ONCE) == (journal.limits[0], max(journal.limits))
    monkeypatch.setattr(slice_tails, "next_page", lambda size, rows: max(1, 3 * len(DATA) * rows // size))
    large = Counted(journal._store)
    await published_until(large, Topic(), 200)
    assert {slice_tails.FIRST_COMMITS, 1} == {*large.limits, 1}


async def test_seats_without_a_log() -> None:
    """Of a worker's seats those of open logs have a tail, which a hint wakes; another assignment ends it."""
    topic: Any = Topic()
    publication = Publication(
        type="order", topic="order-events", source="/orders", journal=MemoryJournal(),
        layout=Known(first_layout(8, 2)), broker=topic, codec=CODEC,
    )  # fmt: skip
    tailers = Tailers(publication)
    tailers.assign({1, 2, 3})
    assert {1: "order@1"} == {seat: tail.log for seat, tail in tailers.tails.items()}
    assert [1, 3, 5, 7] == [slice.slice for slice in tailers.tails[1].slices]
    await tailers.receive(1, [SimpleNamespace(offset=4, value=b"9")])
    await tailers.receive(2, [SimpleNamespace(offset=7, value=b"9")])
    assert 9 == tailers.tails[1]._hinted
    tailers.assign({0})
    assert ["order@0"] == [tail.log for tail in tailers.tails.values()]
    await tailers.close()

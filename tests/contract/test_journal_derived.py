"""The contract of the journal, continued: what is derived from the log by aggregate, and what is kept beside it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from streams.journal.port import Commit, Journal, Published, RecordedEvent, Snapshot, StoredEvent, log_type
from tests.contract.conftest import Journals, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]


async def test_indexed_events_are_found_by_aggregate(journal: Journal, make_commit: Make, log: str) -> None:
    """The events of an aggregate come back in order, with their place in the log, without those of others."""
    commits = [make_commit(1, event("a", 1), event("b", 1), event("a", 2)), make_commit(2, event("a", 3))]
    assert list(await journal.events(log_type(log), "a")) == []
    await journal.derive(commits)
    assert list(await journal.events(log_type(log), "a")) == [
        StoredEvent(event("a", 1), 1, 0, commits[0].recorded_at),
        StoredEvent(event("a", 2), 1, 2, commits[0].recorded_at),
        StoredEvent(event("a", 3), 2, 0, commits[1].recorded_at),
    ]


async def test_indexing_again_and_in_any_order_changes_nothing(journal: Journal, make_commit: Make, log: str) -> None:
    """A new owner may repeat the work of the old one, newest first."""
    commits = [make_commit(nr, event("a", 2 * nr - 1), event("a", 2 * nr)) for nr in range(1, 31)]
    await journal.derive(commits)
    once = await journal.events(log_type(log), "a")
    await journal.derive(commits[::-1])
    await asyncio.gather(*(journal.derive([commit]) for commit in commits))
    assert await journal.events(log_type(log), "a") == once
    assert [stored.event.sequence for stored in once] == list(range(1, 61))


async def test_a_transactional_append_derives(journals: Journals, make_commit: Make, log: str) -> None:
    """Either rows and snapshots stand there with the commit, or none of them does."""
    type, commit, snapshot = log_type(log), make_commit(1, event("a", 1)), Snapshot("a", 1, 1, 1, b"state")
    rows = [StoredEvent(event("a", 1), 1, 0, commit.recorded_at)]
    for journal in (journals.one, journals.two):
        await journal.append(commit, [snapshot])
        found = list(await journals.two.events(type, "a")), await journals.two.snapshot(type, "a")
        assert ((rows, snapshot) if journals.one.is_transactional else ([], None)) == found


async def test_indexing_mends_what_is_wrong(journal: Journal, make_commit: Make, log: str) -> None:
    """A row with another content than the log's gets the log's, and a row that is missing comes back."""
    type = log_type(log)
    right = [make_commit(nr, event("a", nr, b"right")) for nr in (1, 2, 3)]
    wrong = [make_commit(nr, event("a", nr, b"wrong", type="LineRemoved")) for nr in (1, 2)]
    await journal.derive([*wrong, right[2]])
    whole = list(await journal.events(type, "a"))
    await journal.remove_events(type, whole[2:])
    await journal.derive(right)
    assert [stored.event for stored in await journal.events(type, "a")] == [it.events[0] for it in right]


async def test_indexing_nothing_is_allowed(journal: Journal, make_commit: Make) -> None:
    """No commits, or a commit without events, derive no rows."""
    await journal.derive([])
    await journal.derive([make_commit(1)])


async def test_events_are_read_from_a_sequence_on(journal: Journal, make_commit: Make, log: str) -> None:
    """What a snapshot covers is not read again."""
    await journal.derive([make_commit(1, *(event("a", n) for n in range(1, 11)))])
    read = await journal.events(log_type(log), "a", 8)
    assert [stored.event.sequence for stored in read] == [8, 9, 10]
    assert list(await journal.events(log_type(log), "a", 11)) == []


async def test_aggregates_that_are_read_side_by_side(journal: Journal, make_commit: Make, log: str) -> None:
    """Each has its own rows, be they none, few or many, and its own snapshot, whoever else is read at the same time."""
    type = log_type(log)
    lengths = {f"id-{number}": length for number, length in enumerate([0, 1, 49, 50, 51, 130, *range(30)])}
    await journal.derive(
        [
            make_commit(nr, *(event(id, n) for n in range(1, length + 1)))
            for nr, (id, length) in enumerate(lengths.items(), 1)
        ]
    )
    kept = [Snapshot(id, length, 1, 1, id.encode()) for id, length in lengths.items() if length % 3 == 1]
    await journal.save_snapshots(type, kept)
    twice = [*lengths, *lengths]
    rows = await asyncio.gather(*(journal.events(type, id) for id in twice))
    snapshots = await asyncio.gather(*(journal.snapshot(type, id) for id in twice))
    for id, found, snapshot in zip(twice, rows, snapshots, strict=True):
        assert [event(id, n) for n in range(1, lengths[id] + 1)] == [stored.event for stored in found]
        assert snapshot == next((one for one in kept if one.aggregate_id == id), None)


async def test_events_are_read_up_to_a_sequence(journal: Journal, make_commit: Make, log: str) -> None:
    """Of a long history a part can be had, with the notes beside its events; what is behind it is not read."""
    note = RecordedEvent("a", 5, "", b"", "command-late")
    await journal.derive([make_commit(1, *(event("a", n) for n in range(1, 11))), make_commit(2, note)])
    type = log_type(log)
    for first, last, expected in ((0, 3, [1, 2, 3]), (4, 6, [4, 5, 5, 6]), (9, 99, [9, 10]), (11, 20, []), (3, 2, [])):
        assert expected == [stored.event.sequence for stored in await journal.events(type, "a", first, last)]


async def test_a_long_history_is_read_whole(journal: Journal, make_commit: Make, log: str) -> None:
    """An aggregate of 12,000 events comes back complete and in order."""
    sizes = random.Random(7)
    numbers = iter(range(1, 12_001))
    commits = [
        make_commit(nr, *(event("a", next(numbers), bytes(sizes.randint(1, 300))) for _ in range(400)))
        for nr in range(1, 31)
    ]
    await journal.derive(commits)
    read = await journal.events(log_type(log), "a")
    assert [stored.event for stored in read] == [it for commit in commits for it in commit.events]


async def test_accepted_commands_without_events_are_remembered(journal: Journal, make_commit: Make, log: str) -> None:
    """A row of empty type repeats the sequence, stands behind the event of that sequence, and has no data."""
    early = RecordedEvent("a", 0, "", b"", "command-early")
    late = RecordedEvent("a", 1, "", b"", "command-late")
    await journal.derive([make_commit(1, early, event("a", 1)), make_commit(2, late, event("a", 2))])
    read = await journal.events(log_type(log), "a")
    assert [stored.event for stored in read] == [early, event("a", 1), late, event("a", 2)]
    assert [stored.event for stored in await journal.events(log_type(log), "a", 1)] == [
        event("a", 1),
        late,
        event("a", 2),
    ]


async def test_the_last_snapshot_saved_is_kept(journal: Journal, aggregate: str) -> None:
    """A snapshot takes the place of the one before, for its own aggregate only."""
    old, new = Snapshot(aggregate, 100, 9, 1, b"old"), Snapshot(aggregate, 200, 19, 2, b"\x00" * 50_000)
    other = Snapshot(f"{aggregate}b", 100, 9, 1, b"")
    assert await journal.snapshot("order", aggregate) is None
    await journal.save_snapshots("order", [old, other])
    await journal.save_snapshots("order", [new])
    await journal.save_snapshots("order", [])
    assert await journal.snapshot("order", aggregate) == new
    assert await journal.snapshot("order", other.aggregate_id) == other
    assert await journal.snapshot("product", aggregate) is None


async def test_schemas_are_kept_by_fingerprint(journals: Journals) -> None:
    """Schemas add up, whoever saves them, and saving one again changes nothing."""
    await journals.one.save_schemas({"00000000000000a1": '"int"', "00000000000000a2": '"long"'})
    await journals.two.save_schemas({"00000000000000a2": '"long"', "00000000000000a3": '"string"'})
    assert {
        "00000000000000a1": '"int"',
        "00000000000000a2": '"long"',
        "00000000000000a3": '"string"',
    }.items() <= (await journals.one.schemas()).items()


async def test_what_was_published_is_remembered(journals: Journals, log: str) -> None:
    """A tailer on another worker finds where the last one stood."""
    assert await journals.one.published(log) is None
    await journals.one.save_published(log, Published(3, 17))
    await journals.one.save_published(log, Published(4, -1))
    assert await journals.two.published(log) == Published(4, -1)
    await journals.two.save_published(log, Published(3, 99))  # it comes late
    assert await journals.one.published(log) == Published(4, -1)
    await journals.two.replace_published(log, Published(2, 5))
    assert await journals.one.published(log) == Published(2, 5)
    await journals.one.save_published(log, Published(2, -1))
    assert await journals.two.published(log) == Published(2, -1)


async def test_all_aggregates_are_listed(journals: Journals, make_commit: Make, log: str) -> None:
    """Each aggregate with events or a snapshot is met once, those of another type are not."""
    type = log_type(log)
    await journals.one.derive([make_commit(nr, *(event(f"{nr}/{n}", 1) for n in range(100))) for nr in range(1, 12)])
    await journals.one.derive([make_commit(12, event("1/1", 2))])
    await journals.one.save_snapshots(type, [Snapshot("1/1", 2, 12, 1, b""), Snapshot("alone", 1, 1, 1, b"")])
    listed = [aggregate_id async for aggregate_id in journals.two.aggregate_ids(type)]
    assert sorted(listed) == sorted([*(f"{nr}/{n}" for nr in range(1, 12) for n in range(100)), "alone"])
    assert [id async for id in journals.two.aggregate_ids(f"{type}s")] == []


async def test_what_the_log_contradicts_can_be_removed(journal: Journal, make_commit: Make, log: str) -> None:
    """Only the rows and the snapshot that are named go; removing what is not there is allowed."""
    type = log_type(log)
    await journal.derive([make_commit(1, event("a", 1), event("a", 2), event("b", 1))])
    first, second = await journal.events(type, "a")
    await journal.save_snapshots(type, [Snapshot("a", 2, 1, 1, b"x"), Snapshot("b", 1, 1, 1, b"y")])
    for _ in range(2):
        await journal.remove_events(type, [second])
        await journal.remove_snapshot(type, "a")
    assert list(await journal.events(type, "a")) == [first]
    assert await journal.snapshot(type, "a") is None
    assert len(await journal.events(type, "b")) == 1
    assert await journal.snapshot(type, "b") is not None
    await journal.remove_events(type, [first])
    assert [id async for id in journal.aggregate_ids(type)] == ["b"]

"""Logs are split and merged while commands come: each command has one effect, and no slice two logs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from streams.journal.layout import Layout, first_layout
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Fenced, Snapshot, Unavailable
from streams.ownership.owner import Owner
from tests.unit.streams.ownership.sealing_rig import KEYS, LOGS, SLICES, Rig, Worker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST_PAUSE": 0.001, "LONGEST_PAUSE": 0.01}.items():
        monkeypatch.setattr(f"streams.ownership.owned_log.{name}", seconds)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.journal.create()
    await rig.journal.change_layout("order", first_layout(SLICES, LOGS))
    async with rig.stack:
        yield rig


def layout_of(rig: Rig) -> Layout:
    return rig.store.layouts["order"]


async def some_commits(rig: Rig, log: int, count: int = 10) -> None:
    await rig.until(lambda: len(rig.log(log)) > count)


async def split_up_to_the_seal(rig: Rig, held: HeldJournal) -> None:
    """Log 0 is to be split, and its owner waits for the journal's answer to the seal."""
    held.goes.clear()
    await rig.change(layout_of(rig).split(0, [(3, [0]), (2, [2])]))
    await rig.until(lambda: held.waiting)


async def test_a_split(rig: Rig) -> None:
    """The parts begin behind the seal, at the workers that have their seats; another log notices nothing of it."""
    one, two = await rig.worker("one", 0, 1), await rig.worker("two", 2, 3)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await rig.change(layout_of(rig).split(0, [(0, [0]), (2, [2])]))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    await rig.sent()
    rig.check()
    assert [[1, 2], [3]] == [sorted(worker.ownership.logs) for worker in (one, two)]
    assert all(commit.epoch == 1 for commit in (*rig.log(1), *rig.log(2), *rig.log(3)))


async def test_a_merge(rig: Rig) -> None:
    """The heir begins when both are sealed, behind the higher number."""
    one, two = await rig.worker("one", 0), await rig.worker("two", 1)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await some_commits(rig, 1, 5)
    await rig.change(layout_of(rig).merge([0, 1], 1))
    await some_commits(rig, 2)
    await rig.sent()
    rig.check()
    assert [[], [2]] == [sorted(worker.ownership.logs) for worker in (one, two)]


async def test_again_and_again(rig: Rig) -> None:
    """Split into single slices and merged again, thrice."""
    await rig.worker("one", 0, 1), await rig.worker("two", 2, 3)
    rig.send_for_ever()
    for _ in range(3):
        for number in [span.number for span in layout_of(rig).open]:
            span = layout_of(rig).log(number)
            first, second = span.slices
            free = min({*range(SLICES)} - {log.seat for log in layout_of(rig).logs if log.sealed is None})
            await rig.change(layout_of(rig).split(number, [(span.seat, [first]), (free, [second])]))
            await rig.until(lambda: not layout_of(rig).planned)
        for _ in range(2):
            pair = [span for span in layout_of(rig).open if len(span.slices) == 1][:2]
            await rig.change(layout_of(rig).merge([span.number for span in pair], pair[0].seat))
            await rig.until(lambda: not layout_of(rig).planned)
            await some_commits(rig, len(layout_of(rig).logs) - 1, 3)
    await rig.sent()
    rig.check()
    assert 2 + 3 * (4 + 2) == len(layout_of(rig).logs)


async def test_sealed_and_not_noted(rig: Rig) -> None:
    """The owner seals its log, and dies before the layout says so. Whoever has the seat next notes it."""
    one, two = await rig.worker("one", 0), await rig.worker("two", 1, 2)
    one.fails_to_note = 1_000_000
    rig.send_for_ever()
    await some_commits(rig, 0)
    await rig.change(layout_of(rig).split(0, [(3, [0]), (2, [2])]))
    await rig.until(lambda: rig.log(0)[-1].is_seal)
    assert layout_of(rig).log(0).is_open
    await one.ownership.close()
    two.seats |= {0, 3}
    await two.ownership.assign(two.seats, layout_of(rig))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    await rig.sent()
    rig.check()


async def test_a_seal_that_is_found_is_noted_and_announced(rig: Rig) -> None:
    """Until the journal takes it, and to the end, though the worker itself looks at once, and the log leaves it."""
    one, two = await rig.worker("one", 0), await rig.worker("two", 1)
    await rig.worker("three", 2, 3)
    one.fails_to_note = 1_000_000
    rig.send_for_ever()
    await some_commits(rig, 0)
    await rig.change(layout_of(rig).split(0, [(3, [0]), (2, [2])]))
    await rig.until(lambda: rig.log(0)[-1].is_seal)
    await one.ownership.close()
    rig.announcements.seconds, two.fails_to_note = 0.1, 2
    two.seats |= {0}
    await two.ownership.assign(two.seats, layout_of(rig))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    await rig.sent()
    rig.check()


async def test_a_layout_that_could_not_be_followed_at_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever failed over an announcement, in reading or in doing it, looks again soon, and does it then, though
    somebody else has read it meanwhile."""
    one = await rig.worker("one", 0, 1, 2)
    rig.send_for_ever()
    await some_commits(rig, 0)
    failures, look, assign = ["look", "assign"], one.watch.reader.look, one.ownership.assign

    async def failing_look() -> Layout:
        layout = await look()
        if failures[:1] == ["look"]:
            raise Unavailable(failures.pop(0))
        return layout

    async def failing_assign(*args: Any) -> None:
        if failures[:1] == ["assign"]:
            raise Unavailable(failures.pop(0))
        await assign(*args)

    monkeypatch.setattr(one.watch.reader, "look", failing_look)
    monkeypatch.setattr(one.ownership, "assign", failing_assign)
    await rig.change(layout_of(rig).split(0, [(0, [0]), (2, [2])]))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    await rig.sent()
    rig.check()
    assert not failures


class CountedJournal(MemoryJournal):
    """It remembers which aggregates were loaded."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.loaded: list[str] = []

    async def snapshot(self, type: str, aggregate_id: str) -> Any:
        self.loaded.append(aggregate_id)
        return await super().snapshot(type, aggregate_id)


async def counted(rig: Rig, name: str, *seats: int) -> tuple[Worker, list[str]]:
    """A worker, and the aggregates that it loads."""
    journal = CountedJournal(rig.store)
    worker = Worker(rig, name, journal)
    await worker.start(*seats)
    rig.stack.push_async_callback(worker.stop)
    return worker, journal.loaded


async def test_what_is_known_of_a_log_is_known_of_those_that_go_on_from_it(rig: Rig) -> None:
    """In the same worker nothing is loaded again, after a split, and after a merge whose logs are sealed one after the
    other; in another worker what comes there is."""
    _, loaded = await counted(rig, "one", 0, 1, 2)
    _, elsewhere = await counted(rig, "two", 3)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await some_commits(rig, 1)
    every = sorted(key for keys in KEYS.values() for key in keys)
    await rig.until(lambda: every == sorted(loaded))
    await rig.change(layout_of(rig).split(0, [(3, [0]), (2, [2])]))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    await rig.until(lambda: KEYS[0] == sorted(elsewhere))
    await rig.change(layout_of(rig).merge([1, 3], 1))
    await some_commits(rig, 4)
    await rig.sent()
    rig.check()
    assert (every, KEYS[0]) == (sorted(loaded), sorted(elsewhere))


async def test_what_is_known_of_a_log_that_somebody_has_had_meanwhile(rig: Rig) -> None:
    """Another worker has had the log that goes on: what was known before it is of no account."""
    one, loaded = await counted(rig, "one", 0, 1)
    two = await rig.worker("two", 2)
    rig.send_for_ever()
    await some_commits(rig, 0)
    one.sees_the_topic = False
    await rig.change(layout_of(rig).split(0, [(0, [0]), (2, [2])]))
    await rig.until(lambda: 2 in one.ownership.logs)
    two.seats = {0, 2}
    await two.ownership.assign(two.seats, await two.watch.reader.look())
    await some_commits(rig, 2)
    two.seats = {2}
    await two.ownership.assign(two.seats, layout_of(rig))
    loaded.clear()
    one.sees_the_topic = True
    await some_commits(rig, 2, len(rig.log(2)) + 3)
    await rig.sent()
    rig.check()
    assert KEYS[0] == sorted(loaded)


class LameJournal(MemoryJournal):
    """It derives nothing while it is told so; then no log of its worker can be sealed."""

    lame = False

    async def derive(self, commits: Sequence[Commit]) -> None:
        if self.lame:
            raise Unavailable("rows cannot be written")
        await super().derive(commits)


async def test_a_merge_whose_parent_cannot_be_sealed_is_taken_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slices of the log that is sealed already are served again at once, by a log of their own; the other one goes
    on as it was. When its rows can be written, the same merge goes through."""
    for name, seconds in (("owner.SEAL", 0.05), ("owned_log.WIND_UP", 0.1)):
        monkeypatch.setattr(f"streams.ownership.{name}_SECONDS", seconds)
    monkeypatch.setattr("streams.concurrency.retry.LONGEST_PAUSE", 0.05)
    journal = LameJournal(rig.store)
    one, two = Worker(rig, "one", journal), await rig.worker("two", 1)
    await one.start(0)
    rig.stack.push_async_callback(one.stop)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await some_commits(rig, 1)
    journal.lame = True
    await some_commits(rig, 0, len(rig.log(0)) + 2)
    await rig.change(layout_of(rig).merge([0, 1], 1))
    await rig.until(lambda: layout_of(rig).log(1).sealed is not None)
    await rig.until(lambda: "what its commits cause cannot be written" in str(one.supervisor.troubles))
    await rig.change(layout_of(rig).cancel())
    await some_commits(rig, 3)
    await rig.until(lambda: one.ownership.logs[0].serves)
    before = len(rig.log(0))
    journal.lame = False
    await some_commits(rig, 0, before)
    await rig.change(layout_of(rig).merge([0, 3], 1))
    await some_commits(rig, 4)
    await rig.sent()
    rig.check()
    assert [[], [4]] == [sorted(worker.ownership.logs) for worker in (one, two)]


@pytest.mark.parametrize(("is_heard", "stands"), [(True, False), (True, True), (False, False)])
async def test_taken_back_in_the_middle_of_the_seal(rig: Rig, is_heard: bool, stands: bool) -> None:
    """An owner waits for the journal's answer to its seal, and hears that it need not seal, or does not hear it. If the
    seal stands, the log goes on behind it as another; if not, as itself."""
    held = HeldJournal(rig.store, seals=True, late=stands)
    one = Worker(rig, "one", held)
    await one.start(0, 1, 2)
    rig.stack.push_async_callback(one.stop)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await split_up_to_the_seal(rig, held)
    cancelled = layout_of(rig).cancel()
    if is_heard:
        await rig.change(cancelled)
        await rig.until(lambda: not held.waiting)
    else:
        assert await rig.journal.change_layout("order", cancelled) == cancelled
    count = len(rig.log(0))
    held.goes.set()
    await rig.until(lambda: len(rig.log(0)) > count + 5 or len(rig.log(2)) > 5)
    await rig.sent()
    rig.check()
    assert layout_of(rig).log(0).is_open == (is_heard and not stands)


async def test_a_seal_that_stands_is_noted_without_any_command(rig: Rig) -> None:
    """An owner that need not seal after all does not know whether its seal stands: it begins anew, and meets it, though
    nothing comes for the log. The 85,600th schedule."""
    held = HeldJournal(rig.store, seals=True, late=True)
    one = Worker(rig, "one", held)
    await one.start(0, 1, 2)
    rig.stack.push_async_callback(one.stop)
    await rig.until(lambda: rig.log(0) and rig.log(1))
    await split_up_to_the_seal(rig, held)
    await rig.change(layout_of(rig).cancel())
    await rig.until(lambda: not held.waiting)
    held.goes.set()
    await rig.until(lambda: not layout_of(rig).log(0).is_open)
    await rig.until(lambda: all(rig.log(span.number) for span in layout_of(rig).open))
    rig.check()


class HeldJournal(MemoryJournal):
    """Its appends wait, while it is told so: those of a worker that is paused in the middle of one.

    `seals`: these alone. `late`: they are done before, and their answer waits.
    """

    def __init__(self, store: MemoryStore, seals: bool = False, late: bool = False) -> None:
        super().__init__(store)
        self.goes = asyncio.Event()
        self.goes.set()
        self.waiting = 0
        self._seals, self._late = seals, late

    async def append(self, commit: Commit, snapshots: Sequence[Any] = ()) -> None:
        if self._late and commit.is_seal:
            await super().append(commit, snapshots)
        if commit.is_seal or not self._seals:
            self.waiting += 1
            try:
                await self.goes.wait()
            finally:
                self.waiting -= 1
        await super().append(commit, snapshots)


async def test_an_owner_that_has_not_heard(rig: Rig) -> None:
    """Who is paused in the middle of an append, while another takes over and seals, is refused where that stands."""
    held = HeldJournal(rig.store)
    zombie = Worker(rig, "zombie", held)
    await zombie.start(0)
    rig.stack.push_async_callback(zombie.stop)
    rig.announcements.watches.clear()
    rig.send_for_ever()
    await some_commits(rig, 0)
    held.goes.clear()
    await rig.worker("two", 0, 1, 3)
    await rig.change(layout_of(rig).split(0, [(0, [0]), (3, [2])]))
    await rig.until(lambda: not layout_of(rig).planned)
    [former] = zombie.owners
    assert former.lost is None
    held.goes.set()
    await rig.until(lambda: former.lost is not None)
    assert isinstance(former.lost, Fenced)
    await zombie.ownership.close()
    await some_commits(rig, 2)
    await rig.sent()
    rig.check()


async def test_taken_over_while_it_is_sealed(rig: Rig) -> None:
    """A worker that is given the seat in the middle takes over, and ends the log in its turn: one seal stands there."""
    one, two = await rig.worker("one", 0), await rig.worker("two", 1)
    rig.send_for_ever()
    await some_commits(rig, 0)
    await asyncio.gather(
        rig.change(layout_of(rig).split(0, [(0, [0]), (3, [2])])),
        two.ownership.assign({0, 1, 3}, layout_of(rig)),
    )
    two.seats = {0, 1, 3}
    one.seats = set()
    await rig.until(lambda: not layout_of(rig).planned)
    await one.ownership.assign(set(), layout_of(rig))
    await some_commits(rig, 2)
    await rig.sent()
    rig.check()


async def test_commands_that_wait_are_loaded_while_a_log_begins(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their aggregates are in memory when it takes the first of them, in a worker that has never had them."""

    class Slow(MemoryJournal):
        async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
            await asyncio.sleep(0.05)
            await super().append(commit, snapshots)

    known: dict[str, int] = {}
    taken = Owner.open

    def opened(owner: Owner, source: Any) -> None:
        known.setdefault(owner.log, len(owner.handler.cache))
        taken(owner, source)

    monkeypatch.setattr(Owner, "open", opened)
    await rig.worker("one", 0, 1)
    two = Worker(rig, "two", Slow(rig.store))
    rig.stack.push_async_callback(two.stop)
    await two.start(2, 3)
    rig.send_for_ever()
    await some_commits(rig, 0, 3)
    await rig.change(layout_of(rig).split(0, [(2, [0]), (3, [2])]))
    await some_commits(rig, 2)
    await some_commits(rig, 3)
    assert {"order@0": 0, "order@1": 0} == {log: known.pop(log) for log in ("order@0", "order@1")}
    assert all(known[log] == len(KEYS[slice]) for log, slice in (("order@2", 0), ("order@3", 2)))
    await rig.sent()
    rig.check()

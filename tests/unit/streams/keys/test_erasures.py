"""What the log of subjects orders is done before it is confirmed, as often as it is asked for, and once."""

from __future__ import annotations

import pytest

from aggregates.subject import ErasureOrdered, SubjectForgotten, subject
from streams.aggregate_type import AggregateType
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, JournalMissing, RecordedEvent, SliceHead, Unavailable
from streams.keys.fences import Fences
from streams.keys.memory import MemoryKeyRows
from streams.moments import now
from streams.processes.erasures import Erasures
from streams.settings import Settings
from tests.unit.streams.keys.test_keys import opened, sealed
from tests.unit.streams.keys_world import LossyRows, Workers

CONTEXT = AggregateType("timers", subject, Settings(), "engine")


def ordered(*erasures: tuple[str, int], told: bool = False) -> Commit:
    """A commit that orders erasures, or one that tells of them."""
    kind = SubjectForgotten if told else ErasureOrdered
    rows = [
        RecordedEvent(id, at, kind.__name__, CONTEXT.events.encode(kind(erasure)), f"c{at}", "", "")
        for at, (id, erasure) in enumerate(erasures, 1)
    ]
    return Commit("subject@0", 1, 1, "a", "topic", {0: SliceHead()}, 0, now(), tuple(rows))


class World:
    """The keys of two workers, and what follows the log of subjects."""

    def __init__(self, lose: int = 0) -> None:
        self.workers = Workers()
        self.rows = LossyRows(self.workers.rows, lose)
        self.erasures = Erasures(CONTEXT, MemoryJournal(), lambda: Fences(self.rows))


async def test_the_fence_stands_when_it_returns() -> None:
    """Of one who has a key, and of one who never had any; others keep theirs."""
    world = World()
    it, other = await sealed(world.workers.one), await sealed(world.workers.one, "Eve", "U2")
    await world.erasures.before_sending([ordered(("U1", 1), ("U3", 1)), ordered(("U2", 1), told=True)])
    assert await opened(world.workers.two, it) is None
    assert await opened(world.workers.two, other) == "Eve"
    for id in ("U1", "U3"):
        key = await world.workers.two.look(id)
        assert key is not None
        assert (key.state, key.erasures) == ("erased", 1)


async def test_what_is_done_again_leaves_alone_what_came_after_it() -> None:
    """The next owner of the log repeats an erasure after which the subject was allowed another key: that one lives."""
    world = World()
    await sealed(world.workers.one)
    await world.erasures.before_sending([ordered(("U1", 1))])
    await world.workers.one.allow("U1")
    await world.erasures.before_sending([ordered(("U1", 1))])
    again = await sealed(world.workers.one, "Ada again")
    await world.erasures.before_sending([ordered(("U1", 1))])
    assert await opened(world.workers.two, again) == "Ada again"
    await world.erasures.before_sending([ordered(("U1", 2))])
    assert await opened(world.workers.two, again) is None


@pytest.mark.parametrize("owner_first", [True, False])
async def test_why_is_what_was_said_with_the_order(owner_first: bool) -> None:
    """Whoever is quicker, the owner of the subject or who has ordered it: the fence says why, and since when it stood
    first. An earlier erasure, or one of another's, says nothing more."""
    world = World()
    one = world.workers.one
    await sealed(one)
    if owner_first:
        await world.erasures.before_sending([ordered(("U1", 1))])
    first = await one.erase("U1", "asked for", 1) if not owner_first else await one.look("U1")
    key = await one.erase("U1", "asked for", 1)
    await world.erasures.before_sending([ordered(("U1", 1))])
    assert first is not None
    assert ("erased", "asked for", 1, first.at) == (key.state, key.reason, key.erasures, key.at)
    assert key == await one.look("U1") == await one.erase("U1", "another one's", 1)
    await one.allow("U1", "is back")
    assert ("allowed", "is back") == ((again := await one.erase("U1", "late", 1)).state, again.reason)


@pytest.mark.parametrize("lose", [1, 2, 3])
async def test_answers_that_are_lost_leave_nothing_by_halves(lose: int) -> None:
    """It is asked again until all fences stand, and each was put once."""
    world = World(lose)
    await sealed(world.workers.one)
    for _ in range(lose + 1):
        try:
            await world.erasures.before_sending([ordered(("U1", 1), ("U2", 1))])
        except Unavailable:
            continue
        break
    for id in ("U1", "U2"):
        key = await world.workers.two.look(id)
        assert key is not None
        assert (key.state, key.erasures) == ("erased", 1)


async def test_without_a_store_of_keys_it_waits() -> None:
    """An order that cannot be done yet is asked for again, and the reason is said."""

    class Missing(MemoryKeyRows):
        async def open(self) -> None:
            raise JournalMissing("keyspace shop_keys is missing")

    erasures = Erasures(CONTEXT, MemoryJournal(), lambda: Fences(Missing(), may_create=False))
    with pytest.raises(Unavailable, match="keys of persons: keyspace shop_keys is missing"):
        await erasures.before_sending([ordered(("U1", 1))])
    await erasures.before_sending([ordered(("U1", 1), told=True)])

"""Who is forgotten is out of the memory of all workers within the stated time, and nothing is done by halves."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregates.personal import Erased, Known
from streams.deciding.cache import Aggregate, Budget, Cache
from streams.deciding.decided_group import DecidedGroup
from streams.deciding.messages import Message
from streams.journal.port import Commit
from streams.keys.keys import SWEEPS_A_LEASE
from streams.moments import now
from tests.unit.streams.keys.club import State
from tests.unit.streams.keys.test_sealed_events import CANARY, JOIN, World

LEASE = 0.2
STATED = LEASE * (2 + 1 / SWEEPS_A_LEASE)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose keys have a short lease."""
    found = World(tmp_path / "club")
    found.keys.lease = found.workers.two.lease = LEASE
    return found


async def decided(world: World, *commands: tuple[str, str, str]) -> DecidedGroup:
    """A group that is decided, and not committed yet."""
    first = world.head.slices[0].offset + 1
    messages = [
        Message(0, first + at, id.encode(), data.encode(), [("ce_type", type.encode())], 1.0)
        for at, (id, type, data) in enumerate(commands)
    ]
    return await world.handler.decide_group(messages, world.head)


async def commit(world: World, group: DecidedGroup) -> None:
    world.head = Commit("member@0", group.nr, 1, "a", "topic", group.slices, group.nr - 1, now(), group.events)
    await world.journal.append(world.head)
    await world.journal.derive([world.head])
    world.handler.settle(group.nr)


async def within(seconds: float, is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_new", [True, False], ids=["a new person", "one who has a key"])
async def test_what_is_under_way_while_the_fence_falls_is_erased_with_the_rest(world: World, is_new: bool) -> None:
    """A group was decided, and its events sealed, when another worker puts the fence; then it is committed."""
    if not is_new:
        await world.send(("M1", "Join", JOIN))
    group = await decided(world, ("M1", "Join", JOIN), ("M2", "Join", '{"name": "Eve"}'))
    await world.workers.two.erase("M1")
    await commit(world, group)
    world.keys.drop(["M1", "M2"])
    assert await world.state("M1") == State(Erased())
    assert await world.state("M2") == State(Known("Eve"))


async def test_what_comes_after_the_fence_has_no_effect(world: World) -> None:
    """From the end of the lease on a command that says something of him is rejected, also by an owner that has him in
    memory; what was decided until then is erased with the rest."""
    await world.send(("M1", "Join", JOIN))
    await world.workers.two.erase("M1")
    outcomes: list[tuple[str, str]] = []
    async with asyncio.timeout(5):
        while ("rejected", "SubjectErased") not in outcomes:
            outcomes += await world.send(("M1", "Join", JOIN))
            await asyncio.sleep(0.02)
    said = len(outcomes)
    outcomes += await world.send(("M1", "Join", JOIN))
    assert {("rejected", "SubjectErased")} == {*outcomes[said - 1 :]}
    rows = await world.journal.events("member", "M1")
    assert len(rows) == 1 + outcomes.count(("accepted", ""))
    assert await world.state("M1") == State(Erased())


async def test_what_was_open_is_out_of_memory_in_time(world: World) -> None:
    """No object of an owner, its cache or its keys has the name, although nobody asks for it any more."""
    await world.send(("M1", "Join", JOIN))
    assert _holders()
    await world.workers.two.erase("M1")
    budget = world.handler.cache._budget

    def is_gone() -> bool:
        budget.expire()
        world.keys.expire()
        return "M1" not in world.handler.cache and not world.keys.held and not _holders()

    await within(STATED + 1, is_gone)
    assert (0, 0) == (len(world.handler.cache), world.handler.cache.weight)


def _holders() -> list[Known[str]]:
    gc.collect()
    found = [it for it in gc.get_objects() if type(it) is Known or isinstance(it, State | Aggregate)]
    opened = [it.state.name if isinstance(it, Aggregate) else it.name if isinstance(it, State) else it for it in found]
    return [it for it in opened if type(it) is Known and it.is_open and it.value == CANARY]


async def test_one_who_is_used_all_the_time_is_opened_anew(world: World) -> None:
    """An aggregate whose commands never cease is loaded again after the lease, and then has no name any more."""
    await world.send(("M1", "Join", JOIN))
    await world.workers.two.erase("M1")

    async def name() -> object:
        await world.send(("M1", "Greet", "{}"))
        aggregate = world.handler.cache.take("M1")
        if aggregate is None:  # its time was over just now
            return None
        world.handler.cache.put("M1", aggregate)
        return aggregate.state.name

    async with asyncio.timeout(STATED + 2):
        while await name() != Erased():
            await asyncio.sleep(0.02)


def test_what_could_not_be_loaded_again_is_kept() -> None:
    """Until its newest events are indexed; and an aggregate without a lease for ever."""
    budget = Budget(10**6)
    cache, derived = Cache(budget), 0
    cache.follow(lambda: derived)
    cache.put("old", Aggregate(State(), nr=3, open_until=0.0))
    cache.put("other", Aggregate(State(), nr=3))
    budget.expire()
    assert cache.take("old") is not None
    cache.put("old", Aggregate(State(), nr=3, open_until=0.0))
    derived = 3
    budget.expire()
    assert cache.take("old") is None
    assert cache.take("other") is not None
    cache.put("old", Aggregate(State(), nr=3, open_until=0.0))
    assert cache.take("old") is None, "whoever takes it looks, too"
    assert cache.weight == 0

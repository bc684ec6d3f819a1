"""One slice of a log has an event that this code cannot read yet: its commands wait, and those of the others do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.deciding.messages import Message
from streams.journal.port import SliceHead
from streams.ownership import held_slices
from tests.owners import RunningOwner
from tests.unit.streams.ownership.owner_bench import LINE, OPEN, Moody, Sent
from tests.unit.streams.ownership.test_owner_of_slices import KEYS, Slices
from tests.unit.until import until

WAITS = "order-1"
"""By the name of its stream."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_slices, "AGAIN_SECONDS", 0.02)


@pytest.fixture
async def it() -> AsyncIterator[Slices]:
    slices = Slices()
    yield slices
    await slices.close()


async def opened(it: Slices) -> tuple[RunningOwner, Moody, Sent]:
    """A new owner, with an order of each key that newer code has written in slice 1."""
    owner, _, sent = await it.owner()
    for slice, keys in KEYS.items():
        await owner.deliver(slice, [it.put(slice, "OpenOrder", OPEN, key) for key in keys])
    await until(lambda: len(sent.replied) == 6)
    await owner.close()
    owner, journal, sent = await it.owner()
    journal.newer = {KEYS[1][0]}
    return owner, journal, sent


def lines(it: Slices, slice: int, *keys: int) -> list[Message]:
    """A line for each of these keys of a slice, by index."""
    return [it.put(slice, "AddLine", LINE, KEYS[slice][key]) for key in keys]


def ids(sent: Sent) -> list[str]:
    return [reply["command_id"] for reply in sent.replied]


async def test_its_commands_wait_and_the_others_go_on(it: Slices, caplog: pytest.LogCaptureFixture) -> None:
    """What comes before in the slice is decided; from the first that cannot be, all wait, in the topic alone. Then the
    slice is read again from there, and each has its one effect, in order. It is said once that it waits, and once that
    it does no more."""
    caplog.set_level(logging.INFO)
    owner, journal, sent = await opened(it)
    waiting = lines(it, 1, 1, 0, 2, 1)
    await owner.deliver(1, waiting)
    await owner.deliver(6, lines(it, 6, 0, 1))
    await until(lambda: len(sent.replied) == 3)
    assert {"1/3", "6/3", "6/4"} == set(ids(sent))
    assert {1: 4, 6: 5} == owner.covered == owner.next_offsets
    assert [("hold", 1, None)] == owner.source.told
    await owner.deliver(1, lines(it, 1, 0))  # had been fetched before
    assert (0, 0) == owner.queued
    assert {1: owner.held.reasons[1]} == owner.held.reasons
    assert "deploy the version that knows it" in it.supervisor.troubles[WAITS]
    await asyncio.sleep(0.1)
    await owner.deliver(6, lines(it, 6, 2))
    await until(lambda: len(sent.replied) == 4)

    journal.newer.clear()
    await until(lambda: not owner.held.slices)
    assert [("hold", 1, None), ("go on", 1, 4)] == owner.source.told
    assert {} == it.supervisor.troubles
    await owner.deliver(1, [*waiting[1:], *lines(it, 1, 2)])
    await until(lambda: len(sent.replied) == 8)
    assert ["1/3", "1/4", "1/5", "1/6", "1/8"] == [id for id in ids(sent) if id.startswith("1/")]
    assert {"accepted"} == {reply["status"] for reply in sent.replied}
    assert [2, 3] == [reply["aggregate"]["sequence"] for reply in sent.replied if reply["command_id"] in ("1/3", "1/6")]
    said = [record.message for record in caplog.records if record.message.startswith(WAITS)]
    assert 2 == len(said)
    assert said[0].startswith("order-1 waits, and is tried again by itself: an event that this version cannot read")
    assert "order-1 waits no more" == said[1]


async def test_all_of_a_group_waits(it: Slices) -> None:
    """A group of which nothing can be decided is no commit."""
    owner, _, sent = await opened(it)
    head = owner.head
    await owner.deliver(1, lines(it, 1, 0, 1))
    await until(lambda: bool(owner.held.slices))
    assert (head, []) == (owner.head, sent.replied)


async def test_a_group_that_is_cut_short(it: Slices) -> None:
    """What the commit had no room for comes first in the next one, but not what waits."""
    owner, _, sent = await opened(it)
    many = [command for _ in range(40) for command in lines(it, 6, 0, 1)]
    await owner.deliver(1, lines(it, 1, 0))
    await owner.deliver(6, many[:30])
    await owner.deliver(1, lines(it, 1, 2))
    await owner.deliver(6, many[30:])
    await until(lambda: len(sent.replied) == 80)
    assert [f"6/{offset}" for offset in range(3, 83)] == ids(sent)
    assert {1: 3, 6: 83} == owner.covered


async def test_a_delivery_that_waits_for_room(it: Slices) -> None:
    """What is on its way into the queue when its slice is held is left out, also when the slice goes on meanwhile."""
    owner, journal, sent = await opened(it)
    tried, go = asyncio.Event(), asyncio.Event()

    async def hold(commit: Any) -> None:
        tried.set()
        await go.wait()

    journal.on_append = hold
    await owner.deliver(6, lines(it, 6, 0))
    await tried.wait()
    waiting = lines(it, 1, 0)
    await owner.deliver(1, waiting)
    on_its_way = asyncio.create_task(owner.deliver(1, lines(it, 1, *[1] * 70)))
    await asyncio.sleep(0.01)
    assert not on_its_way.done()
    go.set()
    await on_its_way
    await until(lambda: bool(owner.held.slices))
    journal.newer.clear()
    await until(lambda: not owner.held.slices)
    assert [("hold", 1, None), ("go on", 1, 3)] == owner.source.told
    assert (0, 0) == owner.queued
    await owner.deliver(1, waiting)
    await until(lambda: len(sent.replied) == 2)
    assert (4, []) == (owner.next_offsets[1], it.lost)


@pytest.mark.parametrize("ends", ["suspended", "closed", "fenced", "sealed"])
async def test_it_ends_with_the_owner(it: Slices, ends: str) -> None:
    """Whoever owns the slice next begins with the command that waits, and finds the reason anew."""
    owner, journal, _ = await opened(it)
    waiting = lines(it, 1, 0, 1)
    await owner.deliver(1, waiting)
    await until(lambda: bool(owner.held.slices))
    if ends == "suspended":
        await owner.suspend(1)
        owner.resume()
    elif ends == "closed":
        await owner.close()
    elif ends == "fenced":
        await it.owner()
        await owner.deliver(6, lines(it, 6, 0))
        await until(lambda: bool(it.lost))
    else:
        await owner.suspend(1)
        await owner.seal()
        assert {1: SliceHead(2, 2), 6: SliceHead(2, it.log[-1].slices[6].eventful_nr)} == it.log[-1].slices
        assert it.log[-1].is_seal
    assert ({}, []) == (it.supervisor.troubles, list(owner.held.slices))
    assert 3 == owner.covered[1]
    if ends == "sealed":
        return
    new, newer, sent = (owner, journal, None) if ends == "suspended" else await it.owner()
    newer.newer = {KEYS[1][0]}
    await new.deliver(1, waiting)
    await until(lambda: bool(new.held.slices))
    assert WAITS in it.supervisor.troubles
    assert sent is None or not sent.replied
    await asyncio.sleep(0.05)
    assert 1 == sum(told[0] == "hold" for told in new.source.told) - (ends == "suspended")


async def test_another_reason_is_the_owners(it: Slices) -> None:
    """Where looking raises something else, the commands come again, and their owner meets it."""
    owner, journal, sent = await opened(it)
    waiting = lines(it, 1, 0)
    await owner.deliver(1, waiting)
    await until(lambda: bool(owner.held.slices))
    journal.newer.clear()
    look = owner.handler.look

    async def broken(aggregate_id: str) -> Any:
        raise ZeroDivisionError

    owner.handler.look = broken  # type: ignore[method-assign]
    await until(lambda: not owner.held.slices)
    owner.handler.look = look  # type: ignore[method-assign]
    await owner.deliver(1, waiting)
    await until(lambda: len(sent.replied) == 1)

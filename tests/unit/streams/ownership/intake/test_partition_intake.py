"""The ways of several slices into one queue: it is bounded for all of them together, and none is left standing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from streams.concurrency.tasks import cancel
from streams.deciding.messages import Message
from streams.limits import Limits
from streams.ownership.intake import partition_intake
from streams.ownership.intake.command_queue import CommandQueue
from streams.ownership.intake.partition_intake import PartitionIntake
from tests.command_log import Topic

LIMITS = Limits(group_commands=50, group_linger=0)


def messages(slice: int, start: int, end: int) -> list[Message]:
    return [Message(slice, offset, b"a", b"{}", (), 1.0) for offset in range(start, end)]


async def settle() -> None:
    """Let every task do what it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Rig:
    """One queue, and the intakes of some slices."""

    def __init__(self, slices: int) -> None:
        self.queue = CommandQueue(LIMITS)
        self.queue.open()
        self.intakes = [PartitionIntake("order@0", slice, Topic(), self.queue) for slice in range(slices)]
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, slice: int, count: int) -> asyncio.Task[None]:
        """A fetch of so many messages of a slice is on its way."""
        start = self.intakes[slice].next_offset
        task = asyncio.create_task(self.intakes[slice].deliver(messages(slice, start, start + count)))
        self.tasks.append(task)
        await settle()
        return task

    async def group(self) -> Sequence[Message]:
        """What the owner takes next."""
        group = await self.queue.group()
        await settle()
        return group


async def test_one_alone_fills_the_queue() -> None:
    """A slice to which all comes has whole groups, one behind the other, in order."""
    rig = Rig(8)
    task = await rig.send(0, 500)
    groups = [await rig.group() for _ in range(10)]
    assert [50] * 10 == [len(group) for group in groups]
    assert list(range(500)) == [message.offset for group in groups for message in group]
    assert task.done()


async def test_a_flood_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that wait each has a turn of some messages, in the order in which they came."""
    monkeypatch.setattr(partition_intake, "MESSAGES_A_TURN", 10)
    rig = Rig(8)
    for slice in range(6):
        await rig.send(slice, 100_000)
    quiet = [await rig.send(slice, 3) for slice in (6, 7)]
    assert 50 == len(rig.queue)
    taken: Counter[int] = Counter()
    for _ in range(3):
        taken.update(message.partition for message in await rig.group())
    assert all(task.done() for task in quiet)
    assert (3, 3) == (taken[6], taken[7])
    for _ in range(40):
        taken.update(message.partition for message in await rig.group())
    flooded = [taken[slice] for slice in range(6)]
    assert max(flooded) - min(flooded) <= 50 + 10, "but for the first queue and turn all have the same"
    assert 50 >= len(rig.queue)
    for task in rig.tasks:
        await cancel(task)


async def test_closed_while_they_wait() -> None:
    """All of them are released, what is left is left out, and when it is opened again nobody stands in the way."""
    rig = Rig(3)
    for slice in range(3):
        await rig.send(slice, 200)
    rig.queue.close()
    await settle()
    assert all(task.done() for task in rig.tasks)
    assert 0 == len(rig.queue)
    rig.queue.open()
    await rig.send(2, 5)
    assert [2] * 5 == [message.partition for message in await rig.group()]


async def test_one_that_is_cancelled_has_no_turn_any_more() -> None:
    """Those behind it go on."""
    rig = Rig(2)
    first = await rig.send(0, 200)
    await rig.send(1, 3)
    await cancel(first)
    await rig.group()
    assert [1] * 3 == [message.partition for message in await rig.group()]

"""A worker that has died is taken out of the group by those who watch it; one that is only slow is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from yarl import URL

from streams.concurrency.supervisor import Supervisor
from streams.membership import peers
from streams.membership.group import Member
from streams.membership.peers import Peers

SECONDS = 5.0


class RecordedGroup:
    """A group of these members; it remembers who was taken out of it."""

    def __init__(self, **members: int) -> None:
        self.present = [Member(name, URL(f"http://127.0.0.1:{port}")) for name, port in members.items()]
        self.removed: list[str] = []

    async def members(self) -> Sequence[Member]:
        return self.present

    async def remove(self, member_id: str) -> None:
        self.removed.append(member_id)


class Listener:
    """A process that listens, as far as others can see."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0
        self.accepted = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.connections.append(writer)

    def hang_up(self) -> None:
        """Close the connections alone, as a server does with those that are idle."""
        for writer in self.connections:
            writer.close()
        self.connections.clear()

    def die(self) -> None:
        """Close everything, as the kernel does for a process that is killed."""
        self._server.close()
        self.hang_up()


@pytest.fixture
async def other() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.start()
    yield listener
    listener.die()


@pytest.fixture
def watching() -> Callable[[RecordedGroup], Peers]:
    return lambda group: Peers(group, Supervisor())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_dead_worker(other: Listener, watching: Callable[[RecordedGroup], Peers]) -> None:
    """It is taken out of the group as soon as its port refuses, once."""
    group = RecordedGroup(me=1, other=other.port)
    watched = watching(group)
    await watched.follow("me")
    await until(lambda: other.accepted == 1)
    other.die()
    await until(lambda: group.removed == ["other"])
    await watched.close()
    assert group.removed == ["other"]


async def test_a_worker_that_hangs_up(other: Listener, watching: Callable[[RecordedGroup], Peers]) -> None:
    """A server closes connections that stand idle: it is there all the same, and is connected to again."""
    group = RecordedGroup(other=other.port)
    watched = watching(group)
    await watched.follow("me")
    for times in range(1, 5):
        await until(lambda times=times: other.accepted == times)  # type: ignore[misc]
        other.hang_up()
    await until(lambda: other.accepted == 5)
    await watched.close()
    assert group.removed == []


async def test_a_worker_that_does_nothing(watching: Callable[[RecordedGroup], Peers]) -> None:
    """A process that is stopped, or has no turn, accepts nothing; its port takes connections until its queue is full,
    and refuses none."""
    with socket.socket() as stopped:
        stopped.bind(("127.0.0.1", 0))
        stopped.listen(0)
        group = RecordedGroup(other=stopped.getsockname()[1])
        watched = [watching(group) for _ in range(4)]  # the first ones fill the queue
        for each in watched:
            await each.follow("me")
        await asyncio.sleep(4 * peers.REFUSALS * peers.AGAIN_SECONDS)
        for each in watched:
            await each.close()
    assert group.removed == []


async def test_a_worker_that_never_listened(watching: Callable[[RecordedGroup], Peers]) -> None:
    """It may have no web port at all, or not yet: its port says nothing of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = RecordedGroup(other=port)
    watched = watching(group)
    await watched.follow("me")
    await asyncio.sleep(4 * peers.REFUSALS * peers.AGAIN_SECONDS)
    await watched.close()
    assert group.removed == []


async def test_a_rebalance_between(other: Listener, watching: Callable[[RecordedGroup], Peers]) -> None:
    """Whoever stays in the group is watched on by the same connection; whoever has left it, not any more."""
    group = RecordedGroup(other=other.port)
    watched = watching(group)
    await watched.follow("me")
    await until(lambda: other.accepted == 1)
    await watched.follow("me")
    assert other.accepted == 1
    group.present = []
    await watched.follow("me")
    other.die()
    await asyncio.sleep(4 * peers.REFUSALS * peers.AGAIN_SECONDS)
    assert group.removed == []
    await watched.close()


async def test_a_broker_that_does_not_answer(other: Listener) -> None:
    """The removal is tried once: the session ends the membership anyway. Nothing is in trouble for that."""

    class Unreachable(RecordedGroup):
        async def remove(self, member_id: str) -> None:
            await super().remove(member_id)
            raise OSError("no broker")

    group, supervisor = Unreachable(other=other.port), Supervisor()
    watched = Peers(group, supervisor)
    await watched.follow("me")
    await until(lambda: other.accepted == 1)
    other.die()
    await until(lambda: group.removed == ["other"])
    await watched.close()
    assert supervisor.troubles == {}

"""A consumer group as Faust drives it: eager rebalances, sessions that expire, committed offsets that lag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from faust.types import TP

from streams.membership.seats import spread
from streams.runtime.application import HEARTBEAT_SECONDS, SESSION_SECONDS
from streams.runtime.partition_pump import PartitionPump
from tests.simulation.kafka import Record
from tests.simulation.topics import LOGS_TOPIC
from tests.simulation.wire import read

if TYPE_CHECKING:
    from tests.simulation.world import World

REBALANCE_SECONDS = 60.0
STAYS = 0.7
"""The share of rebalances in which logs stay where they are, if they can."""
COMMIT_SECONDS = 2.8
FETCH = 5

Place = tuple[str, int]
"""A topic and a partition."""


class Group:
    """The coordinator. All its methods run at the broker. Partitions that are `seats` of logs are placed as the product
    does it, others anyhow."""

    def __init__(self, world: World, name: str, partitions: int, seats: bool = False) -> None:
        self.generation = 0
        self.committed: dict[Place, int] = {}
        self.owners: dict[int, str] = {}
        self.unheard: set[str] = set()
        self._world = world
        self._name = name
        self._partitions = partitions
        self.seats = seats
        self._seen: dict[str, float] = {}
        self._joining: dict[str, asyncio.Future[tuple[int, list[int]]]] = {}
        self._since: float | None = None
        self._tick()

    def join(self, member: str, answer: asyncio.Future[tuple[int, list[int]]]) -> None:
        self._seen[member] = self._world.loop.time()
        self._joining[member] = answer
        self.rebalance()
        self._complete()

    def leave(self, member: str) -> None:
        if self._seen.pop(member, None) is not None:
            self._joining.pop(member, None)
            self.rebalance()
            self._complete()

    def heartbeat(self, member: str, generation: int) -> bool:
        """Whether the member is to go on as it is."""
        if member in self.unheard:
            return True  # it does not know yet that nobody hears it
        if member not in self._seen:
            return False
        self._seen[member] = self._world.loop.time()
        return self._since is None and generation == self.generation

    def commit(self, member: str, generation: int, offsets: dict[Place, int]) -> None:
        if member in self._seen and generation == self.generation:
            self.committed.update(offsets)

    def rebalance(self) -> None:
        """Have all members join again."""
        if self._since is None:
            self._since = self._world.loop.time()

    def _tick(self) -> None:
        now = self._world.loop.time()
        late = self._since is not None and now - self._since > REBALANCE_SECONDS
        for member, seen in list(self._seen.items()):
            if member not in self._joining and (late or now - seen > SESSION_SECONDS):
                self._world.note("expired", member)
                self.leave(member)
        self._complete()
        self._world.loop.outside(0.5, self._tick)

    def _complete(self) -> None:
        if self._since is None or not self._joining or len(self._joining) < len(self._seen):
            return
        self._since = None
        self.generation += 1
        members = list(self._joining)
        self._world.random.shuffle(members)
        self.owners = self._seated(members) if self.seats else self._shared(members)
        self._world.note("assigned", self._name, self.generation, *(f"{p}:{m}" for p, m in self.owners.items()))
        self._world.faults.assigned()
        answers, self._joining = self._joining, {}
        for member, answer in answers.items():
            mine = [p for p, owner in self.owners.items() if owner == member]
            self._world.loop.outside(self._world.network.one_way(), _settle, answer, (self.generation, mine))

    def _shared(self, members: Sequence[str]) -> dict[int, str]:
        return {p: members[p % len(members)] for p in range(self._partitions)}

    def _seated(self, members: Sequence[str]) -> dict[int, str]:
        """Mostly as before, as far as can be; now and then nobody knows what was before."""
        world = self._world
        known = self.owners if world.random.random() < STAYS else self._shared(members)
        before = {(LOGS_TOPIC, seat): member for seat, member in known.items()}
        used = set(world.layout.seats)
        placed = {}
        for seats in (used, set(range(self._partitions)) - used):
            placed |= spread({LOGS_TOPIC: seats}, {LOGS_TOPIC: members}, before)
        return {seat: member for (_, seat), member in placed.items()}


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


class Receiver(Protocol):
    """As `streams.runtime.partition_pump.RecordHandler`, with the records of this world."""

    async def receive(self, partition: int, records: Sequence[Record]) -> None: ...

    def covered(self, partition: int) -> int | None: ...


@dataclass(eq=False)
class Consumer:
    """A member of a group, in a worker. The callbacks are what `streams/runtime` makes of Faust's. Records go in
    batches to a `receiver`; without one nothing is read, and the partitions are seats of logs."""

    world: World
    group: Group
    name: str
    topics: tuple[str, ...]
    revoke: Callable[[], Awaitable[None]]
    assign: Callable[[list[int]], Awaitable[None]]
    receiver: Receiver | None = None
    generation: int = 0
    assigned: list[int] = field(default_factory=list)
    _heartbeat: float = -1.0
    _flowing: int = 0
    _joining: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _fetches: dict[Place, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._handover = PartitionPump(self._receive, self._failed)

    async def _receive(self, tp: TP, records: Sequence[Any]) -> None:
        assert self.receiver is not None
        await self.receiver.receive(tp.partition, records)

    async def _failed(self, error: Exception) -> None:
        self.world.checks.fail("crash", f"{self.name}: {error!r}")

    async def run(self) -> None:
        """Be a member for ever."""
        tasks = [asyncio.create_task(task) for task in (self._heartbeats(), self._commits())]
        try:
            while True:
                await self._let_go()
                self._changed.clear()
                answer: asyncio.Future[tuple[int, list[int]]] = self.world.loop.create_future()
                self.world.loop.outside(self.world.network.one_way(), self.group.join, self.name, answer)
                self._joining = True
                self.generation, self.assigned = await answer
                self._joining = False
                await self._before_start()
                await self._start()
                await self._changed.wait()
        finally:
            for task in tasks:
                task.cancel()

    async def _before_start(self) -> None:
        """Assignments that come twice, or empty, or while the one before is not done with yet."""
        if not self.group.seats:
            return
        match self.world.faults.again():
            case "twice":
                await self.assign(self.assigned)
            case "empty":
                await self.assign([])
            case "overtaken":
                first = asyncio.create_task(self.assign(self.assigned))
                await asyncio.sleep(self.world.random.choice((0.0, 0.005, 0.1)))
                await self._let_go()
                await first

    async def leave(self) -> None:
        """Be no member any more."""
        self._flowing = 0
        self.world.loop.outside(self.world.network.one_way(), self.group.leave, self.name)

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            generation, sent = self.generation, self.world.loop.time()
            fine = await self.world.network.ask("group", partial(self.group.heartbeat, self.name, generation))
            if not fine and not self._joining and generation == self.generation:
                self._changed.set()
            if fine and self.name not in self.group.unheard:
                self._heartbeat = sent

    async def confirmed(self) -> None:
        """Return when the group has answered a heartbeat sent from now on."""
        now = self.world.loop.time()
        while self._heartbeat <= now:
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _commits(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        covered = {}
        if self.receiver is not None:
            for topic, partition in [(topic, p) for topic in self.topics for p in self.assigned]:
                if offset := self.receiver.covered(partition):
                    covered[topic, partition] = offset
        if covered and self.world.random.random() >= self.world.faults.commits_lost:
            commit = partial(self.group.commit, self.name, self.generation, covered)
            await self.world.network.ask("group", commit)

    async def _let_go(self) -> None:
        await self.revoke()
        await self._handover.drop()
        self._flowing = 0
        await self._commit()

    async def _start(self) -> None:
        await self.assign(self.assigned)
        if self.receiver is None:
            return
        places = [(topic, partition) for topic in self.topics for partition in self.assigned]
        committed = await self.world.network.ask("group", lambda: dict(self.group.committed))
        starts = {place: committed.get(place, 0) for place in places}
        self._flowing = self.generation
        for (topic, partition), start in starts.items():
            self._begin(topic, partition, start)

    def _begin(self, topic: str, partition: int, start: int) -> None:
        former = self._fetches.pop((topic, partition), None)
        if former is not None:
            former.cancel()
        self._fetches[topic, partition] = asyncio.create_task(self._fetch(topic, partition, start, self.generation))

    async def _fetch(self, topic: str, partition: int, position: int, generation: int) -> None:
        """Deliver from `position` on, until the next rebalance; sometimes again what was, sometimes not all."""
        world = self.world
        incarnation = world.kafka.topics.get(topic)
        if incarnation is None:
            return
        log = incarnation.partitions[partition]
        while self._flowing == generation:
            if position <= log.last_message:
                position = max(0, min(position + world.faults.slip(topic), log.last_message))
            else:
                arrival: asyncio.Future[None] = world.loop.create_future()
                log.waiting.append(arrival)
                await arrival
                continue
            # What is deleted cannot be read, whoever still has a place in it.
            if world.kafka.topics.get(topic) is not incarnation:
                return
            found = read(topic, partition, await world.network.ask("group", partial(log.after, position, FETCH)))
            if self._flowing != generation:
                return
            if found:
                await self._hand_over(TP(topic, partition), found)
            position = found[-1].offset + 1 if found else min(position + FETCH, len(log.records))

    async def _hand_over(self, tp: TP, records: Sequence[Any]) -> None:
        """Hand over a batch; returns when the next one may be read."""
        self._handover.put(tp, records)
        while tp in self._handover.full:
            self._handover.freed.clear()
            await self._handover.freed.wait()

"""Projection workers, wired as `ReadSide` wires them; what it does without Faust is called as it stands there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from projections.app import ReadSide
from projections.applying.control import Control
from projections.applying.dead_letters import ProjectionDeadLetters
from projections.applying.event_reader import EventReader
from projections.applying.projection_group import ProjectionGroup
from projections.http.problems import NotNow
from projections.publishing.heads import Heads
from projections.publishing.publication import Publication
from projections.publishing.tail_assignment import Tailers
from projections.publishing.type_logs import TypeLogs
from projections.routing.cutover import Cutover
from projections.stores.declaration import NO_INDEXES, Indexes, ReadModelRows, Table
from projections.stores.rows import Rows
from streams.concurrency.tasks import cancel
from streams.journal.layout_follower import LayoutFollower
from streams.journal.slice_log import LayoutReader
from tests.simulation.account import EVENTS, KEPT, TYPE
from tests.simulation.disk import Disk, SimulatedRows
from tests.simulation.feed import SimulatedFeed
from tests.simulation.group import Consumer
from tests.simulation.kafka import SimulatedBroker
from tests.simulation.kept import WatchedSupervisor
from tests.simulation.read_model import NetworkedRows
from tests.simulation.topics import CHANGELOG, COMMITS_TOPIC, CONTROL_TOPIC, EVENTS_TOPIC, PROJECTION_LETTERS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.world import World

START_AGAIN_SECONDS = 1.0
INDEXES = {it.name: it.how for it in KEPT if isinstance(it.how, Indexes) and it.how != NO_INDEXES}


class _Hints:
    """Hands hints to the tails. Here the group brings them, and old ones again: more than happens to a consumer that
    reads from the end of their topic on."""

    def __init__(self, tailers: Tailers) -> None:
        self._tailers = tailers
        self._covered: dict[int, int] = {}

    async def receive(self, partition: int, records: Sequence[Any]) -> None:
        self._covered[partition] = records[-1].offset + 1
        await self._tailers.receive(partition, records)

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)


class ProjectionWorker:
    """Tails the journal and keeps the tables of what its group gives it."""

    def __init__(self, world: World, name: str, disk: Disk) -> None:
        self._world = world
        journal = world.journal()
        broker = SimulatedBroker(world, world.shape.partitions, lambda: world.faults.sending(name))
        feed = SimulatedFeed(world)
        self.name = name
        self.here: list[int] = []
        self.ready = False
        rows = SimulatedRows(world, CHANGELOG, broker, INDEXES, disk)
        self.local = {TYPE: rows}
        self.shared = NetworkedRows(world, world.read_model)
        self.supervisor = WatchedSupervisor(world)
        self._layout = LayoutReader(journal, TYPE)
        self.layouts = {TYPE: self._layout}
        logs = TypeLogs(journal, TYPE, self._layout, Heads({TYPE: journal}, self.layouts))
        publication = Publication(
            type=TYPE, topic=EVENTS_TOPIC, source="/accounts", journal=journal, layout=self._layout, broker=broker,
            codec=EVENTS, supervisor=self.supervisor, hints=COMMITS_TOPIC,
        )  # fmt: skip
        self._tailers = Tailers(publication)
        self.control = Control(CONTROL_TOPIC, feed, broker, self.supervisor)
        self.source = ProjectionGroup(
            TYPE,
            EVENTS_TOPIC,
            KEPT,
            rows_of=self._rows_of,
            here=lambda kept: self.here,
            control=self.control,
            feed=feed,
            reader=EventReader(EVENTS, journal, logs, "/accounts"),
            dead_letters=ProjectionDeadLetters(PROJECTION_LETTERS_TOPIC, broker),
            at_once=asyncio.Semaphore(world.shape.catch_ups),
        )
        self.sources = {TYPE: self.source}
        self.doors = SimulatedDoors(world, self)
        self.switching = Cutover(self.sources, self.control, self.doors, self._confirmed)  # type: ignore[arg-type]
        self._changed = asyncio.Event()
        self.control.changed = self._changed.set
        self._resuming: asyncio.Task[None] | None = None
        self.consumer = Consumer(
            world,
            world.projection_group,
            name,
            (COMMITS_TOPIC,),
            self._revoke,
            self._assign,
            receiver=_Hints(self._tailers),
        )

    async def _confirmed(self) -> None:
        await self.consumer.confirmed()

    def _rows_of(self, kept: Table) -> Rows:
        return self.shared if isinstance(kept.how, ReadModelRows) else self.local[TYPE]

    async def main(self) -> None:
        """Serve for ever."""
        side: Any = self
        await self._start()
        keep = self.supervisor.keep
        tasks = [
            keep("following what was ordered", lambda: ReadSide._follow_orders(side)),
            keep("looking whether tables are complete", self.switching.run),
            keep("looking whether logs were split or merged", LayoutFollower(self._layout).follow),
            keep("the logs that are published", self._tailers.follow_layout),
        ]
        try:
            await self.consumer.run()
        finally:
            for task in tasks:
                task.cancel()

    async def _start(self) -> None:
        """A worker that fails at its start ends, and whoever runs it starts it again."""
        while True:
            try:
                await self.control.start()
                await self._layout.look()
                return
            except Exception as error:
                self._world.note("not started", self.name, repr(error))
                await asyncio.sleep(START_AGAIN_SECONDS)

    # -- what Faust calls ------------------------------------------------------------------------------------

    async def _revoke(self) -> None:
        """As `Application.before_revoke`, and `ReadSide.revoke`."""
        self.ready = False
        if self._resuming is not None:
            await cancel(self._resuming)
            self._resuming = None
        await self.source.close()
        self.local[TYPE].remove_damaged()

    async def _assign(self, partitions: list[int]) -> None:
        self.here = partitions
        self.doors.owners = dict(self._world.projection_group.owners)
        self._tailers.assign(set(partitions))
        for partition in partitions:
            await self.local[TYPE].recover(partition)
        self._resuming = self.supervisor.keep("resuming after a rebalance", self._resume)

    async def _resume(self) -> None:
        side: Any = self
        await ReadSide.resume(side)
        self.ready = True


class SimulatedDoors:
    """`Doors` as the leader uses them: who has what it knows from the last rebalance."""

    def __init__(self, world: World, worker: ProjectionWorker) -> None:
        self.owners: dict[int, str] = {}
        self._world = world
        self._worker = worker

    @property
    def all_partitions(self) -> list[int]:
        return list(range(self._world.shape.partitions))

    def here(self, projection: str) -> list[int]:
        if not self._worker.ready:
            raise NotNow("a rebalance or a recovery is under way")
        return sorted(self._worker.here)

    async def each(self, projection: str, path: str, tables: Any, here: Callable[[], Awaitable[Any]]) -> Sequence[Any]:
        async def ask(name: str) -> Any:
            if name == self._worker.name:
                return await here()
            partitions = sorted(p for p, owner in self.owners.items() if owner == name)
            other = await self._world.network.ask("http", partial(self._reach, name, projection, partitions))
            return await other._complete()

        if sorted(self.owners) != self.all_partitions:
            raise NotNow("not every partition has a worker yet")
        return await asyncio.gather(*map(ask, dict.fromkeys(self.owners.values())))

    def _reach(self, name: str, projection: str, partitions: list[int]) -> Cutover:
        """The other worker, which answers if it has these partitions."""
        slot = next((slot for slot in self._world.faults.slots if slot.process.name == name), None)
        if slot is None or not slot.process.alive or slot.process.paused:
            raise NotNow(f"{name} cannot be reached")
        if slot.worker.doors.here(projection) != partitions:
            raise NotNow(f"{name} has other partitions now")
        return slot.worker.switching

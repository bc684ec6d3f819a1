"""One slice in which something does not go on for a while: that is no business of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streams.journal.port import LAST_SEQUENCE, StoredEvent, log_name
from streams.slices import slice_of
from tests.newer_code import of_tomorrow
from tests.simulation.account import TYPE
from tests.simulation.store import JournalLine
from tests.simulation.topics import COMMANDS_TOPIC, EVENTS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.world import World

STUCK_SECONDS = 3.0, 8.0
AGAIN_SECONDS = 0.5
UNREADABLE = "unreadable"
KINDS = UNREADABLE, COMMANDS_TOPIC, EVENTS_TOPIC


class StuckSlice:
    """One slice. Its events cannot be read by some command workers, which run older code than that which wrote them; or
    its partition of commands or of events has no leader.

    In some runs it stays so, for all workers, until all the other slices have come to rest.
    """

    def __init__(self, world: World) -> None:
        self.slices: frozenset[int] = frozenset()
        """The slice, while it is stuck."""
        self._world = world
        self._kind = ""
        self._is_patient = False
        self._old: set[str] = set()
        """The places of the workers with older code."""

    def start(self) -> None:
        """Draw whether it happens, where and when."""
        world, random = self._world, self._world.random
        if random.random() < 0.3:
            self._kind = random.choice(KINDS)
            slice = slice_of(f"a{random.randrange(world.shape.aggregates)}", world.shape.partitions)
            begin = random.uniform(0.5, 8)
            self._is_patient = world.shape.partitions > 1 and random.random() < 0.6
            places = [f"commands-{number}" for number in range(world.shape.command_workers)]
            self._old = set(places if self._is_patient else random.sample(places, random.randint(1, len(places))))
            world.loop.outside(begin, self._begin, slice)
            if not self._is_patient:
                world.loop.outside(begin + random.choice(STUCK_SECONDS), self.end)

    @property
    def keeps_heirs_waiting(self) -> bool:
        """Whether logs that go on from that of the slice wait for it: they are published when it is to its end."""
        return self._is_patient and self._kind == EVENTS_TOPIC

    @property
    def keeps_tables_waiting(self) -> bool:
        """Whether tables wait for the slice: a new build answers when it is complete in all of them, and only some
        catch up at once."""
        return bool(self.slices) and self._kind == EVENTS_TOPIC

    def _begin(self, slice: int) -> None:
        if self._kind == EVENTS_TOPIC and not self._has_begun(slice):
            # The first log of a new journal waits for all partitions of its events: see `docs/guarantees.md`.
            if self._is_patient:
                self._world.loop.outside(AGAIN_SECONDS, self._begin, slice)
            return
        self._world.note("stuck", self._kind, slice, *sorted(self._old))
        self.slices = frozenset({slice})
        if self._kind == UNREADABLE:
            self._world.faults.redeploy(self._old)
        else:
            self._world.kafka.without_leader.add((self._kind, slice))

    def _has_begun(self, slice: int) -> bool:
        """Whether the log of a slice has a commit."""
        layout = self._world.store.layouts.get(TYPE)
        return layout is not None and bool(self._world.store.log[log_name(TYPE, layout.of(slice).number)])

    def heal(self) -> None:
        """It goes on, unless it is to wait for the others."""
        if not self._is_patient:
            self.end()

    def end(self) -> None:
        """It goes on."""
        if self.slices:
            self._world.note("goes on", self._kind, *self.slices)
            self.slices = frozenset()
            self._world.kafka.without_leader.clear()
            for topic in self._world.kafka.topics.values():
                for partition in topic.partitions:
                    partition.wake()

    def is_unreadable(self, worker: str, aggregate_id: str) -> bool:
        """Whether a worker cannot read the events of an aggregate."""
        if self._kind != UNREADABLE or worker.partition(".")[0] not in self._old:
            return False
        return slice_of(aggregate_id, self._world.shape.partitions) in self.slices


class JournalOfVersion(JournalLine):
    """The journal as the code of one worker can read it."""

    def __init__(self, world: World, worker: str) -> None:
        super().__init__(world, world.store, world.shape.transactional)
        self._worker = worker

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        found = await super().events(type, aggregate_id, from_sequence, to_sequence)
        is_unreadable = self._world.faults.stuck.is_unreadable(self._worker, aggregate_id)
        return of_tomorrow(found) if is_unreadable else found

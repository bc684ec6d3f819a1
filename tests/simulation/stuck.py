"""One slice in which something does not go on for a while: that is no business of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streams.journal.port import LAST_SEQUENCE, StoredEvent
from streams.slices import slice_of
from tests.newer_code import of_tomorrow
from tests.simulation.store import JournalLine

if TYPE_CHECKING:
    from tests.simulation.world import World

STUCK_SECONDS = 3.0, 8.0


class StuckSlice:
    """The slice whose events some command workers cannot read: these run older code than that which wrote them.

    In some runs it stays so, for all workers, until all the other slices have come to rest.
    """

    def __init__(self, world: World) -> None:
        self.slices: frozenset[int] = frozenset()
        """The slice, while it is stuck."""
        self._world = world
        self._is_patient = False
        self._old: set[str] = set()
        """The places of the workers with older code."""

    def start(self) -> None:
        """Draw whether it happens, where and when."""
        world, random = self._world, self._world.random
        if random.random() < 0.3:
            slice, begin = random.randrange(world.shape.partitions), random.uniform(0.5, 12)
            self._is_patient = random.random() < 0.5
            places = [f"commands-{number}" for number in range(world.shape.command_workers)]
            self._old = set(places if self._is_patient else random.sample(places, random.randint(1, len(places))))
            world.loop.outside(begin, self._begin, slice)
            if not self._is_patient:
                world.loop.outside(begin + random.choice(STUCK_SECONDS), self.end)

    def _begin(self, slice: int) -> None:
        self._world.note("cannot read", slice, *sorted(self._old))
        self.slices = frozenset({slice})

    def heal(self) -> None:
        """It goes on, unless it is to wait for the others."""
        if not self._is_patient:
            self.end()

    def end(self) -> None:
        """It goes on."""
        if self.slices:
            self._world.note("can read again", *self.slices)
            self.slices = frozenset()

    def is_unreadable(self, worker: str, aggregate_id: str) -> bool:
        """Whether a worker cannot read the events of an aggregate."""
        place = worker.partition(".")[0]
        return place in self._old and slice_of(aggregate_id, self._world.shape.partitions) in self.slices


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

"""Who runs the system: orders tables built again, projections paused and resumed, tables removed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from projections.applying.fold import RowTooLarge
from projections.stores.declaration import Table, projection_name
from tests.simulation.account import KEPT, TYPE
from tests.simulation.loop import PROCESS
from tests.simulation.topics import CONTROL_TOPIC

if TYPE_CHECKING:
    from tests.simulation.projecting import ProjectionWorker
    from tests.simulation.world import World

PAUSE_SECONDS = (0.5, 3.0, 8.0)
MOST_ORDERS = 4


class Operator:
    """Gives orders to one worker or another, which may die over them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._healed = False

    def start(self) -> None:
        """Draw what is ordered, and when."""
        world, random = self._world, self._world.random
        if random.random() < 0.7:
            for _ in range(random.randint(1, MOST_ORDERS)):
                order = random.choice((self._rebuild, self._rebuild, self._pause, self._drop))
                world.loop.outside(random.uniform(0.5, 13.0), order)

    def heal(self) -> None:
        """Let nothing stand still any more."""
        self._healed = True
        self._mend()

    def _mend(self) -> None:
        for name in sorted(self._paused()):
            self._order("resume", name, lambda worker, name=name: worker.control.resume(name))
        for kept in KEPT:
            if kept.name in self.too_large():
                self._build_again(kept)
        self._world.loop.outside(5.0, self._mend)

    def _paused(self) -> set[str]:
        found: dict[str, bool] = {}
        for record in self._world.kafka.partition(CONTROL_TOPIC, 0).records:
            if record.foreign:
                continue
            kind, name, what = fact(record.key, record.value)
            if kind == "paused":
                found[name] = what is not None and what["reason"] is not None
        return {name for name, paused in found.items() if paused}

    def _order(self, what: str, name: str, give: Callable[[ProjectionWorker], Awaitable[Any]]) -> None:
        world = self._world
        slots = [it for it in world.faults.slots if it.projects and it.process.alive and not it.process.paused]
        if not slots:
            return
        slot = world.random.choice(slots)
        worker = slot.worker

        async def order() -> None:
            with contextlib.suppress(Exception):  # it may have been given
                await give(worker)
            world.note("ordered", what, name, PROCESS.get())

        world.note("order", what, name, slot.process)
        world.loop.spawn(slot.process, order())

    def _rebuild(self) -> None:
        self._build_again(self._world.random.choice(KEPT))

    def _build_again(self, kept: Table) -> None:
        self._order("rebuild", kept.name, lambda worker: worker.control.build_again(kept.name, kept.projection.version))

    def too_large(self) -> set[str]:
        """The projections that have rows aside since a store did not take them. It does now, so they are built anew."""
        return {
            projection_name(name)
            for slot in self._world.faults.slots
            if slot.projects and slot.process.alive
            for partition in slot.worker.source.partitions.values()
            for name, table in partition.tables.items()
            if any(RowTooLarge.__name__ in waits.error for waits in table.quarantined.values())
        }

    def _pause(self) -> None:
        name = self._world.random.choice(KEPT).name
        self._order("pause", name, lambda worker: worker.control.pause(name, "a test"))

        def resume() -> None:
            self._order("resume", name, lambda worker: worker.control.resume(name))

        self._world.loop.outside(self._world.random.choice(PAUSE_SECONDS), resume)

    def _drop(self) -> None:
        """Remove what one worker knows to be needed no more; or, by mistake, what answers."""
        mistaken = self._world.random.random() < 0.2

        async def drop(worker: ProjectionWorker) -> None:
            control = worker.control
            newest = worker.source.newest()
            needed = {table for kept in KEPT for table in (control.serving(kept.name), newest[kept.name])}
            for rows in (worker.local[TYPE], worker.shared):
                for partition in worker.here:
                    for table in sorted((await rows.places(partition)).keys()):
                        known = control.serving(projection_name(table)) is not None and table not in control.dropped()
                        if known and (mistaken or table not in needed):
                            self._world.note("dropped", table)
                            await control.drop(table)

        self._order("drop", "", drop)


def fact(key: bytes | None, value: bytes | None) -> tuple[str, str, dict[str, Any] | None]:
    """Kind, name and value of a record of the control topic."""
    kind, _, name = (key or b"").decode().partition("/")
    return kind, name, None if value is None else msgspec.json.decode(value)

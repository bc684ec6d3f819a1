"""Who splits and merges logs while everything runs, as `faust logs` does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from streams.journal.layout import Layout, LogSpan
from streams.ownership.layout_watch import announce
from tests.simulation.account import TYPE
from tests.simulation.kafka import SimulatedBroker
from tests.simulation.loop import Process
from tests.simulation.topics import LOGS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_CHANGES = 6
PLANNING_SECONDS = 14.0


class Planner:
    """Plans changes of the layout, each in a process of its own; some are not announced, as if that had died."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start(self) -> None:
        """Draw when something is planned. Now and then it is much at once, and changes overlap."""
        world, random = self._world, self._world.random
        if random.random() < 0.7:
            burst = random.uniform(0.5, PLANNING_SECONDS)
            for number in range(random.randint(1, MOST_CHANGES)):
                at = burst if random.random() < 0.3 else random.uniform(0.2, PLANNING_SECONDS)
                world.loop.outside(at, self._begin, number)

    def _begin(self, number: int) -> None:
        world = self._world
        world.loop.spawn(Process(f"planner.{number}"), self._plan(world.random.random() < 0.7))

    async def _plan(self, is_announced: bool) -> None:
        """Whoever is refused, or gets no answer, leaves it."""
        world, journal = self._world, self._world.journal()
        with contextlib.suppress(Exception):
            layout = await journal.layout(TYPE)
            if layout is None or (wanted := planned(layout, world.random)) is None:
                return
            if await journal.change_layout(TYPE, wanted) == wanted and is_announced:
                await announce(SimulatedBroker(world, world.shape.partitions), LOGS_TOPIC, wanted)


def planned(layout: Layout, random: Random) -> Layout | None:
    """A log split or some merged, with whatever slices and seats are possible; or what is planned is taken back. None
    where nothing is possible."""
    if layout.planned and random.random() < 0.3:
        return layout.cancel()
    logs = [log for log in layout.open if not layout.is_ending(log.number)]
    wide = [log for log in logs if len(log.slices) > 1 and len(_free(layout, [log])) > 1]
    if len(logs) > 1 and (not wide or random.random() < 0.5):
        parents = random.sample(logs, random.randint(2, min(3, len(logs))))
        numbers = [log.number for log in (*parents, parents[0])]  # whoever types them may name one twice
        return layout.merge(numbers, random.choice(_free(layout, parents)))
    if not wide:
        return None
    parent = random.choice(wide)
    free = _free(layout, [parent])
    slices = random.sample(parent.slices, len(parent.slices))
    count = random.randint(2, min(3, len(slices), len(free)))
    seats = random.sample(free, count)
    return layout.split(parent.number, [(seat, slices[part::count]) for part, seat in enumerate(seats)])


def _free(layout: Layout, parents: Sequence[LogSpan]) -> list[int]:
    taken = {log.seat for log in layout.logs if log.sealed is None and log not in parents}
    return [seat for seat in range(layout.slices) if seat not in taken]

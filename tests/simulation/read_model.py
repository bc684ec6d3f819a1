"""A read model that all workers share, over a network that fails: what a worker has given up may still be done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from projections.projection import Row
from projections.stores.rows import Changes, Checkpoint, Quarantined
from tests.simulation.store import at_once

if TYPE_CHECKING:
    from tests.memory_rows import MemoryRows
    from tests.simulation.world import World

T = TypeVar("T")


class NetworkedRows:
    """`Rows` as a worker sees them. Each table is saved by a request of its own: where one fails others may be done."""

    def __init__(self, world: World, rows: MemoryRows) -> None:
        self._world = world
        self._rows = rows

    async def _ask(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._world.network.ask("store", lambda: at_once(call()))

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        return await self._ask(lambda: self._rows.places(partition))

    async def largest_row(self) -> int:
        return await self._ask(lambda: self._rows.largest_row())

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, Row]:
        return await self._ask(lambda: self._rows.load(partition, table, keys))

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        for table, change in changes.items():
            await self._ask(lambda one={table: change}: self._rows.save(partition, one))  # type: ignore[misc]

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        return await self._ask(lambda: self._rows.quarantined(partition, table))

    async def drop(self, partition: int, table: str) -> None:
        await self._ask(lambda: self._rows.drop(partition, table))

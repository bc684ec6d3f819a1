"""Checkpoints that move while no row changes are saved once a second only: in a store over the network each save would
cost a request for a batch of events that do not concern the table.

Nothing is lost by it. The stored checkpoint is an older one, so after a restart events are read again that change no
row.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from projections.stores.rows import Changes, Checkpoint, Quarantined, Rows, StoredRow

PLACE_SECONDS = 1.0


class ThrottledCheckpoints:
    """`Rows` over others."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._saved: dict[tuple[int, str], float] = {}

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        return await self._rows.places(partition)

    async def largest_row(self) -> int:
        return await self._rows.largest_row()

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        return await self._rows.load(partition, table, keys) if keys else {}

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        now = time.monotonic()
        due = {
            table: change
            for table, change in changes.items()
            if change.rows or change.quarantined or now - self._saved.get((partition, table), 0.0) >= PLACE_SECONDS
        }
        if due:
            await self._rows.save(partition, due)
            self._saved.update({(partition, table): now for table in due})

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        return await self._rows.quarantined(partition, table)

    async def drop(self, partition: int, table: str) -> None:
        await self._rows.drop(partition, table)

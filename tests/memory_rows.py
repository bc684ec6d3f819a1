"""The read model in memory as tests use it: it can be down, and says what was asked of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from projections.stores.rows import LARGEST_ROW, Changes, Checkpoint, Quarantined, StoredRow
from projections.stores.shared import memory
from streams.journal.port import Unavailable
from tests.flat_rows import flat


class MemoryRows(memory.MemoryRows):
    """`Rows` that outlive who uses them. `loads` has the keys of each load, `saves` the tables of each save."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = self.database.tables
        self.down = False
        self.largest = LARGEST_ROW
        self.loads: list[list[str]] = []
        self.saves: list[list[str]] = []

    def _require(self) -> None:
        if self.down:
            raise Unavailable("the store in memory is down")

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        self._require()
        return await super().places(partition)

    async def largest_row(self) -> int:
        return self.largest

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        self._require()
        self.loads.append(list(keys))
        return await super().load(partition, table, keys)

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        self._require()
        self.saves.append(list(changes))
        await super().save(partition, changes)

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        self._require()
        return await super().quarantined(partition, table)

    async def drop(self, partition: int, table: str) -> None:
        self._require()
        await super().drop(partition, table)

    def rows(self, table: str, partition: int = 0) -> dict[str, dict[str, Any]]:
        """All rows of a table, those that were removed too, each with its position in one dict."""
        return {key: flat(row) for key, row in self.kept[partition, table].rows.items()}

    def place(self, table: str, partition: int = 0) -> Checkpoint | None:
        """How far a table is."""
        return self.kept[partition, table].place

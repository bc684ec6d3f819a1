"""A store of rows in this process: what the port says, and no more. It can be down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from projections.stores.rows import LARGEST_ROW, Changes, Checkpoint, Quarantined, StoredRow, decode_stored, head_of
from streams.journal.port import Unavailable
from tests.flat_rows import flat


@dataclass
class Kept:
    """What is kept of one table in one partition; rows in JSON, as a database has them."""

    place: Checkpoint | None = None
    rows: dict[str, bytes] = field(default_factory=dict)
    quarantined: dict[str, Quarantined] = field(default_factory=dict)


class MemoryRows:
    """`Rows` that outlive who uses them. `loads` has the keys of each load, `saves` the tables of each save."""

    def __init__(self) -> None:
        self.kept: defaultdict[tuple[int, str], Kept] = defaultdict(Kept)
        self.down = False
        self.largest = LARGEST_ROW
        self.loads: list[list[str]] = []
        self.saves: list[list[str]] = []

    def _require(self) -> None:
        if self.down:
            raise Unavailable("the store in memory is down")

    async def places(self, partition: int) -> Mapping[str, Checkpoint]:
        self._require()
        return {name: it.place for (p, name), it in self.kept.items() if p == partition and it.place is not None}

    async def largest_row(self) -> int:
        return self.largest

    async def load(self, partition: int, table: str, keys: Collection[str]) -> Mapping[str, StoredRow]:
        self._require()
        self.loads.append(list(keys))
        rows = self.kept[partition, table].rows
        return {key: decode_stored(rows[key]) for key in keys if key in rows}

    async def save(self, partition: int, changes: Mapping[str, Changes]) -> None:
        self._require()
        self.saves.append(list(changes))
        for table, change in changes.items():
            kept = self.kept[partition, table]
            for key, row in change.rows.items():
                if key not in kept.rows or row.at >= head_of(kept.rows[key]).at:
                    kept.rows[key] = change.value(key)
            for key, it in change.quarantined.items():
                if it.replaces(kept.quarantined.get(key)):
                    kept.quarantined[key] = it
            if kept.place is None or change.place.at >= kept.place.at:
                kept.place = change.place

    async def quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        self._require()
        return {key: it for key, it in self.kept[partition, table].quarantined.items() if it.events}

    async def drop(self, partition: int, table: str) -> None:
        self._require()
        self.kept.pop((partition, table), None)

    def rows(self, table: str, partition: int = 0) -> dict[str, dict[str, Any]]:
        """All rows of a table, those that were removed too, each with its position in one dict."""
        return {key: flat(row) for key, row in self.kept[partition, table].rows.items()}

    def place(self, table: str, partition: int = 0) -> Checkpoint | None:
        """How far a table is."""
        return self.kept[partition, table].place

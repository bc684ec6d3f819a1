"""The read models that the contract of `Rows` is tested on: each implementation in turn, on real servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import structs

from projections.stores.listings import Listings, SharedRows, SortedIndex, none_listed
from projections.stores.rows import Changes, Checkpoint, StoredRow
from projections.stores.shared.opening import open_rows
from tests.stores import drop_journals

KINDS = ("memory", "sqlite", "postgres", "cassandra")


@dataclass(frozen=True)
class ReadModels:
    """Two connections to one read model, as of two workers."""

    one: SharedRows
    two: SharedRows


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a store of a kind; one in memory is of one test module only."""
    return f"memory://{uuid.uuid4()}" if kind == "memory" else str(request.getfixturevalue(f"{kind}_url"))


@asynccontextmanager
async def two_workers(url: str, listings: Listings = none_listed) -> AsyncIterator[ReadModels]:
    """Two connections to a read model that nobody else uses, and that is removed afterwards."""
    namespace = f"t{uuid.uuid4().hex[:10]}_"
    models = ReadModels(*(open_rows(url, namespace, listings=listings) for _ in range(2)))
    await models.one.create()
    await models.one.open()
    await models.two.open()
    yield models
    await models.one.close()
    await models.two.close()
    await drop_journals(url, namespace)


def new_table() -> str:
    """A table that no other test uses."""
    return f"orders-1.{uuid.uuid4().hex[:8]}"


def row(nr: int, index: int = 0, revision: int = 0, **fields: Any) -> StoredRow:
    """A row as event `index` of commit `nr` has left it, folded anew so often."""
    return StoredRow(f"order-3:{nr}:{index}", revision=revision, row=fields)


def having(stored: StoredRow, **fields: Any) -> StoredRow:
    """A row with some of its fields otherwise."""
    return structs.replace(stored, row={**(stored.row or {}), **fields})


async def with_before(rows: SharedRows, partition: int, table: str, change: Changes) -> Changes:
    """The same, with what it replaces, as whoever folds events has just loaded it."""
    return replace(change, before=await rows.load(partition, table, change.rows))


async def save(rows: SharedRows, partition: int, batch: Mapping[str, Changes]) -> None:
    """Save what became of tables as whoever folds events does: what it replaces has just been loaded."""
    await rows.save(
        partition, {table: await with_before(rows, partition, table, change) for table, change in batch.items()}
    )


def gone(nr: int, index: int = 0) -> StoredRow:
    """What is left of a row that this event has removed."""
    return StoredRow(f"order-3:{nr}:{index}")


def changes(**rows: StoredRow) -> Changes:
    """A batch of events that has made these rows; the place is that of the last of them."""
    nr, index = max(row.at for row in rows.values())
    return Changes(Checkpoint(nr, index, nr, 10 * nr), rows)


BY_STATUS = SortedIndex("by-status", lambda row: (row["status"], row["at"]) if "status" in row else None)
"""Its rows come and go, and move."""
BY_USER = SortedIndex("by-user", lambda row: (row["user"], row["day"]) if "user" in row else None, lasting=True)
"""Its rows stay where they are."""

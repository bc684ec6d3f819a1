"""`python -m tests.bench.read_models [URL ..]`: rows a second that global read models save and load, and pages of them,
by one partition whose batches follow one another."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable

from projections.stores.listings import Listings, SharedRows, SortedIndex, none_listed
from projections.stores.rows import Changes, Checkpoint, StoredRow
from projections.stores.shared.opening import open_rows
from tests.stores import drop_journals

SECONDS = 4.0
BATCH = 500
KEYS = 10_000
PAGE = 50

_by_user = SortedIndex("by-user", lambda row: (row["user_id"], row["day"]), lasting=True)
_by_status = SortedIndex("by-status", lambda row: (row["status"], row["day"]))
LISTINGS: dict[str, tuple[SortedIndex, ...]] = {"plain": (), "lasting": (_by_user,), "moving": (_by_status,)}


def row_of(key: int, nr: int, index: int) -> StoredRow:
    """A row of about 300 bytes, as an order of the archive has."""
    row = {
        "id": f"order {key}",
        "user_id": f"user {key % 100}",
        "kind": "sale",
        "country": "United Kingdom",
        "opened_at": "2011-05-17T09:30:00Z",
        "day": f"2011-{1 + key % 12:02}-{1 + key % 28:02}",
        "total": "1234.5600",
        "lines": 17,
        "status": ("placed", "confirmed", "shipped")[nr % 3],
        "placed_at": "2011-05-17T09:31:12.345Z",
    }
    return StoredRow(f"order-3:{nr}:{index}", nr, 0, row)


def batch_of(nr: int) -> Changes:
    """Commit `nr`, which has changed so many rows; whoever folded them had loaded those before."""
    place = Checkpoint(nr, BATCH - 1, nr, nr * BATCH)
    return Changes(place, rows_of(nr), before=rows_of(nr - KEYS // BATCH) if nr > KEYS // BATCH else {})


def rows_of(nr: int) -> dict[str, StoredRow]:
    """As commit `nr` has left them."""
    keys = ((nr * BATCH + index) % KEYS for index in range(BATCH))
    return {f"{key:05}": row_of(key, nr, index) for index, key in enumerate(keys)}


async def rate(ask: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """How often it is done in a second of the wall clock, and in one of this process."""
    nr, began, worked = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS:
        nr += 1
        await ask(nr)
    return nr / (time.perf_counter() - began), nr / (time.process_time() - worked)


async def measure(url: str) -> None:
    """Print the rows of a store."""
    for name, listings in LISTINGS.items():
        namespace = f"b{uuid.uuid4().hex[:8]}_"
        of_table: Listings = (lambda table, its=listings: its) if listings else none_listed  # type: ignore[misc]
        rows = open_rows(url, namespace, listings=of_table)
        await rows.create()
        await rows.open()
        cells = await cells_of(rows, name)
        await rows.close()
        await drop_journals(url, namespace)
        print("|", " | ".join([url.partition(":")[0], name, *cells]), "|", flush=True)


async def cells_of(rows: SharedRows, name: str) -> list[str]:
    """Rows saved, rows loaded, and pages read a second; in brackets what one core of the client would do."""
    saved = await rate(lambda nr: rows.save(3, {"orders-1": batch_of(nr)}))
    loaded = await rate(lambda nr: rows.load(3, "orders-1", rows_of(nr).keys()))
    cells = [f"{BATCH * wall:,.0f} ({BATCH * own:,.0f})" for wall, own in (saved, loaded)]
    if name == "plain":
        return [*cells, ""]
    listing, group = {"lasting": ("by-user", "user 7"), "moving": ("by-status", "shipped")}[name]
    wall, own = await rate(lambda nr: rows.listed("orders-1", listing, group, most=PAGE))
    return [*cells, f"{wall:,.0f} ({own:,.0f})"]


async def main(urls: list[str]) -> None:
    """One after another."""
    print(f"| store | listing | rows saved/s, {BATCH} at once | rows loaded/s | pages of {PAGE}/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        usual = [
            f"sqlite:///{folder}/bench.db",
            "postgresql://shop@127.0.0.1:5433/shop",
            "cassandra://127.0.0.1:9042/bench",
        ]
        for url in urls or usual:
            await measure(url)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

"""`python -m tests.bench.journals [URL ..]`: appends a second of the journals, one writer, one commit after another."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime

from streams.journal.port import Commit, Journal, RecordedEvent, SliceHead, log_name
from streams.open_journal import open_journal
from tests.stores import drop_journals

SECONDS = 4.0
SIZES = (1, 50, 500)
EVENT_BYTES = 200
SLICES = 16
"""Of a log."""
MOMENT = datetime(2011, 5, 31, tzinfo=UTC)


def commit_of(log: str, nr: int, size: int) -> Commit:
    """A commit of so many events, of as many aggregates."""
    events = (
        RecordedEvent(f"{log}/{n}", nr, "LineAdded", bytes(EVENT_BYTES), f"c{nr}-{n}", f"c{nr}-{n}")
        for n in range(size)
    )
    heads = dict.fromkeys(range(SLICES), SliceHead(nr, nr))
    return Commit(log, nr, 1, "bench", "t", heads, nr - 1, MOMENT, tuple(events))


async def append_for(journal: Journal, size: int) -> float:
    """Commits a second, derived rows included."""
    log, nr, began = log_name(f"bench{size}", 0), 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        nr += 1
        commit = commit_of(log, nr, size)
        await journal.append(commit)
        if not journal.is_transactional:
            await journal.derive([commit])
    return nr / (time.perf_counter() - began)


async def measure(url: str) -> None:
    """Print a row of the table."""
    namespace = f"b{uuid.uuid4().hex[:8]}_"
    journal = open_journal(url, namespace, "bench")
    await journal.create()
    await journal.open()
    rates = [(size, await append_for(journal, size)) for size in SIZES]
    await journal.close()
    await drop_journals(url, namespace)
    cells = (f"{rate:,.0f} commits, {rate * size:,.0f} events" for size, rate in rates)
    print("|", " | ".join([url.partition(":")[0], *cells]), "|", flush=True)


async def main(urls: list[str]) -> None:
    """One after another."""
    print("| a second, with events in a commit |", " | ".join(map(str, SIZES)), "|")
    print("|---" * (len(SIZES) + 1) + "|")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        usual = [
            "memory://",
            f"sqlite:///{folder}/bench.db",
            "postgresql://shop@127.0.0.1:5433/shop",
            "cassandra://127.0.0.1:9042/bench",
        ]
        for url in urls or usual:
            await measure(url)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

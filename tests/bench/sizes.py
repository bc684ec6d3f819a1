"""Bytes of an event, and of what belongs to it: in Cassandra beside Pekko's, in Kafka, and in RocksDB.

Cassandra's are those of the files after a flush, compressed as the tables say, without replicas; its own bookkeeping of
conditional inserts (`system.paxos`, which it cleans up) is not in them. Kafka's are of its logs, also without replicas.
The lines are alike on both sides, so they compress better than those of a real shop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streams.journal.port import log_name
from streams.journal.position import stream_name
from streams.journal.slice_log import LayoutReader
from streams.kafka.topics import commands_topic, commits_topic, events_topic, replies_topic
from streams.open_journal import open_journal
from tests.bench.cassandra import cassandra
from tests.bench.commands import PEKKO
from tests.bench.door import Door
from tests.bench.load import Load
from tests.bench.log_dirs import bytes_of_topics
from tests.bench.report import Row
from tests.bench.rivals.pekko import pekko
from tests.bench.space import Space, space
from tests.bench.worker import START_SECONDS, say
from tests.e2e.worker import free_port

TABLE = "tests.bench.orders_only"
TABLE_SECONDS = 120.0
LEAST = 2 << 20
"""A table that Cassandra says has one mebibyte may have a row: it is left out."""


async def measure_sizes(count: int, orders: int) -> list[Row]:
    """So many orders are opened, and have `count` lines between them; Pekko's need no opening."""
    async with space() as here, cassandra() as store:
        load = Load(here.settings, orders)
        with here.worker(port=free_port()) as running:
            await here.all_served(running)
            load.workers = [running]
            async with load.clients():
                await load.open()
                await load.round(count)
        rocks = await _rocks(here)
        ours = await store.bytes_on_disk(here.settings.namespace)
        topics = await _topics(here)
        say(f"sizes: {count:,} events of Pekko's")
        async with pekko() as rival:
            await rival.round(count, orders)
            theirs = await store.bytes_on_disk(rival.keyspace)
    events = count + orders
    return [
        Row("bytes of an event in Cassandra", [_sum(ours) / events], PEKKO, [_sum(theirs) / count], less=True),
        *(Row(f"- in {table}", [size / events]) for table, size in sorted(ours.items()) if size >= LEAST),
        *(Row(f"- Pekko's in {table}", [size / count]) for table, size in sorted(theirs.items()) if size >= LEAST),
        *(Row(f"bytes of an event in Kafka, {what}", [size / events]) for what, size in topics.items()),
        Row("bytes of an event in RocksDB, the table of orders", [rocks / events]),
        Row(f"bytes of a row there, {events // orders} events each", [rocks / orders]),
    ]


def _sum(tables: Mapping[str, int]) -> int:
    return sum(size for size in tables.values() if size >= LEAST)


async def _rocks(here: Space) -> int:
    """Bytes of the table of orders, when it has all; the tailer has published the events by then."""
    journal = open_journal(here.settings.journal_url, here.settings.namespace, "orders")
    await journal.open()
    layout = LayoutReader(journal, "order")
    spans = (await layout.look()).open
    heads = await asyncio.gather(*(journal.head(log_name("order", span.number), span.after) for span in spans))
    await journal.close()
    ends = {
        stream_name("order", slice): its.eventful_nr
        for head in heads
        if head is not None
        for slice, its in head.slices.items()
        if its.eventful_nr
    }
    folder = here.folder()
    with here.worker(TABLE, folder, free_port()) as running:
        async with Door.open(running.url) as door:
            await running.says(f"ready: {TABLE}", START_SECONDS)
            await door.all_reached(ends, TABLE_SECONDS)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def _topics(here: Space) -> dict[str, int]:
    namespace = here.settings.namespace
    names = {
        "its command": commands_topic(namespace, "order"),
        "its reply": replies_topic(namespace),
        "the hint of its commit": commits_topic(namespace, "order"),
        "the event, published": events_topic(namespace, "order"),
    }
    bytes = await bytes_of_topics(here.settings.bootstrap_servers, names.values(), here.settings.partitions)
    return {what: bytes[name] for what, name in names.items()}

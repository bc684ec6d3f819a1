"""Orders that a former owner has opened, in the journal with all that is derived: a million take a minute.

They are written as an owner writes them, by the same journal, in commits as large as under load. Commands there were
none, so the next owner begins with the first of its topic.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aggregates.shop.order import OrderOpened, order
from streams.aggregate_type import AggregateType
from streams.journal.port import NOTHING_CONSUMED, Commit, Journal, RecordedEvent, stream_name
from streams.kafka.client import partition_of
from streams.settings import Settings

WHEN = datetime(2010, 12, 1, 12, tzinfo=UTC)


async def write_opened(settings: Settings, orders: Sequence[str], tell: Callable[[int], None]) -> None:
    """Make the journal, and open these orders in it; `tell` hears how many more are."""
    context = AggregateType("orders", order, settings, "shop")
    of_partition: defaultdict[int, list[str]] = defaultdict(list)
    for one in orders:
        of_partition[partition_of(one.encode(), settings.partitions)].append(one)
    data = context.events.encode(OrderOpened("u", "sale", "United Kingdom", WHEN))
    journal = context.journal()
    await journal.create()
    await journal.open()
    try:
        await journal.save_schemas(context.events.schemas)
        streams = ((stream_name("order", partition), its) for partition, its in of_partition.items())
        size = settings.group_commands
        await asyncio.gather(*(_write(journal, stream, its, size, data, tell) for stream, its in streams))
    finally:
        await journal.close()


async def _write(
    journal: Journal, stream: str, orders: Sequence[str], size: int, data: bytes, tell: Callable[[int], None]
) -> None:
    for nr, start in enumerate(range(0, len(orders), size), 1):
        some = orders[start : start + size]
        events = tuple(RecordedEvent(one, 1, "OrderOpened", data, f"open-{one}", f"open-{one}") for one in some)
        commit = Commit(stream, nr, 1, "bench", "", NOTHING_CONSUMED, nr - 1, nr, datetime.now(UTC), events)
        await journal.append(commit)
        await journal.derive([commit])
        tell(len(some))

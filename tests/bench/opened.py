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
from streams.journal.layout import LogSpan, first_layout
from streams.journal.port import Commit, Journal, RecordedEvent, SliceHead, log_name
from streams.settings import Settings
from streams.slices import slice_of

WHEN = datetime(2010, 12, 1, 12, tzinfo=UTC)


async def write_opened(settings: Settings, orders: Sequence[str], tell: Callable[[int], None]) -> None:
    """Make the journal, and open these orders in it; `tell` hears how many more are."""
    context = AggregateType("orders", order, settings, "shop")
    layout = first_layout(settings.partitions, settings.logs)
    of_log: defaultdict[int, list[str]] = defaultdict(list)
    for one in orders:
        of_log[layout.of(slice_of(one, settings.partitions)).number].append(one)
    data = context.events.encode(OrderOpened("u", "sale", "United Kingdom", WHEN))
    journal = context.journal()
    await journal.create()
    await journal.open()
    try:
        await journal.save_schemas(context.events.schemas)
        await journal.change_layout("order", layout)
        logs = [(layout.log(number), its) for number, its in of_log.items()]
        await asyncio.gather(*(_write(journal, span, its, settings, data, tell) for span, its in logs))
    finally:
        await journal.close()


async def _write(
    journal: Journal, span: LogSpan, orders: Sequence[str], settings: Settings, data: bytes, tell: Callable[[int], None]
) -> None:
    heads = dict.fromkeys(span.slices, SliceHead())
    for nr, start in enumerate(range(0, len(orders), settings.group_commands), 1):
        some = orders[start : start + settings.group_commands]
        events = tuple(RecordedEvent(one, 1, "OrderOpened", data, f"open-{one}", f"open-{one}") for one in some)
        heads.update((slice_of(one, settings.partitions), SliceHead(eventful_nr=nr)) for one in some)
        commit = Commit(
            log_name("order", span.number), nr, 1, "bench", "", dict(heads), nr - 1, datetime.now(UTC), events
        )
        await journal.append(commit)
        await journal.derive([commit])
        tell(len(some))

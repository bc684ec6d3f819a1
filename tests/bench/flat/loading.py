"""An aggregate is loaded by the same reads, however many events it has.

The events are made by real owners, who take snapshots as everywhere. Their commands come from this process: what is
loaded does not depend on whether Kafka had them. An aggregate is loaded many times while it grows on, since how much is
read depends on how long ago its last snapshot was.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from aggregates.shop.order import order
from streams.cli.progress import Meter
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.loading import load_aggregate
from streams.deciding.messages import Envelope, Failure, Message, command_headers
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, log_name
from streams.ownership.replies import Replies
from tests.bench.flat.plots import Line, Panel, plot
from tests.bench.flat.site import Asked, Site
from tests.command_log import Topic
from tests.owners import RunningOwner

SPAN = LogSpan(number=0, seat=0, slices=(0,))
STEPS = 12
STEP = 61
"""Events by which the larger aggregates grow from one step to the next."""
LOADS = 5
"""Of each aggregate in each step, in turn."""
SKUS = 20


class Unheard(Replies):
    """For those who want no reply."""

    def __init__(self) -> None:
        pass

    async def dead_letters(self, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        raise AssertionError(f"a command failed: {letters[0][1]}")

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        pass

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        pass


@dataclass
class Loads:
    """What loading an aggregate of about so many events took, each time."""

    events: int
    id: str
    milliseconds: list[float] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def grows(self) -> bool:
        return self.events >= 1_000


async def measure_loading(site: Site, sizes: Sequence[int], file: Path) -> list[tuple[str, float]]:
    """Load orders of these sizes; the figures, and a plot."""
    orders = [Loads(size, f"order of {size}") for size in sizes]
    with Meter("loading: making events", sum(sizes) + STEPS * STEP * sum(it.grows for it in orders), "events") as meter:
        await _decide(site, ((it.id, n) for it in orders for n in range(it.events)), meter)
        for _ in range(STEPS):
            for it in orders * LOADS:
                await _load(site, it)
            await _decide(site, ((it.id, 1) for it in orders if it.grows for _ in range(STEP)), meter)
    _draw(orders, file)
    return [figure for it in orders for figure in _figures(it)]


async def _load(site: Site, it: Loads) -> None:
    site.session.asked = asked = Asked()
    began = time.perf_counter()
    await load_aggregate(site.journal, order, site.context.events, it.id, site.settings.dedupe_window)
    it.milliseconds.append((time.perf_counter() - began) * 1e3)
    it.asked.append(asked)
    site.session.asked = Asked()


async def _decide(site: Site, commands: Iterable[tuple[str, int]], meter: Meter) -> None:
    """Have an owner decide commands (order id, its number there) until all that follows from them is written."""
    settings, context = site.settings, site.context
    handler = GroupHandler(
        CommandHandler(
            decider=order,
            events=context.events,
            commands=context.commands,
            window=settings.dedupe_window,
        ),
        journal=site.journal,
        cache=Cache(settings.cache_bytes // settings.partitions),
        log=log_name("order", SPAN.number),
        slices=1,
    )
    owner = RunningOwner(
        span=SPAN,
        topic_id="t",
        identity="bench",
        journal=site.journal,
        handler=handler,
        replies=Unheard(),
        commands=Endless("t", slices=1),
    )
    await owner.take_over()
    owner.resume()
    offset = first = owner.next_offsets[0]
    for id, number in commands:
        await owner.deliver(0, [_message(offset, id, number)])
        offset += 1
        if offset % 1_000 == 0:
            await asyncio.sleep(0)
    while owner.covered[0] < offset:
        assert owner.lost is None, owner.why_lost
        await asyncio.sleep(0.005)
    await owner.close(seconds=30)
    meter.advance(offset - first)


class Endless(Topic):
    """A topic that is longer than anybody has read."""

    length = 1_000_000_000


def _message(offset: int, id: str, number: int) -> Message:
    if number == 0:
        type, data = "OpenOrder", b'{"user_id":"17850","kind":"sale","country":"France"}'
    else:
        sku = random.randrange(SKUS)
        type, data = "AddLine", b'{"sku":"8512%d","description":"HOLDER","quantity":6,"unit_price":"2.55"}' % sku
    headers = command_headers(str(uuid.uuid4()), type, "/bench")
    return Message(0, offset, id.encode(), data, headers, time.time())


def _figures(it: Loads) -> list[tuple[str, float]]:
    what = f"an aggregate of {it.events:,} events"
    return [
        (f"{what}: statements to load it, the most", max(asked.statements for asked in it.asked)),
        (f"{what}: rows read, median", median(asked.rows for asked in it.asked)),
        (f"{what}: rows read, the most", max(asked.rows for asked in it.asked)),
        (f"{what}: KB read, median", median(asked.bytes for asked in it.asked) / 1e3),
        (f"{what}: KB read, the most", max(asked.bytes for asked in it.asked) / 1e3),
        (f"{what}: ms to load it, median", median(it.milliseconds)),
        (f"{what}: ms to load it, 95 %", sorted(it.milliseconds)[int(len(it.milliseconds) * 0.95)]),
    ]


def _draw(orders: Sequence[Loads], file: Path) -> None:
    x = [it.events for it in orders]

    def line(label: str, values: Sequence[Sequence[float]]) -> Line:
        return Line(label, x, [median(them) for them in values], [min(v) for v in values], [max(v) for v in values])

    times = [sorted(it.milliseconds)[: int(len(it.milliseconds) * 0.95)] for it in orders]
    panels = [
        Panel("ms", [line("to load: median, and 95 % of them", times)]),
        Panel("rows", [line("read: median, least and most", [[asked.rows for asked in it.asked] for it in orders])]),
        Panel("statements", [line("sent", [[asked.statements for asked in it.asked] for it in orders])]),
    ]
    plot(file, "Loading an aggregate from Cassandra", "events that the aggregate has", panels)

"""A tail finds its place and publishes as fast at the end of a long log as at that of a short one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from streams.concurrency.tasks import cancel
from streams.journal.layout import first_layout
from streams.journal.port import Published, log_name
from streams.kafka.client import ProducerRecord
from streams.kafka.topics import events_topic
from tests.bench.flat.logs import Writer
from tests.bench.flat.plots import Line, Panel, plot
from tests.bench.flat.site import Site
from tests.layouts import Known

TIMES = 7
COMMITS, EVENTS = 400, 50
"""That are added before each time: so many commits of so many events."""
SECONDS = 60.0


@dataclass
class Tails:
    """Of a log, which has the slice of its number."""

    number: int
    commits: int
    milliseconds: list[float] = field(default_factory=list)
    """From its start to its first batch."""
    rates: list[float] = field(default_factory=list)
    """Events a second from then on."""


async def measure_tailing(site: Site, writer: Writer, lengths: Sequence[int], file: Path) -> list[tuple[str, float]]:
    """Log n has `lengths[n]` commits. They are tailed in turn; the figures, and a plot."""
    streams = [Tails(number, commits) for number, commits in enumerate(lengths)]
    for it in streams:
        head = await site.journal.head(log_name("order", it.number))
        assert head is not None
        # As if all of it had been published, and retention had removed that since.
        await site.journal.save_published(head.log, Published(head.nr, -1))
    for number in range(TIMES):
        # Who comes first changes: the one before may have left something to do.
        for it in streams[:: 1 if number % 2 else -1]:
            await _append(site, writer, it)
            await _tail(site, it)
    x = [it.commits for it in streams]

    def line(label: str, values: Sequence[Sequence[float]]) -> Line:
        return Line(label, x, [median(them) for them in values], [min(v) for v in values], [max(v) for v in values])

    panels = [
        Panel("ms", [line("from its start to its first batch: median, all", [it.milliseconds for it in streams])]),
        Panel("events/s", [line("published: median, all", [it.rates for it in streams])]),
    ]
    plot(file, "Tailing a log from its end on", "commits in the log", panels)
    return [
        figure
        for it in streams
        for figure in (
            (f"tail at {it.commits:,} commits: ms from start to first batch, median", median(it.milliseconds)),
            (f"tail at {it.commits:,} commits: events/s published, median", median(it.rates)),
        )
    ]


async def _append(site: Site, writer: Writer, it: Tails) -> None:
    head = await site.journal.head(log_name("order", it.number))
    assert head is not None
    for commit in writer.commits(it.number, head.nr + 1, head.nr + 1 + COMMITS, EVENTS):
        await site.journal.append(replace(commit, epoch=head.epoch, owner=head.owner))


async def _tail(site: Site, it: Tails) -> None:
    namespace, slices = site.settings.namespace, site.settings.partitions
    head = await site.journal.head(log_name("order", it.number))
    assert head is not None
    first: list[float] = []

    async def wire(stream: str, records: list[ProducerRecord]) -> list[ProducerRecord]:
        first.append(time.perf_counter())
        return records

    layout = first_layout(slices, slices)
    publication = Publication(
        type="order", topic=events_topic(namespace, "order"), source="/bench", journal=site.journal,
        layout=Known(layout), broker=site.broker, codec=site.context.events, framing=wire,
    )  # fmt: skip
    tail = Tail(publication, layout.log(it.number))
    began = time.perf_counter()
    task = asyncio.create_task(tail.run())
    while tail.published < head.nr:
        if task.done() or time.perf_counter() - began > SECONDS:
            raise RuntimeError(f"{tail.log}: published up to {tail.published} of {head.nr}")
        await asyncio.sleep(0.001)
    ended = time.perf_counter()
    await cancel(task)
    it.milliseconds.append((first[0] - began) * 1e3)
    it.rates.append(COMMITS * EVENTS / (ended - first[0]))

"""A log is taken over in the same time, however long its log is: head, first commit of the epoch, repair."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from aggregates.shop.order import order
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.journal.layout import LogSpan
from streams.journal.port import log_name
from streams.kafka.command_slices import CommandSlices
from tests.bench.flat.loading import Unheard
from tests.bench.flat.plots import Line, Panel, plot
from tests.bench.flat.site import Asked, Site
from tests.owners import RunningOwner

TIMES = 20


@dataclass
class Takeovers:
    """Of a log, which has the slice of its number."""

    number: int
    commits: int
    milliseconds: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)


async def measure_takeovers(site: Site, lengths: Sequence[int], topic_id: str, file: Path) -> list[tuple[str, float]]:
    """Log n has `lengths[n]` commits. They are taken over in turn, each time by a new owner; the
    figures, and a plot."""
    streams = [Takeovers(number, commits) for number, commits in enumerate(lengths)]
    for _ in range(TIMES):
        for it in streams:
            await _take_over(site, it, topic_id)
    x = [it.commits for it in streams]
    middle = [median(it.milliseconds) for it in streams]
    most = [sorted(it.milliseconds)[-2] for it in streams]
    times = Line(
        f"median of {TIMES}, least and second longest", x, middle, [min(it.milliseconds) for it in streams], most
    )
    asked = Line("sent: median", x, [median(it.statements) for it in streams])
    panels = [Panel("ms", [times]), Panel("statements", [asked])]
    plot(file, "Taking over a log", "commits in it", panels)
    return [
        figure
        for it, much in zip(streams, most, strict=True)
        for figure in (
            (f"takeover at {it.commits:,} commits: ms, median of {TIMES}", median(it.milliseconds)),
            (f"takeover at {it.commits:,} commits: ms, second longest", much),
            (f"takeover at {it.commits:,} commits: statements", median(it.statements)),
        )
    ]


async def _take_over(site: Site, it: Takeovers, topic_id: str) -> None:
    settings, context = site.settings, site.context
    handler = GroupHandler(
        CommandHandler(
            decider=order,
            events=context.events,
            commands=context.commands,
            window=settings.dedupe_window,
        ),
        journal=site.journal,
        cache=Cache(1),
        log=log_name("order", it.number),
        slices=settings.partitions,
    )
    commands = CommandSlices(site.broker, context.commands_topic, [it.number])
    owner = RunningOwner(
        span=LogSpan(number=it.number, seat=it.number, slices=(it.number,)),
        topic_id=topic_id,
        identity=f"bench {time.monotonic_ns()}",
        journal=site.journal,
        handler=handler,
        replies=Unheard(),
        commands=commands,
    )
    site.session.asked = asked = Asked()
    began = time.perf_counter()
    await owner.take_over()
    it.milliseconds.append((time.perf_counter() - began) * 1e3)
    it.statements.append(asked.statements)
    await owner.close()

"""Exact lag: per stream, how far the journal, the events topic and each table are, in commits, events and seconds.

Events are counted by `reach`. Commits are those of the log from the newest one with an event of the stream back to what
a table has; most of them may be of other streams, so they count as no more than there are events. Seconds are the age
of the oldest event that is not applied, by the clock of the owner that wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import HOP
from projections.operations.reach import TableReach, WorkerReach, reach_here
from projections.routing.cutover import first_projection
from streams.access.principal import Role
from streams.journal.port import Commit, SliceHead
from streams.journal.position import stream_name, stream_slice, stream_type
from streams.web.health import json_response
from streams.web.lag import Lag, StreamLag, TableLag
from streams.web.operation import describe


def add_lag(side: ReadSide) -> None:
    """Serve `/lag`."""

    @side.app.page("/lag")
    @describe(
        "operations",
        "How far published events and tables are behind the journals, by stream",
        Lag,
        reads=True,
        role=Role.AUDITOR,
    )
    async def lag(view: Any, request: Any) -> Any:
        if HOP in request.headers:
            return side.doors.part(view, first_projection(side.sources), await reach_here(side))
        await side.doors.read_your_writes(request, [])
        streams = await all_lags(side)
        return json_response(view, Lag(streams, sum(stream.lag for stream in streams)))


async def all_lags(side: ReadSide) -> list[StreamLag]:
    """How far all streams are, in all workers. Raises `NotNow`, `Unavailable`."""
    names = [
        stream_name(type, number)
        for type in [*side.journals, *sorted(side.sources.keys() - side.journals.keys())]
        for number in side.doors.all_partitions
    ]
    heads = await heads_of(side, names)
    answers = await side.doors.each(first_projection(side.sources), "/lag", {}, lambda: reach_here(side))
    workers = [msgspec.convert(answer, WorkerReach) for answer in answers]
    return list(await asyncio.gather(*(lag_of(side, stream, heads[stream], workers) for stream in names)))


async def heads_of(side: ReadSide, streams: Collection[str]) -> dict[str, Commit | None]:
    """The newest commit of the log of each stream, None also where it has no journal here. Raises `Unavailable`."""
    heads = await asyncio.gather(*(_head(side, stream) for stream in streams))
    return dict(zip(streams, heads, strict=True))


async def _head(side: ReadSide, stream: str) -> Commit | None:
    logs = side.logs.get(stream_type(stream))
    return None if logs is None else await logs.of(stream_slice(stream)).newest()


async def lag_of(side: ReadSide, stream: str, head: Commit | None, workers: Sequence[WorkerReach]) -> StreamLag:
    """How far a stream and its tables are, from what workers say in `reach_here`. Raises `Unavailable`.

    Of a foreign type all that is known is on its topic: what that has whole counts as the head.
    """
    type, slice = stream_type(stream), SliceHead()
    # A log that goes on from others is published behind them, by whichever tails: the least of what they say is true.
    said = [worker.published[stream] for worker in workers if stream in worker.published]
    published = min(said, key=lambda reach: reach.nr, default=None)
    published_nr, end = (published.nr, published.end) if published else (0, 0)
    tables = [item for worker in workers for item in sorted(worker.applied.get(stream, {}).items())]
    furthest = max([published_nr, *(reach.nr for _, reach in tables)])
    newest = eventful = published_nr
    unpublished = 0
    if type in side.journals:
        if head is None or furthest > head.nr:  # it may have grown since it was read
            head = await _head(side, stream) if furthest else head
        if head is not None:
            slice = head.slices.get(stream_slice(stream), slice)
        newest, eventful = head.nr if head else 0, slice.eventful_nr
        unpublished = await side.backlog(stream).events(stream_slice(stream), published_nr, eventful)
    declared = side.sources[type].kept
    serving = {side.control.serving(table.name) for table in declared}
    projections = []
    for table, reach in tables:
        # What is applied beyond the newest event is as far as one can be.
        behind = max(eventful - reach.nr, 0)
        events = reach.published_to(end).to_go + unpublished if behind else 0
        commits = min(behind, max(events, 1))
        seconds = await _age(side, stream, reach, eventful) if commits else 0.0
        projections.append(TableLag(table, table in serving, reach.nr, commits, events, seconds))
    answering = [table for table in projections if table.serving]
    applied_nr = min((table.applied for table in answering), default=None)
    if answering:
        lag = max(table.commits for table in answering)
    else:  # a type of which there is no table is done when its events are on their topic
        lag = eventful if declared else min(max(eventful - published_nr, 0), max(unpublished, 1))
    return StreamLag(
        stream=stream,
        committed_offset=slice.offset if slice.offset >= 0 else None,
        epoch=head.epoch if head else 0,
        owner=head.owner if head else None,
        head=newest,
        eventful=eventful,
        published=published.nr if published else None,
        applied=applied_nr,
        lag=lag,
        ahead=max(furthest - newest, 0) if type in side.journals else 0,
        events=max((table.events for table in answering), default=0),
        seconds=max((table.seconds for table in answering), default=0.0),
        unpublished_events=unpublished,
        projections=projections,
    )


async def _age(side: ReadSide, stream: str, reach: TableReach, eventful: int) -> float:
    """Seconds since the first event that is not applied was written."""
    if stream_type(stream) in side.journals:
        return await side.backlog(stream).age(stream_slice(stream), reach.nr, eventful)
    return await side.topic_ends.age(stream, reach.done)

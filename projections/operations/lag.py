"""Exact lag: per stream, how far the journal, the events topic and each table are, in commits, events and seconds.

Commits are counted from the newest one with an event back to what a table has, events by `reach`. Seconds are the age
of the oldest event that is not applied, by the clock of the owner that wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import HOP
from projections.operations.reach import TableReach, WorkerReach, reach_here
from projections.publishing.backlog import Backlog
from projections.routing.cutover import first_projection
from streams.journal.port import Commit, stream_type
from streams.web.health import json_response
from streams.web.lag import Lag, StreamLag, TableLag
from streams.web.operation import describe


def add_lag(side: ReadSide) -> None:
    """Serve `/lag`: `lag` is the number of commits from the newest with an event back to the newest applied."""

    @side.app.page("/lag")
    @describe("operations", "How far published events and tables are behind the journals, by stream", Lag, reads=True)
    async def lag(view: Any, request: Any) -> Any:
        first = first_projection(side.sources)
        if HOP in request.headers:
            return side.doors.part(view, first, reach_here(side))
        await side.doors.read_your_writes(request, [])
        heads = await side.heads.of()
        answers = await side.doors.each(first, "/lag", {}, lambda: reach_here(side))
        workers = [msgspec.convert(answer, WorkerReach) for answer in answers]
        streams = await asyncio.gather(*(lag_of(side, stream, head, workers) for stream, head in heads.items()))
        return json_response(view, Lag(streams, sum(stream.lag for stream in streams)))


async def lag_of(side: ReadSide, stream: str, head: Commit | None, workers: Sequence[WorkerReach]) -> StreamLag:
    """How far a stream and its tables are, from what workers say in `reach_here`. Raises `Unavailable`."""
    published = next((worker.published[stream] for worker in workers if stream in worker.published), None)
    tables = [item for worker in workers for item in sorted(worker.applied.get(stream, {}).items())]
    furthest = max([published.nr if published else 0, *(reach.nr for _, reach in tables)])
    if head is None or furthest > head.nr:  # it may have grown since it was read
        head = (await side.heads.of([stream]))[stream] if furthest else head
    eventful = head.eventful_nr if head else 0
    backlog, declared = side.backlog(stream), side.sources[stream_type(stream)].kept
    unpublished = await backlog.events(published.nr if published else 0, eventful)
    serving = {side.control.serving(table.name) for table in declared}
    end = published.end if published else 0
    projections = [
        await _table_lag(backlog, table, table in serving, reach.published_to(end), eventful, unpublished)
        for table, reach in tables
    ]
    answering = [table for table in projections if table.serving]
    applied_nr = min((table.applied for table in answering), default=None)
    # A type of which there is no table is done when its events are on their topic.
    reached = applied_nr if declared else published and published.nr
    return StreamLag(
        stream=stream,
        committed_offset=head.offset if head and head.offset >= 0 else None,
        epoch=head.epoch if head else 0,
        owner=head.owner if head else None,
        head=head.nr if head else 0,
        eventful=eventful,
        published=published.nr if published else None,
        applied=applied_nr,
        lag=eventful - min(reached or 0, eventful),
        ahead=max(furthest - (head.nr if head else 0), 0),
        events=max((table.events for table in answering), default=0),
        seconds=max((table.seconds for table in answering), default=0.0),
        unpublished_events=unpublished,
        projections=projections,
    )


async def _table_lag(
    backlog: Backlog, table: str, serves: bool, reach: TableReach, eventful: int, unpublished: int
) -> TableLag:
    # What is applied beyond the newest event is as far as one can be.
    commits = max(eventful - reach.nr, 0)
    seconds = await backlog.age(reach.nr) if commits else 0.0
    return TableLag(table, serves, reach.nr, commits, reach.to_go + unpublished if commits else 0, seconds)

"""Exact lag: per stream, how far the journal, the events topic and each table are, in commits, events and seconds.

Commits and events are counted from the newest commit with an event back to what a table has. An event counts as often
as it stands in the topic, which is twice at most for the few that a tailer published again. Seconds are the age of the
oldest event that is not applied, by the clock of the owner that wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.forwarding import HOP
from projections.routing.cutover import first_projection
from streams.journal.port import Commit, stream_name, stream_type
from streams.web.health import json_response
from streams.web.operation import describe


class TableLag(msgspec.Struct, frozen=True):
    """How far a table is behind the journal in one stream, in commits, in events, and in seconds."""

    table: str
    serving: bool
    applied: int
    commits: int
    events: int
    seconds: float


class StreamLag(msgspec.Struct, frozen=True, kw_only=True):
    """A stream: the newest commit of its journal (`head`), the newest that holds an event (`eventful`), how far its
    events are on Kafka and in the tables that answer, and `lag`, the commits between. `ahead` are the commits that
    topic or tables have and the journal does not: then it is not the journal that they are from."""

    stream: str
    committed_offset: int | None
    epoch: int
    owner: str | None
    head: int
    eventful: int
    published: int | None
    applied: int | None
    lag: int
    ahead: int
    events: int
    seconds: float
    unpublished_events: int
    projections: list[TableLag]


class Lag(msgspec.Struct, frozen=True):
    """All streams, and the sum of their lags."""

    streams: list[StreamLag]
    total: int


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """How far a topic or a table has come: the newest commit that it has whole, and the offset behind that event on the
    events topic."""

    nr: int
    offset: int


class WorkerReach(msgspec.Struct, frozen=True):
    """What one worker has published, by stream, and applied, by stream and table."""

    published: Mapping[str, Reach]
    applied: Mapping[str, Mapping[str, Reach]]


def add_lag(side: ReadSide) -> None:
    """Serve `/lag`: `lag` is the number of commits from the newest with an event back to the newest applied."""

    @side.app.page("/lag")
    @describe("operations", "How far published events and tables are behind the journals, by stream", Lag, reads=True)
    async def lag(view: Any, request: Any) -> Any:
        first = first_projection(side.sources)
        if HOP in request.headers:
            return side.doors.part(view, first, await reach_here(side))
        await side.doors.read_your_writes(request, [])
        heads = {**await side.heads.of(), **dict.fromkeys(_foreign(side))}
        answers = await side.doors.each(first, "/lag", {}, lambda: reach_here(side))
        workers = [msgspec.convert(answer, WorkerReach) for answer in answers]
        streams = await asyncio.gather(*(lag_of(side, stream, head, workers) for stream, head in heads.items()))
        return json_response(view, Lag(streams, sum(stream.lag for stream in streams)))


def _foreign(side: ReadSide) -> list[str]:
    """The streams that have no journal here."""
    types = side.sources.keys() - side.journals.keys()
    return [stream_name(type, number) for type in sorted(types) for number in side.doors.all_partitions]


async def reach_here(side: ReadSide) -> WorkerReach:
    """What is published of the partitions of this worker, and what it has applied.

    Where another app publishes them, their topics are asked. Raises `Unavailable`.
    """
    tails = side.publisher.tails if side.publisher is not None else ()
    published = {tail.stream: Reach(tail.published.nr, tail.end) for tail in tails}
    others = [
        stream_name(type, number)
        for type, source in side.sources.items()
        if side.publisher is None or type not in side.journals
        for number in (source.partitions if source.kept else side.partitions_served)
    ]
    ends = await asyncio.gather(*map(side.topic_ends.of, others))
    published.update({stream: Reach(*end) for stream, end in zip(others, ends, strict=True)})
    partitions = [partition for source in side.sources.values() for partition in source.partitions.values()]
    return WorkerReach(
        published,
        {
            partition.stream: {
                name: Reach(table.place.complete, table.place.offset) for name, table in partition.tables.items()
            }
            for partition in partitions
        },
    )


async def lag_of(side: ReadSide, stream: str, head: Commit | None, workers: Sequence[WorkerReach]) -> StreamLag:
    """How far a stream and its tables are, from what workers say in `reach_here`. Raises `Unavailable`.

    Of a foreign type all that is known is on its topic: what that has whole counts as the head.
    """
    type = stream_type(stream)
    published = next((worker.published[stream] for worker in workers if stream in worker.published), None)
    published_nr, end = (published.nr, published.offset) if published else (0, 0)
    tables = [item for worker in workers for item in sorted(worker.applied.get(stream, {}).items())]
    furthest = max([published_nr, *(applied.nr for _, applied in tables)])
    newest = eventful = published_nr
    unpublished = 0
    if type in side.journals:
        if head is None or furthest > head.nr:  # it may have grown since it was read
            head = (await side.heads.of([stream]))[stream] if furthest else head
        newest, eventful = (head.nr, head.eventful_nr) if head else (0, 0)
        unpublished = await side.backlog(stream).events(published_nr, eventful)
    kept = side.sources[type].kept
    serving = {side.control.serving(table.name) for table in kept}
    projections = []
    for table, applied in tables:
        # What is applied beyond the newest event is as far as one can be.
        commits = max(eventful - applied.nr, 0)
        events = max(end - applied.offset, 0) + unpublished if commits else 0
        seconds = await _age(side, stream, applied) if commits else 0.0
        projections.append(TableLag(table, table in serving, applied.nr, commits, events, seconds))
    answering = [table for table in projections if table.serving]
    applied_nr = min((table.applied for table in answering), default=None)
    # A type of which there is no table is done when its events are on their topic.
    reached = applied_nr if kept else published_nr
    return StreamLag(
        stream=stream,
        committed_offset=head.offset if head and head.offset >= 0 else None,
        epoch=head.epoch if head else 0,
        owner=head.owner if head else None,
        head=newest,
        eventful=eventful,
        published=published.nr if published else None,
        applied=applied_nr,
        lag=eventful - min(reached or 0, eventful),
        ahead=max(furthest - newest, 0) if type in side.journals else 0,
        events=max((table.events for table in answering), default=0),
        seconds=max((table.seconds for table in answering), default=0.0),
        unpublished_events=unpublished,
        projections=projections,
    )


async def _age(side: ReadSide, stream: str, applied: Reach) -> float:
    """Seconds since the first event that is not applied was written."""
    if stream_type(stream) in side.journals:
        return await side.backlog(stream).age(applied.nr)
    return await side.topic_ends.age(stream, applied.offset)

"""Exact lag: per stream, how far the journal, the events topic and each table are, in commits, events and seconds.

Commits and events are counted from the newest commit with an event back to what a table has. An event counts as often
as it stands in the topic, which is twice at most for the few that a tailer published again. Seconds are the age of the
oldest event that is not applied, by the clock of the owner that wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projections.app import ReadSide
from projections.http.forwarding import HOP
from projections.operations.answers import Lag, StreamLag, TableLag
from projections.routing.cutover import first_projection
from streams.journal.port import Commit, stream_type
from streams.web.health import json_response
from streams.web.operation import describe


@dataclass(frozen=True)
class AppliedTo:
    """How far a table is in one stream."""

    table: str
    complete: int
    offset: int


def add_lag(side: ReadSide) -> None:
    """Serve `/lag`: `lag` is the number of commits from the newest with an event back to the newest applied."""

    @side.app.page("/lag")
    @describe("operations", "How far published events and tables are behind the journals, by stream", Lag, reads=True)
    async def lag(view: Any, request: Any) -> Any:
        first = first_projection(side.sources)
        if HOP in request.headers:
            return side.doors.part(view, first, progress_here(side))
        await side.doors.read_your_writes(request, [])
        heads = await side.heads.of()
        answers = await side.doors.each(first, "/lag", {}, lambda: progress_here(side))
        streams = await asyncio.gather(*(lag_of(side, stream, head, answers) for stream, head in heads.items()))
        shown: Lag = {"streams": streams, "total": sum(stream["lag"] for stream in streams)}
        return json_response(view, shown)


def progress_here(side: ReadSide) -> dict[str, Any]:
    """What this worker has published and applied: of each stream commit and offset, by table."""
    return {
        "published": {
            tail.stream: [tail.published.nr, tail.end] for ts in side.tailers.values() for tail in ts.tails.values()
        },
        "applied": {
            partition.stream: {name: [it.place.complete, it.place.offset] for name, it in partition.tables.items()}
            for source in side.sources.values()
            for partition in source.partitions.values()
        },
    }


async def lag_of(side: ReadSide, stream: str, head: Commit | None, answers: Sequence[Mapping[str, Any]]) -> StreamLag:
    """How far a stream and its tables are, from what workers say in `progress_here`. Raises `Unavailable`."""
    published, end = next((its[stream] for answer in answers if stream in (its := answer["published"])), (None, None))
    tables = [
        AppliedTo(table, *its) for answer in answers for table, its in sorted(answer["applied"].get(stream, {}).items())
    ]
    furthest = max([published or 0, *(it.complete for it in tables)])
    if head is None or furthest > head.nr:  # it may have grown since it was read
        head = (await side.heads.of([stream]))[stream] if furthest else head
    ahead = max(furthest - (head.nr if head else 0), 0)
    eventful = head.eventful_nr if head else 0
    backlog = side.backlog(stream)
    serving = {side.control.serving(kept.name) for kept in side.sources[stream_type(stream)].kept}
    unpublished = await backlog.events(published or 0, eventful)
    projections: list[TableLag] = []
    for it in tables:
        # What is applied beyond the newest event is as far as one can be.
        commits = eventful - min(it.complete, eventful)
        projections.append(
            {
                "table": it.table,
                "serving": it.table in serving,
                "applied": it.complete,
                "commits": commits,
                "events": (max((end or 0) - it.offset, 0) + unpublished) if commits else 0,
                "seconds": await backlog.age(it.complete) if commits else 0.0,
            }
        )
    answering = [it for it in projections if it["serving"]]
    applied: int | None = min((it["applied"] for it in answering), default=None)
    # A type of which there is no table is done when its events are on their topic.
    reached = applied if side.sources[stream_type(stream)].kept else published
    return {
        "stream": stream,
        "committed_offset": head.offset if head and head.offset >= 0 else None,
        "epoch": head.epoch if head else 0,
        "owner": head.owner if head else None,
        "head": head.nr if head else 0,
        "eventful": eventful,
        "published": published,
        "applied": applied,
        "lag": eventful - min(reached or 0, eventful),
        "ahead": ahead,
        "events": max((it["events"] for it in answering), default=0),
        "seconds": max((it["seconds"] for it in answering), default=0.0),
        "unpublished_events": unpublished,
        "projections": projections,
    }

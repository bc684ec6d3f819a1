"""Exact lag: per stream, how far the journal, the events topic and the tables are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from projections.projection_app import ReadSide
from streams.health import problem
from streams.journal import Unavailable, stream_name


def add_lag(side: ReadSide) -> None:
    """Serve `/lag`: `lag` is the number of commits from the newest with an event back to the newest applied."""

    @side.app.page("/lag")
    async def lag(view: Any, request: Any) -> Any:
        def here(partitions: list[int]) -> dict[str, Any]:
            return {
                "published": {t.stream: t.published.nr for ts in side.tailers.values() for t in ts.tails.values()},
                "applied": {stream_name(a.source, p): a.applied(p) for a in side.appliers.values() for p in partitions},
            }

        try:
            heads = await _heads(side) if "X-Hop" not in request.headers else {}
        except Unavailable as error:
            return problem(view, 503, "Journal not available", str(error))
        return await side.doors.gather(view, request, here, lambda answers: _report(heads, answers))


async def _heads(side: ReadSide) -> dict[str, Any]:
    streams = [
        (journal, stream_name(type_, partition))
        for type_, journal in side.journals.items()
        for partition in range(side.app.settings.partitions)
    ]
    heads = await asyncio.gather(*(journal.head(stream) for journal, stream in streams))
    return {stream: head for (_, stream), head in zip(streams, heads, strict=True)}


def _report(heads: dict[str, Any], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    published = {stream: nr for answer in answers for stream, nr in answer["published"].items()}
    applied = {stream: nr for answer in answers for stream, nr in answer["applied"].items()}
    streams = []
    for stream, head in heads.items():
        eventful = head.eventful_nr if head else 0
        # What is published or applied beyond the newest event is as far as one can be.
        reached = min(applied.get(stream) or 0, eventful)
        streams.append(
            {
                "stream": stream,
                "committed_offset": head.offset if head and head.offset >= 0 else None,
                "epoch": head.epoch if head else 0,
                "owner": head.owner if head else None,
                "head": head.nr if head else 0,
                "eventful": eventful,
                "published": published.get(stream),
                "applied": applied.get(stream),
                "lag": eventful - reached,
            }
        )
    return {"streams": streams, "total": sum(stream["lag"] for stream in streams)}

"""How far tables and topics are: the one measure behind `/lag`, `/projections`, `/metrics` and the command line.

Events are counted by the offsets of the events topic, and those that only the log has by its commits. An event counts
as often as it stands in the topic, which is twice at most for the few that a tailer published again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from projections.app import ReadSide
from projections.applying.partition_processor import PartitionProcessor, PartitionTable
from projections.stores.rows import Checkpoint
from streams.journal.position import stream_name


class TopicReach(msgspec.Struct, frozen=True, array_like=True):
    """How far a stream is published: a commit up to which all its events are on the topic, and the offset behind its
    end."""

    nr: int
    end: int


class TableReach(msgspec.Struct, frozen=True, array_like=True):
    """How far a table is in one partition: the newest commit that it has whole, the events that are `done` of `total`,
    and the `rate`, events a second. `total` counts the topic up to the offset `end`."""

    nr: int
    done: int
    total: int
    end: int
    rate: float = 0.0

    def published_to(self, end: int) -> TableReach:
        """With what has been published since somebody looked: the topic ends at this offset now."""
        total = max(self.total, self.done) + max(end - self.end, 0)
        return msgspec.structs.replace(self, total=total, end=max(self.end, end))

    @property
    def to_go(self) -> int:
        """Events on the topic, or in the log that it lacks, that are not applied."""
        return self.total - self.done


class WorkerReach(msgspec.Struct, frozen=True):
    """How far one worker has published, by stream, and applied, by stream and table."""

    published: Mapping[str, TopicReach]
    applied: Mapping[str, Mapping[str, TableReach]]


async def published_here(side: ReadSide) -> dict[str, TopicReach]:
    """How far the streams are published whose tails or whose partitions are here.

    A tail here says it of all slices of its log. Where there is none, in another worker or another app, the topics of
    the partitions here are asked. Raises `Unavailable`.
    """
    tails = side.publisher.tails if side.publisher is not None else ()
    published: dict[str, TopicReach] = {}
    for tail in sorted(tails, key=lambda tail: -tail.published):  # of two logs of a slice the one before counts
        published.update({slice.stream: TopicReach(tail.published_of(slice.slice), slice.end) for slice in tail.slices})
    others = [
        stream
        for type, source in side.sources.items()
        if source.kept or side.publisher is None or type not in side.journals
        for number in (source.partitions if source.kept else side.partitions_served)
        if (stream := stream_name(type, number)) not in published
    ]
    ends = await asyncio.gather(*map(side.topic_ends.of, others))
    published.update({stream: TopicReach(*end) for stream, end in zip(others, ends, strict=True)})
    return published


async def reach_here(side: ReadSide) -> WorkerReach:
    """How far this worker has published and applied. Raises `Unavailable`."""
    partitions = [partition for source in side.sources.values() for partition in source.partitions.values()]
    applied = {
        partition.stream: {name: reach_of(partition, table) for name, table in partition.tables.items()}
        for partition in partitions
    }
    return WorkerReach(await published_here(side), applied)


def reach_of(partition: PartitionProcessor, table: PartitionTable) -> TableReach:
    """How far a table that is kept up to date is, or was when it was paused."""
    progress, place = partition.progress(table.table), at_rest(table.place)
    if progress is None:
        return place
    # Before it has begun it knows nothing yet, and one of several tables is the furthest behind: it begins there.
    done, end = max(progress.done, place.done), max(progress.end, progress.offset)
    rate = 0.0 if partition.is_current(table.table) else progress.rate
    return TableReach(place.nr, done, progress.total, end, rate)


def at_rest(place: Checkpoint) -> TableReach:
    """How far a table is that nobody keeps up to date."""
    return TableReach(place.complete, place.offset, place.offset, place.offset)

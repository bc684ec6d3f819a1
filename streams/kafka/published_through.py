"""How far events topics say that journals were published, so that a journal older than its topics is noticed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from streams.journal.port import Log, stream_name
from streams.kafka.probes import last_wanted
from streams.kafka.records import AIOKafkaConsumer
from streams.kafka.topic_metadata import read_metadata

LOOK_SECONDS = 5.0

_PLACE = re.compile(rb"([0-9]{1,18}):([0-9]{1,9})")

Position = tuple[int, int]
"""Commit number and index of an event in its stream."""


class JournalBehind(Exception):
    """A journal ends before what was published from it, so it is not the one that it was: nothing may be appended
    until somebody has looked."""


def behind(stream: str, published: Position, head: int) -> str:
    """The one line that says so."""
    place, ends = "{}:{}".format(*published), f"ends at commit {head}" if head else "has nothing of it"
    return (
        f"{stream}: its events are published up to {place}, and the journal {ends}: is JOURNAL_URL right, was the"
        ' journal restored? See "What belongs together" in docs/operations.md'
    )


def position_of(
    headers: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None], stream: str
) -> Position | None:
    """The place in `stream` that a record was published from; None for a record that the tailer has not written.

    An event has its position as its id: who copies the headers of one, to make another of it, gives that its own id.
    """
    attributes = dict(headers)
    position, start = attributes.get("ce_position"), f"{stream}:".encode()
    if position is None or position != attributes.get("ce_id") or not position.startswith(start):
        return None
    place = _PLACE.fullmatch(position, len(start))
    nr, index = (int(place[1]), int(place[2])) if place else (0, 0)
    return (nr, index) if nr else None


def _is_of(stream: str, record: Any) -> bool:
    return position_of(record.headers, stream) is not None


async def last_positions(bootstrap_servers: list[str], type: str, topic: str, partitions: int) -> dict[int, Position]:
    """By partition the place that its last event was published from, where it has one that can be read; whatever
    others have put behind it is passed over.

    Raises `KafkaError`, `TimeoutError`.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        present = (await read_metadata(consumer._client, [topic])).get(topic)
        wanted = [TopicPartition(topic, it) for it in range(min(partitions, present.partitions if present else 0))]
        if not wanted:
            return {}
        firsts, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        missing = {tp for tp in wanted if firsts[tp] < ends[tp]}
        others = set(missing)
        """Partitions that do not end with an event."""
        found: dict[int, Position] = {}
        if missing:
            consumer.assign(list(missing))
            for tp in missing:
                consumer.seek(tp, ends[tp] - 1)
        until = time.monotonic() + LOOK_SECONDS
        while missing and time.monotonic() < until:
            for tp, records in (await consumer.getmany(*missing, timeout_ms=1000)).items():
                if records:
                    missing.discard(tp)
                    position = position_of(records[-1].headers, stream_name(type, tp.partition))
                    if position is not None:
                        found[tp.partition] = position
                        others.discard(tp)
        for tp in others:
            stream = stream_name(type, tp.partition)
            consumer.assign([tp])
            record = await last_wanted(consumer, tp, partial(_is_of, stream))
            position = position_of(record.headers, stream) if record is not None else None
            if position is not None:
                found[tp.partition] = position
        return found
    finally:
        await consumer.stop()


async def check_not_behind(journal: Log | None, type: str, published: Mapping[int, Position]) -> None:
    """Raise `JournalBehind` where a stream of the journal, of which there may be none yet, ends before what its topic
    says. That was read before: an event is published after its commit.

    Raises `Unavailable`.
    """
    streams = [stream_name(type, partition) for partition in published]
    heads = await asyncio.gather(*map(journal.head, streams)) if journal is not None else [None] * len(streams)
    for stream, position, head in zip(streams, published.values(), heads, strict=True):
        if head is None or head.nr < position[0]:
            raise JournalBehind(behind(stream, position, head.nr if head else 0))

"""How far events topics say that journals were published, so that a journal older than its topics is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from streams.journal.port import Commit, Log, stream_name
from streams.journal.position import Place, Position, parse_place
from streams.kafka.probes import last_wanted
from streams.kafka.records import AIOKafkaConsumer
from streams.kafka.topic_metadata import read_metadata

LOOK_SECONDS = 5.0


class JournalBehind(Exception):
    """A journal ends before what was published from it, so it is not the one that it was: nothing may be appended
    until somebody has looked."""


def behind(published: Position, head: int) -> str:
    """Why nothing may be appended to a stream whose newest commit is `head`, 0 for none, in one line."""
    ends = f"ends at commit {head}" if head else "has nothing of it"
    return (
        f"{published.stream}: its events are published up to {published.nr}:{published.index}, and the journal {ends}:"
        ' is JOURNAL_URL right, was the journal restored? See "What belongs together" in docs/operations.md'
    )


def published_place(
    headers: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None], stream: str
) -> Place | None:
    """The place in `stream` that a record was published from; None for a record that the tailer has not written.

    An event has its position as its id: who copies the headers of one, to make another of it, gives that its own id.
    """
    attributes = headers if isinstance(headers, dict) else dict(headers)
    position = attributes.get("ce_position")
    if position is None or position != attributes.get("ce_id"):
        return None
    try:
        text = position.decode()
        place = parse_place(text)
    except ValueError:
        return None
    return place if place[0] and text.startswith(f"{stream}:") else None


def _is_of(stream: str, record: Any) -> bool:
    return published_place(record.headers, stream) is not None


async def last_positions(bootstrap_servers: list[str], type: str, topic: str, partitions: int) -> list[Position]:
    """The position of the last event of each partition that has one which can be read; whatever others have put behind
    it is passed over.

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
            return []
        firsts, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        missing = {tp for tp in wanted if firsts[tp] < ends[tp]}
        others = set(missing)
        """Partitions that do not end with an event."""
        positions: list[Position] = []
        if missing:
            consumer.assign(list(missing))
            for tp in missing:
                consumer.seek(tp, ends[tp] - 1)
        until = time.monotonic() + LOOK_SECONDS
        while missing and time.monotonic() < until:
            for tp, records in (await consumer.getmany(*missing, timeout_ms=1000)).items():
                if records:
                    missing.discard(tp)
                    stream = stream_name(type, tp.partition)
                    place = published_place(records[-1].headers, stream)
                    if place is not None:
                        positions.append(Position(stream, *place))
                        others.discard(tp)
        for tp in others:
            stream = stream_name(type, tp.partition)
            consumer.assign([tp])
            record = await last_wanted(consumer, tp, partial(_is_of, stream))
            place = published_place(record.headers, stream) if record is not None else None
            if place is not None:
                positions.append(Position(stream, *place))
        return positions
    finally:
        await consumer.stop()


async def check_not_behind(journal: Log | None, published: Collection[Position]) -> None:
    """Raise `JournalBehind` where a stream of the journal, of which there may be none yet, ends before what its topic
    says. That was read before: an event is published after its commit.

    Raises `Unavailable`.
    """
    if journal is None:
        heads: list[Commit | None] = [None] * len(published)
    else:
        heads = await asyncio.gather(*(journal.head(position.stream) for position in published))
    for position, head in zip(published, heads, strict=True):
        if head is None or head.nr < position.nr:
            raise JournalBehind(behind(position, head.nr if head else 0))

"""The positions up to which events topics have journals, by which a journal older than its topics is noticed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from streams.journal.layout import Layout
from streams.journal.port import Log, log_name
from streams.journal.position import Place, Position, parse_place, stream_name, stream_type
from streams.kafka.client_factory import ClientFactory
from streams.kafka.probes import last_wanted
from streams.kafka.topic_metadata import read_metadata


class JournalBehind(Exception):
    """A journal ends before events that were published from it, so it is not the journal that it was: nothing may be
    appended until somebody has looked."""


def journal_is_behind(published: Position, head: int) -> str:
    """The reason, in one line, why nothing may be appended to a stream whose newest commit is `head`, 0 for none."""
    ends = f"ends at commit {head}" if head else "has nothing of it"
    return (
        f"{published.stream}: its events are published up to {published.nr}:{published.index}, and the journal {ends}:"
        ' is JOURNAL_URL right, was the journal restored? See "What belongs together" in docs/operations.md'
    )


def published_place(
    headers: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None], stream: str
) -> Place | None:
    """The place in `stream` that a record was published from; None for a record that the tailer has not written.

    An event has its position as its id. A record made of the headers of an event has an id of its own.
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


async def last_positions(clients: ClientFactory, type: str, topic: str, partitions: int) -> list[Position]:
    """The position of the last event of each partition that has one which can be read. Records that others have put
    behind it are passed over, and so are partitions without a leader: the others say enough of a journal.

    Raises `KafkaError`, `TimeoutError`.
    """
    consumer = clients.consumer(auto_offset_reset="earliest")
    positions: list[Position] = []
    try:
        await consumer.start()
        present = (await read_metadata(consumer._client, [topic])).get(topic)
        for partition in range(min(partitions, present.partitions if present else 0)):
            if present is not None and partition in present.without_leader:
                continue
            tp, stream = TopicPartition(topic, partition), stream_name(type, partition)
            consumer.assign([tp])
            record = await last_wanted(consumer, tp, partial(_is_of, stream))
            place = published_place(record.headers, stream) if record is not None else None
            if place is not None:
                positions.append(Position(stream, *place))
        return positions
    finally:
        await consumer.stop()


async def check_not_behind(journal: Log | None, published: Collection[Position]) -> None:
    """Raise `JournalBehind` where a log of the journal, which may not exist yet, ends before the position that the
    topic has of one of its slices. The position was read first: an event is published after its commit.

    Raises `Unavailable`.
    """
    layouts: dict[str, Layout | None] = {}
    heads: dict[str, int] = {}
    for position in published:
        type = stream_type(position.stream)
        if type not in layouts:
            layouts[type] = None if journal is None else await journal.layout(type)
        head, layout = 0, layouts[type]
        if journal is not None and layout is not None:
            span = layout.of(position.slice)
            log = log_name(type, span.number)
            if log not in heads:
                commit = await journal.head(log, span.begins_after)
                heads[log] = span.begins_after if commit is None else commit.nr
            head = heads[log]
        if head < position.nr:
            raise JournalBehind(journal_is_behind(position, head))

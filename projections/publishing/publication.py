"""What is published of an aggregate type: from which journal to which topic, and in which form."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from schemas.codec import Codec, Undecodable, content_type_of, fingerprint_of
from streams.concurrency.supervisor import Supervisor
from streams.journal.port import Commit, Journal, RecordedEvent
from streams.journal.position import position_text
from streams.kafka.client import KafkaClient, ProducerRecord
from streams.moments import in_utc

COMMIT_END = ("ce_commitend", b"1")
"""Marks the last event of a commit."""
PREVIOUS = "ce_previous"
"""The position of the event before this one in its stream: a reader that has not had that one misses something."""
NOTHING_BEFORE = 0, 0
"""The place in `ce_previous` of the first event of a stream."""

Framing = Callable[[str, list[ProducerRecord]], Awaitable[list[ProducerRecord]]]
"""Puts the records of a stream into the form in which they are sent."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The events of one aggregate type: the journal that they come from, the topic that they go to, and how.

    `source` is their `ce_source`. `framing` puts their values into the wire format of a schema registry; None: they
    go out as they are.
    """

    type: str
    topic: str
    source: str
    journal: Journal
    broker: KafkaClient
    codec: Codec
    framing: Framing | None = None
    supervisor: Supervisor = field(default_factory=Supervisor)


def event_headers(
    commit: Commit, source: bytes, codec: Codec, newest: str | None = None, first: int = 0
) -> list[tuple[int, list[tuple[str, bytes]], RecordedEvent]]:
    """The events of a commit, each with its index and with the headers that it is published with.

    `newest` is the position of the last event before them, None when it is not known. `first` is the index of the first
    of them, where the commit is only a part.
    """
    found: list[tuple[int, list[tuple[str, bytes]], RecordedEvent]] = []
    previous = newest.encode() if newest is not None else None
    moment = in_utc(commit.recorded_at).encode()
    for index, event in enumerate(commit.events, first):
        if not event.is_event:
            continue
        position = position_text(commit.stream, commit.nr, index).encode()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", position),
            ("ce_type", event.type.encode()),
            ("ce_source", source),
            ("ce_subject", event.aggregate_id.encode()),
            ("ce_time", moment),
            ("ce_sequence", b"%d" % event.sequence),
            ("ce_position", position),
            ("ce_correlationid", event.correlation_id.encode()),
            ("ce_causationid", event.command_id.encode()),
            ("ce_dataschema", _dataschema(codec, event.data)),
            ("content-type", content_type_of(event.data).encode()),
        ]
        if previous is not None:
            headers.append((PREVIOUS, previous))
        if event.traceparent:
            headers.append(("ce_traceparent", event.traceparent.encode()))
        found.append((index, headers, event))
        previous = position
    if found:
        # Who waits for a commit wants all of it, and one commit may come in several batches.
        found[-1][1].append(COMMIT_END)
    return found


def _dataschema(codec: Codec, data: bytes) -> bytes:
    try:
        schema = codec.schema_of(data)
    except Undecodable:
        # Written by a newer version: the fingerprint is enough to find the schema in the journal.
        with contextlib.suppress(Undecodable):
            return b"urn:avro:" + fingerprint_of(data).hex().encode()
        return b""
    return f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}".encode()

"""What is published of an aggregate type: from which journal to which topic, and in which form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aggregates.principal import parts_of
from schemas.codec import Codec, Undecodable, content_type_of, fingerprint_of
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.supervisor import Supervisor
from streams.journal.port import Commit, Journal, RecordedEvent
from streams.journal.position import position_text
from streams.journal.slice_log import KnownLayout
from streams.kafka.client import KafkaClient, ProducerRecord
from streams.moments import in_utc
from streams.observability.table_metrics import PublishMetrics
from streams.observability.tracing import Tracer
from streams.slices import slice_of

COMMIT_END = ("ce_commitend", b"1")
"""Marks the last event of a commit in its stream."""
PREVIOUS = "ce_previous"
"""The position of the event before this one in its stream: a reader that has not had that one misses something."""
EVENTS_A_TURN = 200
"""About so many are handled while nobody else in this worker has a turn: some milliseconds."""
NOTHING_BEFORE = 0, 0
"""The place in `ce_previous` of the first event of a stream."""

Framing = Callable[[str, list[ProducerRecord]], Awaitable[list[ProducerRecord]]]
"""Puts the records of a stream into the form in which they are sent."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The events of one aggregate type: the journal that they come from, the topic that they go to, and how.

    `layout` says which logs the type has. `source` is the events' `ce_source`. `framing` puts their values into the
    wire format of a schema registry; None: they go out as they are. `hints` is the topic of hints; empty: commits that
    these bring do not count.
    """

    type: str
    topic: str
    source: str
    journal: Journal
    layout: KnownLayout
    broker: KafkaClient
    codec: Codec
    framing: Framing | None = None
    hints: str = ""
    supervisor: Supervisor = field(default_factory=Supervisor)
    metrics: PublishMetrics | None = None
    tracer: Tracer | None = None


def events_in(commit: Commit, slice: int, slices: int) -> list[tuple[int, RecordedEvent]]:
    """The events of one of `slices` slices in a commit, each with its index."""
    return [
        (index, event)
        for index, event in enumerate(commit.events)
        if event.is_event and slice_of(event.aggregate_id, slices) == slice
    ]


async def in_turns(commits: Sequence[Commit]) -> AsyncIterator[Commit]:
    """Commits one by one, with others' turns in between when about `EVENTS_A_TURN` of their events have been passed.

    Whoever looks at the clock at each commit of a busy worker waits in line at each, behind all others.
    """
    passed = 0
    for commit in commits:
        if passed >= EVENTS_A_TURN:
            await yield_if_due()
            passed = 0
        passed += len(commit.events)
        yield commit


def events_by_slice(commit: Commit, slices: int) -> Mapping[int, Sequence[tuple[int, RecordedEvent]]]:
    """The events of a commit by slice, in order. `slices` is the number of all slices of the type."""
    found: dict[int, list[tuple[int, RecordedEvent]]] = {}
    for index, event in enumerate(commit.events):
        if event.is_event:
            slice = slice_of(event.aggregate_id, slices)
            if slice in found:
                found[slice].append((index, event))
            else:
                found[slice] = [(index, event)]
    return found


def event_headers(
    stream: str,
    nr: int,
    recorded_at: datetime,
    events: Iterable[tuple[int, RecordedEvent]],
    *,
    source: bytes,
    codec: Codec,
    newest: str | None = None,
) -> list[tuple[int, list[tuple[str, bytes]], RecordedEvent]]:
    """The events of a stream in commit `nr`, each with its index and with the headers that it is published with.

    `newest` is the position of the last event of the stream before them, None when it is not known.
    """
    found: list[tuple[int, list[tuple[str, bytes]], RecordedEvent]] = []
    previous = newest.encode() if newest is not None else None
    moment = in_utc(recorded_at).encode()
    for index, event in events:
        position = position_text(stream, nr, index).encode()
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
        if event.principal:
            headers += principal_headers(event.principal)
        found.append((index, headers, event))
        previous = position
    if found:
        # Who waits for a commit wants all of it, and one commit may come in several batches.
        found[-1][1].append(COMMIT_END)
    return found


def principal_headers(text: str) -> list[tuple[str, bytes]]:
    """The headers of an event that say who has sent the command, of a `Principal.text`."""
    who, origin = parts_of(text)
    return [("ce_principal", who.encode()), *([("ce_onbehalfof", origin.encode())] if origin else [])]


def _dataschema(codec: Codec, data: bytes) -> bytes:
    try:
        schema = codec.schema_of(data)
    except Undecodable:
        # Written by a newer version: the fingerprint is enough to find the schema in the journal.
        with contextlib.suppress(Undecodable):
            return b"urn:avro:" + fingerprint_of(data).hex().encode()
        return b""
    return f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}".encode()

"""The spans of an event's way: onto its topic, into tables, and to the commands that it causes.

Whoever publishes an event, or sends a command, names its own span in the header `traceparent`; `ce_traceparent` beside
it stays as it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from streams.journal.port import RecordedEvent
from streams.observability.traces import HEADER, SpanRef, of_command, sampled
from streams.observability.tracing import MOST_LINKS, Attributes, Kind, Span, Tracer, is_old

Hop = tuple[str, bytes]
"""A header that names a span."""
MESSAGING = {"messaging.system": "kafka"}


class _Published(NamedTuple):
    """What the span of a published event is made of."""

    start: SpanRef
    aggregate_id: str
    command_id: str
    event: str
    position: str
    recorded_at: float


class PublishTraces:
    """Of one slice of an aggregate type, whose events go to `topic`. `of` and then `published`, again and again."""

    def __init__(self, tracer: Tracer, type: str, topic: str) -> None:
        self._tracer = tracer
        self._type = type
        self._topic = topic
        self._waiting: list[_Published] = []

    def hop(self, event: RecordedEvent, position: str, recorded_at: datetime) -> Hop | None:
        """The header of an event that is about to be published; None for one of a trace that nobody keeps, and for an
        old one: who reads it links it to the start of its transmission."""
        start, moment = sampled(event.traceparent), recorded_at.timestamp()
        if start is None or is_old(moment):
            return None
        one = _Published(start, event.aggregate_id, event.command_id, event.type, position, moment)
        self._waiting.append(one)
        return HEADER, start.child("event", one.position).traceparent.encode()

    def published(self) -> None:
        """All those are on their topic."""
        if self._waiting:
            told, self._waiting = self._waiting, []
            self._tracer.put(len(told), partial(self._spans, told, time.time()))

    def forget(self) -> None:
        """They are not published now."""
        self._waiting.clear()

    def _spans(self, told: Sequence[_Published], ended: float) -> Iterator[Span]:
        shared = {
            **MESSAGING,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._topic,
            "sourced.aggregate.type": self._type,
        }
        for one in told:
            ref = one.start.child("event", one.position)
            command = of_command(one.start, self._type, one.aggregate_id, one.command_id)
            attributes = {"sourced.event": one.event, "sourced.position": one.position}
            name, began = f"send {self._topic}", min(one.recorded_at, ended)
            yield Span(ref, command.span_id, name, Kind.PRODUCER, began, ended, attributes, shared)


class AppliedEvent(NamedTuple):
    """What the span of an event in tables is made of: the `traceparent` of its record, its place, name and time (RFC
    3339)."""

    traceparent: str
    position: str
    name: str
    time: str


class TableTraces:
    """Of the tables of an aggregate type in this worker, whose events come from `topic`."""

    def __init__(self, tracer: Tracer, topic: str) -> None:
        self._tracer = tracer
        self._topic = topic

    def applied(self, events: Sequence[AppliedEvent], tables: Sequence[str], seconds: float) -> None:
        """These tables have taken a batch, in which these events are of traces that are kept; it took so long."""
        ended = time.time()
        self._tracer.put(len(events), partial(self._spans, events, tables, ended - seconds, ended))

    def _spans(
        self, events: Sequence[AppliedEvent], tables: Sequence[str], began: float, ended: float
    ) -> Iterator[Span]:
        shared = {
            **MESSAGING,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._topic,
            "sourced.tables": tables,
        }
        name, old = f"process {self._topic}", []
        for event in events:
            hop = sampled(event.traceparent)
            if hop is None:
                continue
            if is_old(seconds_of(event.time, ended)):
                old.append(hop)
                continue
            attributes = {"sourced.event": event.name, "sourced.position": event.position}
            yield Span(hop.child(), hop.span_id, name, Kind.CONSUMER, began, ended, attributes, shared)
        root = self._tracer.begin("", name) if old else None
        if root is not None:
            of_batch = {"sourced.events": len(old)}
            yield Span(root, "", name, Kind.CONSUMER, began, ended, of_batch, shared, old[:MOST_LINKS])


def seconds_of(moment: str, default: float) -> float:
    """A time (RFC 3339) as seconds since 1970; `default` for what is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return default


class Sending(NamedTuple):
    """A command that is about to be sent: its `ce_traceparent`, and the header that names the span of the sending."""

    traceparent: str
    headers: Sequence[Hop] = ()


class _Sent(NamedTuple):
    """What the span of a command that was sent is made of."""

    ref: SpanRef
    parent: str
    links: Sequence[SpanRef]
    topic: str
    command: str
    began: float


class SendTraces:
    """The commands that `process`, a process manager, sends."""

    def __init__(self, tracer: Tracer, process: str) -> None:
        self._tracer = tracer
        self._process = process

    def batch(self, to: str = "") -> SentBatch:
        """Commands that are sent together, to the topic `to`, or each to its own."""
        return SentBatch(self._tracer, {**MESSAGING, "sourced.process": self._process}, to)


class SentBatch:
    """`hop` for each of them, and in the end `sent`."""

    def __init__(self, tracer: Tracer, attributes: Attributes, to: str) -> None:
        self._to = to
        self._tracer = tracer
        self._attributes = attributes
        self._told: list[_Sent] = []

    def of_event(self, event: RecordedEvent, type: str, recorded_at: datetime, command: str, to: str) -> Sending | None:
        """A command to the topic `to` that an event of the journal causes, as `begin`; None for one of a trace that
        nobody keeps."""
        start = sampled(event.traceparent)
        if start is None:
            return None
        cause = of_command(start, type, event.aggregate_id, event.command_id)
        return self.begin(event.traceparent, cause, recorded_at.timestamp(), command, to)

    def begin(self, start: str, cause: SpanRef, caused_at: float, command: str, to: str = "") -> Sending:
        """A command to the topic `to` that was caused by a span at a time (seconds since 1970), in the transmission
        that began with `start`. What was caused long ago begins a trace, with a link to the former one, or, where the
        sampler does not want it, has none."""
        to = to or self._to
        if is_old(caused_at):
            ref = self._tracer.begin("", f"send {to}")
            if ref is None:
                return Sending("")
            start = ref.traceparent
            self._told.append(_Sent(ref, "", (cause,), to, command, time.time()))
        else:
            ref = cause.child()
            self._told.append(_Sent(ref, cause.span_id, (), to, command, time.time()))
        return Sending(start, [(HEADER, ref.traceparent.encode())])

    def sent(self) -> None:
        """All of them are on their topics."""
        if self._told:
            told, self._told = self._told, []
            self._tracer.put(len(told), partial(self._spans, told, time.time()))

    def _spans(self, told: Sequence[_Sent], ended: float) -> Iterator[Span]:
        for one in told:
            attributes = {
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": one.topic,
                "sourced.command": one.command,
            }
            yield Span(
                one.ref,
                one.parent,
                f"send {one.topic}",
                Kind.PRODUCER,
                one.began,
                ended,
                attributes,
                self._attributes,
                one.links,
            )

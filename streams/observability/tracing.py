"""Spans as the engine knows them, and the port through which they leave. A worker without a tracer makes none: whoever
could make some asks once whether there is one.

Spans are made late. Whoever has something to tell hands over how many spans that will be, and a function that makes
them from what it has kept, which is little; it is called when they are sent, behind replies and tables.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from streams.observability.traces import SpanRef
from streams.settings import Settings, SettingsError

JOIN_SECONDS = 120.0
"""What is caused by an event that is older than this has a trace of its own, with a link to that of the event: a table
that is built anew would hang a year of work onto traces that have ended."""
MOST_LINKS = 128
"""Of one span; collectors take no more, unless they are told to."""

_OTLP = "streams.observability.otlp"
"""The one module that knows OpenTelemetry."""

Value = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Value]


class Kind(IntEnum):
    """What a span stands for, by the numbers of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span(msgspec.Struct, gc=False):
    """Something that took from `began` to `ended`, in seconds since 1970.

    parent    the id of a span of the same trace; empty for the first of a trace
    shared    attributes that the spans around it have too: the same object, which is encoded once
    links     spans of other traces that it belongs to as well
    error     why it failed; empty when it did not
    """

    ref: SpanRef
    parent: str
    name: str
    kind: Kind
    began: float
    ended: float
    attributes: Attributes = {}
    shared: Attributes = {}
    links: Sequence[SpanRef] = ()
    error: str = ""


class Tracer(Protocol):
    """Takes the spans of one worker."""

    def begin(self, traceparent: str, name: str) -> SpanRef | None:
        """A new span that begins here: in the trace that a `traceparent` names, else in a new one; None where the
        sampler wants none of it."""

    def put(self, count: int, spans: Callable[[], Iterable[Span]]) -> None:
        """Have so many spans made and sent, later. Those for which there is no room are lost."""


class RunningTracer(Tracer, Protocol):
    """A tracer with the task that sends what it was given."""

    async def run(self) -> None:
        """Send spans, until `end` was called and none is left."""

    def end(self) -> None:
        """Have `run` return when those that wait are sent."""


def open_tracer(settings: Settings, name: str) -> RunningTracer | None:
    """The tracer of a worker of the app `name`; None where the settings say of no collector.

    Raises `SettingsError`, also where OpenTelemetry is not installed.
    """
    if not settings.collector_url:
        return None
    try:
        otlp = importlib.import_module(_OTLP)
    except ImportError as error:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed ({error.name or error}):"
            " pip install 'sourced-streams[otel]'"
        ) from None
    tracer: RunningTracer = otlp.OtlpTracer(settings, name)
    return tracer


def parent_of(start: SpanRef, hop: SpanRef | None) -> tuple[str, Sequence[SpanRef]]:
    """Which span sent a message, and links: the one that its hop names; one of another trace is linked, and the message
    belongs to the start of its transmission."""
    if hop is None:
        return start.span_id, ()
    return (hop.span_id, ()) if hop.trace_id == start.trace_id else (start.span_id, (hop,))


def is_old(began: float) -> bool:
    """Whether what began then (seconds since 1970) is to be linked, and not joined."""
    return time.time() - began > JOIN_SECONDS

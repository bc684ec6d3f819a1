"""Spans on their way to a collector: OTLP over HTTP, https://opentelemetry.io/docs/specs/otlp/#otlphttp.

The one module that knows OpenTelemetry: its messages, its samplers, and how a process describes itself. Spans are
encoded here and not by its SDK, whose encoder takes 55 us for one; here it is 10, and what many have in common is
encoded once. That is done between other work of the worker, a few spans at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Status
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from opentelemetry.util.re import parse_env_headers

from streams.observability.traces import SpanRef, new_trace, read
from streams.observability.tracing import Attributes, Span, Value
from streams.security.tls import RenewedContext, TlsFiles
from streams.settings import Settings, SettingsError, split_url, without_login

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Spans that wait to be sent; those that come when there are more are lost."""
AT_ONCE = 500
"""Spans of a request."""
ENCODED_AT_ONCE = 100
"""Spans that are made while nobody else in the worker has a turn: about a millisecond."""
PAUSE_SECONDS = 1.0
"""Between two requests where little is to be sent."""
AGAIN_SECONDS, LONGEST_AGAIN = 1.0, 30.0
"""Between two attempts at a collector that does not answer: each is twice as long as the one before."""
TIMEOUT_SECONDS = 10.0
PASSES = (429, 502, 503, 504)
"""Answers after which the same is sent again."""
_REMOTE = 0x300
"""Flags of a span that say that its parent is known, and is one of another process. It may be one of this one, too."""
_UNKNOWN_SERVICE = "unknown_service"
_ROOTS: Mapping[str, sampling.Sampler] = {"always_on": sampling.ALWAYS_ON, "always_off": sampling.ALWAYS_OFF}
_RATIO = "traceidratio"


class OtlpTracer:
    """The tracer of a worker of the app `name`. Raises `SettingsError`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.lost = 0
        """Spans for which there was no room, or that the collector has refused."""
        self._url = _url(settings)
        self._shown_url = without_login(self._url)
        self._sampler = _sampler(settings)
        self._headers = {"Content-Type": "application/x-protobuf", **_headers(settings)}
        self._tls = _tls(settings)
        resource = Resource.create({SERVICE_INSTANCE_ID: f"{os.uname().nodename}:{os.getpid()}"})
        if str(resource.attributes.get(SERVICE_NAME, _UNKNOWN_SERVICE)).startswith(_UNKNOWN_SERVICE):
            resource = resource.merge(Resource({SERVICE_NAME: name}))
        self._resource = [_pair(key, value) for key, value in resource.attributes.items()]
        self._queue: deque[tuple[int, Callable[[], Iterable[Span]]]] = deque()
        self.waiting = 0
        """Spans that wait to be sent."""
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._is_closing = False
        self._session: aiohttp.ClientSession | None = None
        self._silent = False
        """Whether it was said that the collector takes nothing."""

    # -- what is told -------------------------------------------------------------------------------------------------

    def begin(self, traceparent: str, name: str) -> SpanRef | None:
        """A new span that begins here: in the trace that a `traceparent` names, else in a new one; None where the
        sampler wants none of it."""
        came = read(traceparent)
        parent, ref = Context(), new_trace()
        if came is not None:
            above, is_sampled = came
            ref = above.child()
            flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
            span = SpanContext(int(above.trace_id, 16), int(above.span_id, 16), is_remote=True, trace_flags=flags)
            parent = set_span_in_context(NonRecordingSpan(span), parent)
        result = self._sampler.should_sample(parent, int(ref.trace_id, 16), name)
        return ref if result.decision is sampling.Decision.RECORD_AND_SAMPLE else None

    def put(self, count: int, spans: Callable[[], Iterable[Span]]) -> None:
        """Have so many spans made and sent, later. Those for which there is no room are lost."""
        if self.waiting + count > MOST_WAITING and self.waiting:
            self.lost += count
            return
        self._queue.append((count, spans))
        self.waiting += count
        self._some.set()
        if self.waiting >= AT_ONCE:
            self._many.set()

    # -- on its way ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send spans, until `end` was called and none is left."""
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers) as self._session:
            while self._queue or not self._is_closing:
                await self._some.wait()
                if not self._is_closing:
                    await self._for_company()
                count, body = await self._body()
                if count:
                    await self._deliver(count, body)

    async def _for_company(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._many.wait()

    def end(self) -> None:
        """Have `run` return when all that wait are sent, or one more request was not taken."""
        self._is_closing = True
        self._some.set()
        self._many.set()

    async def _body(self) -> tuple[int, bytes]:
        """The next request, and how many spans are in it."""
        request = ExportTraceServiceRequest()
        of_worker = request.resource_spans.add()
        of_worker.resource.attributes.extend(self._resource)
        scope = of_worker.scope_spans.add()
        scope.scope.name = "sourced"
        encoder = Encoder(scope)
        while self._queue and len(scope.spans) < AT_ONCE:
            count, make = self._queue.popleft()
            self.waiting -= count
            spans = iter(make())
            while some := list(islice(spans, ENCODED_AT_ONCE)):
                for span in some:
                    encoder.add(span)
                await asyncio.sleep(0)
        if not self._queue and not self._is_closing:
            self._some.clear()
        if self.waiting < AT_ONCE and not self._is_closing:
            self._many.clear()
        return len(scope.spans), request.SerializeToString()

    async def _deliver(self, count: int, body: bytes) -> None:
        """Send one request, again and again while the collector does not answer. What it refuses is lost."""
        pause = AGAIN_SECONDS
        while True:
            reason, is_passing = await self._post(body)
            if not reason:
                if self._silent:
                    log.warning("traces: %s takes spans again; %d were lost", self._shown_url, self.lost)
                self._silent, self.lost = False, 0
                return
            if not self._silent:
                log.warning("traces: %s takes no spans: %s. Nothing waits for it", self._shown_url, reason)
                self._silent = True
            if not is_passing or self._is_closing:
                self.lost += count
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_AGAIN)

    async def _post(self, body: bytes) -> tuple[str, bool]:
        """Why a request was not taken, and whether that may pass; an empty reason when it was."""
        assert self._session is not None
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                if response.status < 300:
                    return "", False
                return f"it answers {response.status}", response.status in PASSES
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return str(error) or type(error).__name__, True


class Encoder:
    """Adds spans to a message of OTLP."""

    def __init__(self, spans: ScopeSpans) -> None:
        self._spans = spans
        self._shared: tuple[Attributes, list[Any]] = ({}, [])

    def add(self, span: Span) -> None:
        """One more."""
        trace_id = bytes.fromhex(span.ref.trace_id)
        encoded = self._spans.spans.add(
            trace_id=trace_id,
            span_id=bytes.fromhex(span.ref.span_id),
            parent_span_id=bytes.fromhex(span.parent),
            name=span.name,
            kind=int(span.kind),
            start_time_unix_nano=int(span.began * 1e9),
            end_time_unix_nano=int(span.ended * 1e9),
            flags=_REMOTE | 1,
        )
        if span.shared is not self._shared[0]:
            self._shared = span.shared, [_pair(key, value) for key, value in span.shared.items()]
        attributes = encoded.attributes
        attributes.extend(self._shared[1])
        for key, value in span.attributes.items():
            pair = attributes.add(key=key)
            _put(pair.value, value)
        for link in span.links:
            encoded.links.add(
                trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id), flags=_REMOTE | 1
            )
        if span.error:
            encoded.status.code = Status.STATUS_CODE_ERROR
            encoded.status.message = span.error


def _pair(key: str, value: Any) -> KeyValue:
    pair = KeyValue(key=key)
    _put(pair.value, value)
    return pair


def _put(encoded: AnyValue, value: Value) -> None:
    match value:
        case str():
            encoded.string_value = value
        case bool():
            encoded.bool_value = value
        case int():
            encoded.int_value = value
        case float():
            encoded.double_value = value
        case _:
            encoded.array_value.CopyFrom(ArrayValue(values=[AnyValue(string_value=text) for text in value]))


# -- settings -------------------------------------------------------------------------------------------------------


def _sampler(settings: Settings) -> sampling.Sampler:
    """By OpenTelemetry's names. Raises `SettingsError`."""
    name = settings.otel_traces_sampler or "parentbased_always_on"
    text = settings.otel_traces_sampler_arg
    names = [f"{beginning}{root}" for beginning in ("", "parentbased_") for root in (*_ROOTS, _RATIO)]
    if name not in names:
        raise SettingsError(f"OTEL_TRACES_SAMPLER={name!r}: use {', '.join(names[:-1])} or {names[-1]}")
    root = _ROOTS.get(name.removeprefix("parentbased_"))
    if root is None:
        try:
            root = sampling.TraceIdRatioBased(float(text or 1.0))
        except ValueError:
            raise SettingsError(f"OTEL_TRACES_SAMPLER_ARG={text!r}: use a part of 1, such as 0.01") from None
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


def _headers(settings: Settings) -> dict[str, str]:
    """Those that the collector wants, for a login say. Raises `SettingsError`."""
    given = settings.otel_exporter_otlp_headers.reveal()
    headers = dict(parse_env_headers(given, liberal=True))
    if given.strip() and not headers:
        raise SettingsError("OTEL_EXPORTER_OTLP_HEADERS: use name=value, with , between several")
    return headers


def _url(settings: Settings) -> str:
    """Where requests go. Raises `SettingsError`."""
    url, name = settings.collector_url, "OTEL_EXPORTER_OTLP_ENDPOINT"
    if settings.otel_exporter_otlp_traces_endpoint:
        name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    if split_url(url, name).scheme not in ("http", "https") or not split_url(url, name).hostname:
        raise SettingsError(f"{name}={without_login(url)!r}: use the URL of a collector, as http://127.0.0.1:4318")
    for setting, given, spoken in (
        ("OTEL_EXPORTER_OTLP_PROTOCOL", settings.otel_exporter_otlp_protocol, "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", settings.otel_traces_exporter, "otlp"),
    ):
        if given and given != spoken:
            raise SettingsError(f"{setting}={given!r} is not spoken here: use {spoken}")
    return url


@dataclass(frozen=True)
class _OfCollector(TlsFiles):
    """The authorities of the collector."""

    def named(self, kind: str) -> str:
        return "OTEL_EXPORTER_OTLP_CERTIFICATE"


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Whom to trust; None: the authorities of the system. Raises `SettingsError`."""
    file = settings.otel_exporter_otlp_certificate
    return RenewedContext(_OfCollector("OTEL", file)) if file else None

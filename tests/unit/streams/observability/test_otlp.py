"""Spans on their way to a collector over HTTP: which of them, by which settings, and what becomes of them while nobody
takes them."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest

from streams.concurrency.tasks import cancel
from streams.observability import otlp
from streams.observability.otlp import OtlpTracer
from streams.observability.traces import SpanRef, new_trace, read
from streams.observability.tracing import Kind, Span, open_tracer
from streams.settings import Settings, SettingsError
from tests.collector import collector
from tests.e2e.worker import free_port
from tests.unit.until import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-00f067aa0ba902b7-0{flag}" for flag in (1, 0))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits, and nothing of the environment that runs this."""
    monkeypatch.setattr(otlp, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(otlp, "AGAIN_SECONDS", 0.01)
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def settings(url: str = "http://127.0.0.1:4318", **others: str) -> Settings:
    return Settings.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url, **others})


@asynccontextmanager
async def running(tracer: OtlpTracer) -> AsyncIterator[None]:
    task = asyncio.create_task(tracer.run())
    try:
        yield
    finally:
        await cancel(task)


def spans(count: int = 1, name: str = "test") -> Iterator[Span]:
    for _ in range(count):
        yield Span(new_trace(), "", name, Kind.INTERNAL, 1.0, 2.0)


# -- what is sent -----------------------------------------------------------------------------------------------------


async def test_a_span_comes_as_it_was_told() -> None:
    """With its kind, times, attributes of each kind, those that it shares, links and error; in the name of the app."""
    ref, link = new_trace(), new_trace()
    shared, attributes = {"shared": "s"}, {"text": "ä", "number": 3, "part": 0.5, "is": True, "list": ["a", "b"]}
    whole = Span(ref, "00f067aa0ba902b7", "whole", Kind.CONSUMER, 10.5, 11.0, attributes, shared, [link], "TooLarge")
    async with collector() as collected:
        tracer = OtlpTracer(settings(collected.url, OTEL_EXPORTER_OTLP_HEADERS="api-key=k%20y"), "n_orders")
        async with running(tracer):
            tracer.put(2, lambda: [whole, Span(ref.child(), ref.span_id, "plain", Kind.SERVER, 1.0, 2.0, {}, shared)])
            await until(lambda: len(collected.spans) == 2)
    first, second = collected.spans
    assert (*ref, "00f067aa0ba902b7") == (first.trace_id, first.span_id, first.parent)
    assert ("whole", 5, 10_500_000_000, 11_000_000_000) == (first.name, first.kind, first.began, first.ended)
    assert {**attributes, **shared} == first.attributes
    assert ([tuple(link)], "TooLarge", "n_orders") == (first.links, first.error, first.service)
    assert (shared, [], "") == (second.attributes, second.links, second.error)
    assert "k y" == collected.requests[0]["api-key"]


async def test_the_service_is_named_by_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere with OpenTelemetry."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    async with collector() as collected:
        tracer = OtlpTracer(settings("", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collected.url}/v1/traces"), "orders")
        async with running(tracer):
            tracer.put(1, spans)
            await until(lambda: collected.spans)
    assert "shop" == collected.spans[0].service


async def test_spans_are_made_when_they_are_sent_and_between_other_work() -> None:
    """Not when they are told of; and many in turns with others."""
    made: list[int] = []

    def many() -> Iterator[Span]:
        for number, span in enumerate(spans(1_000)):
            made.append(number)
            yield span

    async with collector() as collected:
        tracer = OtlpTracer(settings(collected.url), "orders")
        tracer.put(1_000, many)
        assert [] == made
        async with running(tracer):
            async with asyncio.timeout(20):
                while not made:
                    await asyncio.sleep(0)
            seen = [len(made)]
            while len(made) < 1_000:
                await asyncio.sleep(0)
                seen.append(len(made))
            await until(lambda: len(collected.spans) == 1_000)
    assert max(after - before for before, after in pairwise(seen)) <= otlp.ENCODED_AT_ONCE


async def test_what_waits_is_sent_at_the_end() -> None:
    """`run` returns when it is."""
    async with collector() as collected:
        tracer = OtlpTracer(settings(collected.url), "orders")
        tracer.put(700, partial(spans, 700))
        tracer.put(3, partial(spans, 3))
        tracer.end()
        async with asyncio.timeout(20):
            await tracer.run()
        assert 703 == len(collected.spans)


# -- while nobody takes it --------------------------------------------------------------------------------------------


async def test_a_collector_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever tells of spans waits for nothing, memory is bounded, and when the collector is back what waited comes."""
    caplog.set_level(logging.INFO, otlp.__name__)
    port = free_port()
    tracer = OtlpTracer(settings(f"http://me:secret@127.0.0.1:{port}"), "orders")
    async with running(tracer):
        for _ in range(100):
            tracer.put(400, partial(spans, 400))
        await until(lambda: caplog.records)
        for _ in range(100):
            tracer.put(400, partial(spans, 400))
        await asyncio.sleep(0.1)
        assert tracer.waiting <= otlp.MOST_WAITING
        lost = tracer.lost
        assert lost >= 80_000 - otlp.MOST_WAITING - 2 * otlp.AT_ONCE
        [said] = caplog.messages
        assert f"http://127.0.0.1:{port}/v1/traces takes no spans" in said
        assert "secret" not in said
        async with collector(port) as collected:
            await until(lambda: len(collected.spans) == 80_000 - lost and len(caplog.messages) == 2)
        _, said = caplog.messages
        assert f"takes spans again; {lost} were lost" in said


async def test_what_a_collector_refuses_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Since it would be refused again; what it cannot take just now is sent again."""
    async with collector() as collected:
        tracer = OtlpTracer(settings(collected.url), "orders")
        async with running(tracer):
            collected.status = 400
            tracer.put(3, partial(spans, 3))
            await until(lambda: tracer.lost == 3)
            collected.status = 503
            tracer.put(2, partial(spans, 2, "later"))
            await until(lambda: len(collected.requests) > 3)
            collected.status = 200
            await until(lambda: len(caplog.messages) == 2)
    assert ["later", "later"] == [span.name for span in collected.spans]
    assert ["it answers 400" in caplog.messages[0], "again; 3 were lost" in caplog.messages[1]] == [True, True]


# -- which of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "argument", "root", "sampled", "unsampled"),
    [
        ("", "", True, True, False),
        ("parentbased_always_on", "", True, True, False),
        ("parentbased_always_off", "", False, True, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("traceidratio", "1.0", True, True, True),
    ],
)
def test_samplers_are_those_of_opentelemetry(
    sampler: str, argument: str, root: bool, sampled: bool, unsampled: bool
) -> None:
    """By their names: of what begins here, and of what comes in a trace that is kept or not."""
    tracer = OtlpTracer(settings(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument), "orders")
    found = [tracer.begin(traceparent, "test") for traceparent in ("", SAMPLED, UNSAMPLED)]
    assert [root, sampled, unsampled] == [ref is not None for ref in found]
    assert {TRACE} >= {ref.trace_id for ref in found[1:] if ref is not None}
    assert found[0] is None or found[0].trace_id != TRACE


def test_a_part_of_all_traces_is_kept() -> None:
    """About as many as the sampler's argument says."""
    tracer = OtlpTracer(settings(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.1"), "orders")
    assert 100 < sum(tracer.begin("", "test") is not None for _ in range(2_000)) < 350


def test_off_unless_a_collector_is_named() -> None:
    """Nor where OpenTelemetry's own switches are off."""
    assert open_tracer(Settings(), "orders") is None
    assert open_tracer(settings(OTEL_SDK_DISABLED="true"), "orders") is None
    assert open_tracer(settings(OTEL_TRACES_EXPORTER="none"), "orders") is None
    assert isinstance(open_tracer(settings(), "orders"), OtlpTracer)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "use the URL of a collector"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "ftp://c/x"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='ftp://c/x'"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "use http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "use otlp"),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "use always_on, always_off, traceidratio, parentbased_always_on"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "use a part of 1"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "OTEL_EXPORTER_OTLP_CERTIFICATE=/none: No such file"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "nothing"}, "use name=value"),
    ],
)
def test_what_cannot_be_is_said(given: Mapping[str, str], words: str) -> None:
    """In one line, which names the setting."""
    with pytest.raises(SettingsError) as refused:
        open_tracer(settings(**given) if "ENDPOINT" not in str(given) else Settings.from_environment(given), "orders")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_the_extra_one_line_says_what_to_install() -> None:
    """And the status is 2; a worker without a collector does not need it."""
    start = "import sys; sys.modules['opentelemetry'] = None; import streams.shop.orders"
    ended = [
        subprocess.run([sys.executable, "-c", start], env={**os.environ, **more}, capture_output=True, text=True)
        for more in ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    ]
    assert [2, 0] == [process.returncode for process in ended]
    [line] = ended[0].stderr.splitlines()
    assert "error: OTEL_EXPORTER_OTLP_ENDPOINT is set" in line
    assert "pip install 'sourced-streams[otel]'" in line


def test_a_page_of_traces() -> None:
    """Is one that has a place for the id."""
    page = "https://grafana/explore?trace={trace_id}&x=1"
    assert page == Settings.from_environment({"TRACES_URL": page}).traces_url
    for wrong in ("http://jaeger/trace", "javascript:{trace_id}", "//x/{trace_id}", "https://{trace_id}"):
        with pytest.raises(SettingsError, match="TRACES_URL"):
            Settings.from_environment({"TRACES_URL": wrong})


def test_a_ref_is_read_as_it_was_written() -> None:
    """Whatever trace it is."""
    ref = new_trace()
    assert (ref, True) == read(ref.traceparent)
    assert SpanRef(TRACE, "00f067aa0ba902b7") == (read(UNSAMPLED) or ("", False))[0]

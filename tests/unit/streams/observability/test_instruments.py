"""Counters, gauges and histograms, and what Prometheus reads of them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from prometheus_client.registry import Collector

from streams.observability.exposition import exposition
from streams.observability.instruments import Instruments, counter, gauge, histogram, quantile
from streams.observability.traces import sampled_trace_id

SENT = counter("test_sent_total", "Sent", "to")
WAITING = gauge("test_waiting", "Waiting", "log")
SECONDS = histogram("test_seconds", "Seconds", "type", buckets=(0.1, 1.0))
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def read(collector: Collector) -> dict[tuple[str, ...], float]:
    """Samples of the tests' metrics by name and labels, in both formats the same."""
    found = []
    for accept, parse in (("", parsed), (OPENMETRICS, parsed_openmetrics)):
        text, _ = exposition(accept, collector)
        samples = [sample for family in parse(text.decode()) for sample in family.samples]
        found.append({(one.name, *_values(one)): one.value for one in samples if one.name.startswith("test_")})
    assert found[0] == found[1]
    return found[0]


def _values(sample: Any) -> list[str]:
    return [value for _, value in sorted(sample.labels.items(), reverse=True)]


def test_numbers_that_are_kept_and_numbers_that_are_asked_for() -> None:
    """Stand side by side; a gauge that was removed is gone."""
    instruments = Instruments()
    instruments.counter(SENT).add(2, "order")
    instruments.counter(SENT).of("user")
    instruments.counter(SENT).read(lambda: [(("all",), 7.0)])
    instruments.gauge(WAITING).set(3, "order@0")
    instruments.gauge(WAITING).set(4, "order@1")
    instruments.gauge(WAITING).remove("order@0")
    instruments.gauge(WAITING).read(lambda: [(("order@2",), 5.0)])
    assert {
        ("test_sent_total", "order"): 2.0,
        ("test_sent_total", "user"): 0.0,
        ("test_sent_total", "all"): 7.0,
        ("test_waiting", "order@1"): 4.0,
        ("test_waiting", "order@2"): 5.0,
    } == read(instruments)


def test_many_observations_at_once() -> None:
    """Count as if they had been made one by one; a value on a bound is in its bucket."""
    instruments = Instruments()
    seconds = instruments.histogram(SECONDS).of("order")
    seconds.observe(0.1, count=3)
    seconds.observe(0.5)
    seconds.observe(60.0, count=2)
    assert {
        ("test_seconds_bucket", "order", "0.1"): 3.0,
        ("test_seconds_bucket", "order", "1.0"): 4.0,
        ("test_seconds_bucket", "order", "+Inf"): 6.0,
        ("test_seconds_count", "order"): 6.0,
        ("test_seconds_sum", "order"): pytest.approx(120.8),
    } == read(instruments)


def test_exemplars_go_to_those_who_accept_openmetrics() -> None:
    """With the trace, at the bucket of its value; the format of Prometheus has none."""
    instruments = Instruments()
    seconds = instruments.histogram(SECONDS).of("order")
    seconds.observe(0.5)
    seconds.exemplify(0.5, TRACE)
    text, content_type = exposition(OPENMETRICS, instruments)
    assert content_type.startswith("application/openmetrics-text")
    samples = [sample for family in parsed_openmetrics(text.decode()) for sample in family.samples]
    [shown] = [sample for sample in samples if sample.exemplar is not None]
    assert ("test_seconds_bucket", "1.0") == (shown.name, shown.labels["le"])
    assert shown.exemplar is not None
    assert ({"trace_id": TRACE}, 0.5) == (shown.exemplar.labels, shown.exemplar.value)
    text, content_type = exposition("*/*", instruments)
    assert (False, "text/plain") == (TRACE.encode() in text, content_type.partition(";")[0])


def test_quantiles_lie_between_the_bounds_of_their_bucket() -> None:
    """As in Prometheus; what is beyond all bounds counts as the last of them."""
    bounds = SECONDS.buckets
    assert quantile(0.5, bounds, [0, 0, 0]) is None
    assert pytest.approx(0.05) == quantile(0.5, bounds, [10, 0, 0])
    assert pytest.approx(0.55) == quantile(0.5, bounds, [0, 10, 0])
    assert quantile(0.99, bounds, [1, 1, 98]) == 1.0


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-03", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-00", ""),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        ("nothing of the kind 1", ""),
        ("", ""),
    ],
)
def test_only_a_trace_that_somebody_keeps_is_shown(traceparent: str, trace_id: str) -> None:
    """By the sampled flag of a `traceparent` that is one."""
    assert trace_id == sampled_trace_id(traceparent)

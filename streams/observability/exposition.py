"""The figures of a worker as text: in the format of OpenMetrics for those who accept that, which has exemplars, else in
that of Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as prometheus_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPEN_METRICS
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.registry import Collector


def exposition(accept: str, *collectors: Collector) -> tuple[bytes, str]:
    """What these collect, and what the process uses; with the content type. `accept` is the header of who asks."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    if "application/openmetrics-text" in accept:
        return openmetrics_text(registry), OPEN_METRICS  # type: ignore[no-untyped-call]
    return prometheus_text(registry), CONTENT_TYPE_LATEST

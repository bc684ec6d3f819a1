"""Counters, gauges and histograms of one worker. Whoever counts does it in batches: an observation has a count.

The instruments of `prometheus_client` take one observation at a time, each under a lock. A worker counts on one event
loop, and hundreds of commands share a commit. So its figures are plain numbers here, and become that library's families
when somebody reads them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

Labels = tuple[str, ...]
"""The values of labels, in the order in which a metric declares these."""
Reading = tuple[Labels, float]
"""One value of a gauge."""


@dataclass(frozen=True)
class Metric:
    """What a metric is: its name with unit, what it means, and the names of its labels.

    buckets    of a histogram: the upper bounds, rising; the last one is followed by infinity
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def counter(name: str, about: str, *labels: str) -> Metric:
    """A number that only rises."""
    return Metric("counter", name, about, labels)


def gauge(name: str, about: str, *labels: str) -> Metric:
    """A number as it is now."""
    return Metric("gauge", name, about, labels)


def histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    """How values are spread."""
    return Metric("histogram", name, about, labels, buckets)


@dataclass(slots=True)
class Count:
    """One series of a counter. Whoever counts often keeps it, and adds to `value`."""

    value: float = 0.0


class Counter:
    """The numbers of a counter: those that were added, and those that somebody keeps himself."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[Labels, Count] = {}
        self._reads: list[Callable[[], Iterable[Reading]]] = []

    def of(self, *labels: str) -> Count:
        """The series of these labels. It is known from now on, at 0, so that its first rise is seen."""
        found = self.series.get(labels)
        if found is None:
            found = self.series[labels] = Count()
        return found

    def add(self, count: float, *labels: str) -> None:
        """So many more."""
        self.of(*labels).value += count

    @property
    def total(self) -> float:
        """The sum of what was added."""
        return sum(series.value for series in self.series.values())

    def read(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Ask `read`, too."""
        self._reads.append(read)

    def family(self) -> Family:
        """As Prometheus reads it."""
        family = CounterMetricFamily(self.metric.name, self.metric.about, labels=self.metric.labels)
        added = [(labels, series.value) for labels, series in self.series.items()]
        for labels, value in [*added, *(reading for read in self._reads for reading in read())]:
            family.add_metric(labels, value)
        return family


class Gauge:
    """The numbers of a gauge: those that were set, and those that are asked for when somebody reads it."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._values: dict[Labels, float] = {}
        self._reads: list[Callable[[], Iterable[Reading]]] = []

    def set(self, value: float, *labels: str) -> None:
        """It is so much now."""
        self._values[labels] = value

    def remove(self, *labels: str) -> None:
        """There is none any more."""
        self._values.pop(labels, None)

    def read(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Ask `read`, too."""
        self._reads.append(read)

    def family(self) -> Family:
        """As Prometheus reads it."""
        family = GaugeMetricFamily(self.metric.name, self.metric.about, labels=self.metric.labels)
        for labels, value in [*self._values.items(), *(reading for read in self._reads for reading in read())]:
            family.add_metric(labels, value)
        return family


@dataclass(slots=True)
class Spread:
    """One series of a histogram: how values are spread over its buckets, of which the last one has no upper bound."""

    bounds: Sequence[float]
    counts: list[int]
    sum: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)
    """The newest one of a bucket."""

    def observe(self, value: float, count: int = 1) -> None:
        """So many times this value."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count

    def exemplify(self, value: float, trace_id: str) -> None:
        """A trace shows one of the values that were observed."""
        self.exemplars[bisect_left(self.bounds, value)] = Exemplar({"trace_id": trace_id}, value, time.time())


class Histogram:
    """How values are spread, by the values of the labels."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[Labels, Spread] = {}

    def of(self, *labels: str) -> Spread:
        """The series of these labels."""
        found = self.series.get(labels)
        if found is None:
            found = self.series[labels] = Spread(self.metric.buckets, [0] * (len(self.metric.buckets) + 1))
        return found

    def family(self) -> Family:
        """As Prometheus reads it."""
        family = HistogramMetricFamily(self.metric.name, self.metric.about, labels=self.metric.labels)
        bounds = [*(str(float(bound)) for bound in self.metric.buckets), "+Inf"]
        for labels, spread in self.series.items():
            total, buckets = 0, []
            for number, (bound, count) in enumerate(zip(bounds, spread.counts, strict=True)):
                total += count
                exemplar = spread.exemplars.get(number)
                buckets.append((bound, total) if exemplar is None else (bound, total, exemplar))
            family.add_metric(labels, buckets, spread.sum)
        return family


def quantile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The value below which a share (0 to 1) of the values lies, None where there are none. As in Prometheus'
    `histogram_quantile` they count as evenly spread between the bounds of a bucket."""
    rank = share * sum(counts)
    if not rank:
        return None
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return bounds[-1]


Instrument = TypeVar("Instrument", Counter, Gauge, Histogram)


class Instruments(Collector):
    """All instruments of one worker, each made when it is first asked for."""

    def __init__(self) -> None:
        self._all: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, metric: Metric) -> Counter:
        """The one of this metric."""
        return self._instrument(Counter, metric)

    def gauge(self, metric: Metric) -> Gauge:
        """The one of this metric."""
        return self._instrument(Gauge, metric)

    def histogram(self, metric: Metric) -> Histogram:
        """The one of this metric."""
        return self._instrument(Histogram, metric)

    def _instrument(self, kind: type[Instrument], metric: Metric) -> Instrument:
        found = self._all.setdefault(metric.name, kind(metric))
        assert isinstance(found, kind)
        return found

    def collect(self) -> Iterable[Family]:
        """As Prometheus reads them."""
        return [instrument.family() for instrument in self._all.values()]

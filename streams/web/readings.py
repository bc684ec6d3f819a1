"""Gauges of the write side, which are read off logs, process managers and the Kafka client when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streams.kafka.client import KafkaClient
from streams.observability import catalog
from streams.observability.instruments import Instruments, Metric, Reading
from streams.ownership.assignment import Assignment
from streams.ownership.owned_log import OwnedLog
from streams.ownership.owner import Owner
from streams.processes.router import InputPosition, Router

LOG_FIGURES: dict[Metric, Callable[[Owner], float]] = {
    catalog.LOG_HEAD: lambda owner: owner.head.nr if owner.head is not None else 0,
    catalog.LOG_DERIVED: lambda owner: owner.derivation.derived_nr,
    catalog.LOG_HELD: lambda owner: len(owner.held.reasons),
    catalog.QUEUE_COMMANDS: lambda owner: len(owner.queue),
    catalog.QUEUE_BYTES: lambda owner: owner.queue.bytes,
    catalog.CACHE_AGGREGATES: lambda owner: len(owner.handler.cache),
    catalog.CACHE_BYTES: lambda owner: owner.handler.cache.weight,
}
"""What is read off the owner of a log."""
INPUT_FIGURES: dict[Metric, Callable[[InputPosition], float]] = {
    catalog.INPUT_BEHIND: lambda place: place.behind,
    catalog.INPUT_HELD: lambda place: place.held is not None,
}


def read_logs(instruments: Instruments, type: str, ownership: Assignment) -> None:
    """The logs of an aggregate type that are placed in this worker."""

    def serving() -> Iterable[Reading]:
        return [((type, log.name), float(log.serves)) for log in ownership.logs.values()]

    def figure(of: Callable[[Owner], float]) -> Callable[[], Iterable[Reading]]:
        return lambda: [((type, log.name), of(owner)) for log, owner in _owned(ownership)]

    instruments.gauge(catalog.LOG_SERVING).read(serving)
    for metric, of in LOG_FIGURES.items():
        instruments.gauge(metric).read(figure(of))


def _owned(ownership: Assignment) -> Iterable[tuple[OwnedLog, Owner]]:
    return [(log, log.owner) for log in ownership.logs.values() if log.owner is not None and log.owner.is_owner]


def read_inputs(instruments: Instruments, type: str, router: Router) -> None:
    """How far the events are routed that a process manager hears, by topic."""

    def figure(of: Callable[[InputPosition], float]) -> Callable[[], Iterable[Reading]]:
        def read() -> Iterable[Reading]:
            sums: dict[str, float] = {}
            for place in router.inputs():
                sums[place.topic] = sums.get(place.topic, 0.0) + of(place)
            return [((type, topic), value) for topic, value in sums.items()]

        return read

    for metric, of in INPUT_FIGURES.items():
        instruments.gauge(metric).read(figure(of))


def read_replies(instruments: Instruments, broker: KafkaClient) -> None:
    """Replies that are on their way, and those that never will be."""
    instruments.gauge(catalog.REPLIES_UNSENT).read(lambda: [((), broker.replies_unsent)])
    instruments.counter(catalog.REPLIES_LOST).read(lambda: [((), broker.replies_lost)])

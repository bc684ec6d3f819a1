"""What the tables of one aggregate type count, and what publishes its events: by batch, not by event."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from streams.journal.port import Commit
from streams.observability import catalog
from streams.observability.instruments import Instruments


class TableMetrics:
    """Of all tables of a type in this worker."""

    def __init__(self, instruments: Instruments, type: str) -> None:
        self._events = instruments.counter(catalog.TABLE_EVENTS)
        self._errors = instruments.counter(catalog.TABLE_ERRORS)
        self._seconds = instruments.histogram(catalog.APPLY_SECONDS).of(type)
        self._visible = instruments.histogram(catalog.VISIBLE_SECONDS)

    def applied(self, tables: Collection[str], times: Sequence[str], seconds: float, is_live: bool) -> None:
        """These tables have taken a batch of events, which were decided at these times (RFC 3339). They are live, or
        are being built or catch up: then how old events are says nothing."""
        if not times:
            return
        self._seconds.observe(seconds)
        for table in tables:
            self._events.add(len(times), table)
            self._errors.of(table)
        if not is_live:
            return
        now = time.time()
        for moment, count in Tally(times).items():  # the events of a commit have one
            age = max(now - _seconds_of(moment, now), 0.0)
            for table in tables:
                self._visible.of(table).observe(age, count)

    def failed(self, tables: Iterable[str]) -> None:
        """These tables did not take a batch."""
        for table in tables:
            self._errors.add(1, table)


def _seconds_of(moment: str, default: float) -> float:
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:  # a foreign type's
        return default
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()


class PublishMetrics:
    """Of all logs of a type that are published here."""

    def __init__(self, instruments: Instruments, type: str) -> None:
        self._events = instruments.counter(catalog.PUBLISHED_EVENTS).of(type)
        self._seconds = instruments.histogram(catalog.PUBLISH_SECONDS).of(type)

    def published(self, commits: Sequence[Commit]) -> None:
        """The events of these commits are on their topic."""
        now = time.time()
        for commit in commits:
            if count := len(commit.events):
                self._events.value += count
                self._seconds.observe(max(now - commit.recorded_at.timestamp(), 0.0))

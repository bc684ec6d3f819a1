"""What tables and tails count, by batch."""

from __future__ import annotations

from datetime import timedelta

from streams.journal.port import Commit, RecordedEvent, SliceHead
from streams.moments import in_utc, now
from streams.observability import catalog
from streams.observability.instruments import Instruments
from streams.observability.table_metrics import PublishMetrics, TableMetrics


def test_events_of_a_batch_count_for_each_table() -> None:
    """How old they were when they became visible, only where tables keep up; a time that is none counts as new."""
    instruments = Instruments()
    metrics = TableMetrics(instruments, "order")
    old, young = in_utc(now() - timedelta(seconds=7)), in_utc(now())
    metrics.applied(["orders-1", "lines-1"], [old, old, young, "yesterday"], 0.02, is_live=True)
    metrics.applied(["lines-2"], [old] * 500, 0.2, is_live=False)
    metrics.applied(["orders-1"], [], 0.2, is_live=True)
    metrics.failed(["orders-1"])
    events = instruments.counter(catalog.TABLE_EVENTS).series
    assert {("orders-1",): 4, ("lines-1",): 4, ("lines-2",): 500} == {
        name: count.value for name, count in events.items()
    }
    errors = instruments.counter(catalog.TABLE_ERRORS).series
    assert {("orders-1",): 1, ("lines-1",): 0, ("lines-2",): 0} == {name: count.value for name, count in errors.items()}
    visible = instruments.histogram(catalog.VISIBLE_SECONDS).series
    assert {("orders-1",), ("lines-1",)} == visible.keys()
    spread = visible["orders-1",]
    assert (4, 2) == (sum(spread.counts), spread.counts[catalog.VISIBLE_SECONDS.buckets.index(10.0)])
    assert 2 == sum(instruments.histogram(catalog.APPLY_SECONDS).of("order").counts)


def test_a_tail_counts_what_is_out() -> None:
    """The events of commits, and how old these were; one without events says nothing."""
    instruments = Instruments()
    event = RecordedEvent("A", 1, "OrderOpened", b"", command_id="c", correlation_id="c", traceparent="", command="")
    empty = Commit(
        log="order@0", nr=1, epoch=1, owner="o", topic_id="t", slices={0: SliceHead()}, derived_nr=1,
        recorded_at=now() - timedelta(seconds=7), events=(),
    )  # fmt: skip
    full = Commit(
        log="order@0", nr=2, epoch=1, owner="o", topic_id="t", slices={0: SliceHead(1, 2)}, derived_nr=1,
        recorded_at=now() - timedelta(seconds=7), events=(event, event),
    )  # fmt: skip
    PublishMetrics(instruments, "order").published([empty, full])
    assert 2 == instruments.counter(catalog.PUBLISHED_EVENTS).of("order").value
    spread = instruments.histogram(catalog.PUBLISH_SECONDS).of("order")
    assert (1, True) == (sum(spread.counts), 7.0 <= spread.sum < 10.0)

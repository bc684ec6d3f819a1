"""What Faust fixes in its consumer, and is set otherwise here by a name that the library may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streams.runtime.application import Application
from streams.runtime.consumer import FETCH_WAIT_MS, ConsumerThread, _pause
from streams.settings import Settings


@pytest.mark.asyncio
async def test_the_broker_does_not_keep_a_request_for_long(tmp_path: Path) -> None:
    """Where there is something to read; where nothing is, it may."""
    app = Application("a.test", "a-test", Settings(data_dir=tmp_path, partitions=1))
    consumer = ConsumerThread(app.consumer)._create_worker_consumer(app.transport)
    assert consumer._fetch_max_wait_ms > FETCH_WAIT_MS
    receiver: Any = None
    app.receive("order-commits", receiver, "hints")
    consumer = ConsumerThread(app.consumer)._create_worker_consumer(app.transport)
    assert FETCH_WAIT_MS == consumer._fetch_max_wait_ms == 100
    assert "_fetch_max_wait_ms" in type(consumer).start.__code__.co_names, "it is read when the consumer starts"


@pytest.mark.asyncio
async def test_what_faust_is_not_to_read() -> None:
    """It is not fetched, and a partition that has moved in the meantime is no matter."""
    consumer = AIOKafkaConsumer()
    consumer.assign([TopicPartition("order-commits", 0), TopicPartition("rows", 0)])
    _pause(consumer, {TP("order-commits", 0), TP("order-commits", 1)})
    assert {TopicPartition("order-commits", 0)} == consumer.paused()

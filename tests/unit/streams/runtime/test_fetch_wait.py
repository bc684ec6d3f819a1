"""What Faust fixes in its consumer, and is set otherwise here by a name that the library may change."""

from __future__ import annotations

import pytest

from streams.runtime.consumer import FETCH_WAIT_MS, ConsumerThread
from streams.shop.orders import app


@pytest.mark.asyncio
async def test_the_broker_does_not_keep_a_request_for_long() -> None:
    thread = ConsumerThread(app.consumer)
    consumer = thread._create_worker_consumer(app.transport)
    assert FETCH_WAIT_MS == consumer._fetch_max_wait_ms == 100
    assert "_fetch_max_wait_ms" in type(consumer).start.__code__.co_names, "it is read when the consumer starts"


@pytest.mark.asyncio
async def test_what_was_taken_back_is_not_read() -> None:
    """Commands of a transaction that was aborted are not decided."""
    consumer = ConsumerThread(app.consumer)._create_worker_consumer(app.transport)
    assert "read_committed" == consumer._isolation_level
    assert "_isolation_level" in type(consumer).start.__code__.co_names, "it is read when the consumer starts"

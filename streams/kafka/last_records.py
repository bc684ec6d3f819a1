"""Looks at the end of a partition for the last record that one wants, however much others have put behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import TopicPartition

from streams.kafka.records import AIOKafkaConsumer

LOOK_BACK = 10_000
"""Offsets that are looked through together."""
STALL_SECONDS = 10.0
"""So long one waits for the next records. All of them may take longer: foreign ones can be many and large."""


async def last_wanted(consumer: AIOKafkaConsumer, tp: TopicPartition, wanted: Callable[[Any], Any]) -> Any:
    """The last record of a partition, to which the consumer is assigned, that is `wanted`; None when it holds none.

    Raises `KafkaError`, `TimeoutError`.
    """
    first = (await consumer.beginning_offsets([tp]))[tp]
    start = (await consumer.end_offsets([tp]))[tp]
    found, span = None, 1
    while found is None and start > first:
        end, start = start, max(first, start - span)
        found = await _last_between(consumer, tp, start, end, wanted)
        span = min(10 * span, LOOK_BACK)
    return found


async def _last_between(
    consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int, wanted: Callable[[Any], Any]
) -> Any:
    """The last wanted record with start <= offset < end."""
    found, clock = None, asyncio.get_running_loop()
    consumer.seek(tp, start)
    async with asyncio.timeout(STALL_SECONDS) as stalled:
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
                stalled.reschedule(clock.time() + STALL_SECONDS)
                if record.offset < end and wanted(record):
                    found = record
    return found

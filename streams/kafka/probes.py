"""Looks at single partitions by consumers without a group: the end of a partition, its last record, and a first one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.kafka.client_factory import ClientFactory, SharedClient, let_end, started
from streams.kafka.records import AIOKafkaConsumer

PROBE_SECONDS = 10.0
LOOK_BACK = 10_000
"""The most offsets that are looked through together."""
STALL_SECONDS = 10.0
"""The longest wait for the next records. All of them may take longer: foreign ones can be many and large."""
LOOKS_AT_ONCE = 8
"""The most records that are looked for side by side, each by a consumer of its own, which can read only one
partition."""


class Probes:
    """Consumers for such looks, which do not read records of aborted transactions. `spawn` runs a task in the
    background."""

    def __init__(self, clients: ClientFactory, spawn: Callable[[Coroutine[Any, Any, Any]], object]) -> None:
        self._clients = clients
        self._spawn = spawn
        self._ends: SharedClient[Any] = SharedClient(self._started_for_ends, spawn)
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._due = 0
        """Looks that wait for a consumer."""
        self._idle: list[AIOKafkaConsumer] = []
        """The consumers that wait for the next look: one, or as many as have looks to make."""

    async def stop(self) -> None:
        """Disconnect."""
        while self._idle:
            await let_end(self._idle.pop())
        await self._ends.stop()

    async def end_offsets(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset that the next record of each partition gets, by one request to a broker. Raises `KafkaError`,
        `TimeoutError`."""
        async with self._ends.in_use() as consumer:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    return dict(await consumer.end_offsets(tps))
            except Exception:  # whatever it was: a consumer that is kept must not be broken
                self._ends.spent(consumer)
                raise

    async def last_record(self, tp: TopicPartition, wanted: Callable[[Any], bool]) -> ConsumerRecord[Any, Any] | None:
        """The last record of a partition that is `wanted`, None where there is none. Raises `KafkaError`,
        `TimeoutError`."""
        async with self._looking(tp) as consumer:
            return await last_wanted(consumer, tp, wanted)

    async def newest(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, ConsumerRecord[Any, Any] | None]:
        """The record right before the end of each of these partitions that has had any, None where a transaction has
        left its mark there: by one consumer, and mostly by one request. A partition ends where a transaction has begun
        that goes on. Raises `KafkaError`, `TimeoutError`."""
        found: dict[TopicPartition, ConsumerRecord[Any, Any] | None] = {}
        if not tps:
            return found
        async with self._looking() as consumer, asyncio.timeout(STALL_SECONDS):
            ends = {tp: end for tp, end in (await consumer.end_offsets(tps)).items() if end}
            found = dict.fromkeys(ends)
            consumer.assign(list(ends))  # not before: it would fetch from the beginnings
            for tp, end in ends.items():
                consumer.seek(tp, end - 1)
            left = list(ends)
            while left:
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    if before := [record for record in records if record.offset < ends[tp]]:
                        found[tp] = before[-1]
                left = [tp for tp in left if await consumer.position(tp) < ends[tp]]
            consumer.pause(*ends)
        return found

    async def first_record(self, tp: TopicPartition, start: int) -> ConsumerRecord[Any, Any]:
        """The first record from `start` on. Raises `KafkaError`, and `TimeoutError` when there is none within 10 s."""
        async with self._looking(tp) as consumer:
            consumer.seek(tp, start)
            async with asyncio.timeout(PROBE_SECONDS):
                return await consumer.getone(tp)

    @asynccontextmanager
    async def _looking(self, *tps: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of these partitions. It is kept as long as it answers: a producer that writes in transactions
        leaves a gap behind each, and a tail looks at the ends of many partitions."""
        self._due += 1
        try:
            await self._looks.acquire()
        finally:
            self._due -= 1
        try:
            consumer = self._idle.pop() if self._idle else await self._started()
            try:
                consumer.assign(tps)
                yield consumer
            except BaseException:
                self._spawn(let_end(consumer))
                raise
            consumer.pause(*tps)  # it would fetch what nobody asks for
            if len(self._idle) < max(self._due, 1):
                self._idle.append(consumer)
            else:
                self._spawn(let_end(consumer))
        finally:
            self._looks.release()

    async def _started_for_ends(self) -> AIOKafkaConsumer:
        return await started(self._clients.consumer())

    async def _started(self) -> AIOKafkaConsumer:
        options = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
        return await started(self._clients.consumer(**options))


async def last_wanted(consumer: AIOKafkaConsumer, tp: TopicPartition, wanted: Callable[[Any], Any]) -> Any:
    """The last record that is `wanted` of a partition to which the consumer has just been assigned; None where there is
    none.

    Raises `KafkaError`, `TimeoutError`.
    """
    consumer.pause(tp)  # it would fetch from the beginning, and what is asked meanwhile waits: 0.5 s where nothing is
    first = (await consumer.beginning_offsets([tp]))[tp]
    start = (await consumer.end_offsets([tp]))[tp]
    record, span = None, 1
    while record is None and start > first:
        end, start = start, max(first, start - span)
        record = await _last_between(consumer, tp, start, end, wanted)
        span = min(10 * span, LOOK_BACK)
    return record


async def _last_between(
    consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int, wanted: Callable[[Any], Any]
) -> Any:
    """The last wanted record with start <= offset < end."""
    last, clock = None, asyncio.get_running_loop()
    consumer.seek(tp, start)
    consumer.resume(tp)
    async with asyncio.timeout(STALL_SECONDS) as stalled:
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
                stalled.reschedule(clock.time() + STALL_SECONDS)
                if record.offset < end and wanted(record):
                    last = record
    return last

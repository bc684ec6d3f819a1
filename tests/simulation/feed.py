"""Partitions as processors read them: without a group, by Kafka's client, over a network that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from tests.simulation.kafka import Partition, Record
from tests.simulation.wire import read

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

MOST_FETCHED = 8


class SimulatedFeed:
    """A `TopicReader` of the simulated Kafka."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def share(self, topic: str, partitions: Collection[int]) -> None:
        pass

    async def open(self, topic: str, partition: int) -> SimulatedReading:
        return SimulatedReading(self._world, topic, partition)


class SimulatedReading:
    """A `Reading`. Like Kafka's client it goes to the beginning when the broker does not have its offset, and does not
    notice that a topic is another one."""

    def __init__(self, world: World, topic: str, partition: int) -> None:
        self._world = world
        self._topic = topic
        self._partition = partition
        self._at = 0

    async def _ask(self, look: Callable[[Partition], T]) -> T:
        world = self._world
        return await until_it_answers(
            lambda: world.network.ask("kafka", lambda: look(world.kafka.partition(self._topic, self._partition))),
            f"Kafka: reading {self._topic}-{self._partition}",
            KafkaError,
        )

    async def seek(self, offset: int) -> None:
        self._at = offset

    async def read(self, most: int) -> Sequence[Any]:
        world = self._world

        def fetch(log: Partition) -> tuple[Partition, int, list[Record]]:
            at = self._at if log.first <= self._at <= len(log.records) else log.first
            return log, at, log.after(at, min(most, world.random.randint(1, MOST_FETCHED)))

        while True:
            log, self._at, found = await self._ask(fetch)
            if found:
                self._at = found[-1].offset + 1
                return read(self._topic, self._partition, found)
            if self._at == len(log.records) and not log.gone:
                arrival: asyncio.Future[None] = world.loop.create_future()
                log.waiting.append(arrival)
                await arrival

    async def first(self) -> int:
        return await self._ask(lambda log: log.first)

    async def end(self) -> int:
        return await self._ask(lambda log: len(log.records))

    async def passed(self) -> int:
        return self._at

    async def at(self, offset: int) -> Any:
        found = await self._ask(lambda log: log.after(offset, 1))
        self._at = offset + 1
        return next(iter(read(self._topic, self._partition, found)), None)

    async def close(self) -> None:
        pass

"""Where hints are read: of all types of a worker, by one consumer without a group.

Kafka's group only places the seats. Faust's own consumer has a thread for itself, which handed each hint, and the
interpreter with it, to that of the event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from streams.kafka.client_factory import ClientFactory, let_end, started

WAIT_MS = 5_000
"""How long a broker keeps a request that finds nothing, and how long the next records are waited for."""
AT_ONCE = 500


class HintReceiver(Protocol):
    """Whoever the hints of a type are for."""

    async def receive(self, partition: int, records: Sequence[Any]) -> None:
        """Take the next hints of a seat."""

    def may_lack_some(self) -> None:
        """Reading begins anew: what has been sent just now may not be read."""


class HintReader:
    """Brings hints to the `receivers` of their topics: those that are sent from now on. One that is older is of no use:
    a tail begins with a look at its log."""

    def __init__(self, clients: ClientFactory, receivers: Mapping[str, HintReceiver]) -> None:
        self._clients = clients
        self._receivers = receivers
        self._seats: frozenset[TopicPartition] = frozenset()
        self._consumer: Any = None

    def assign(self, seats: Collection[TopicPartition]) -> None:
        """Read those of exactly these seats. Cheap to repeat."""
        if self._seats != frozenset(seats):
            self._seats = frozenset(seats)
            if self._consumer is not None:
                self._begin(self._consumer)

    async def run(self) -> None:
        """Read for ever."""
        consumer: Any = await until_it_answers(self._connect, "Kafka: reading hints", (KafkaError, OSError))
        self._consumer = consumer
        try:
            self._begin(consumer)
            while True:
                found = await until_it_answers(
                    lambda: consumer.getmany(timeout_ms=WAIT_MS, max_records=AT_ONCE),
                    "Kafka: reading hints",
                    (KafkaError, TimeoutError),
                )
                for tp, records in found.items():
                    await self._receivers[tp.topic].receive(tp.partition, records)
        finally:
            self._consumer = None
            await let_end(consumer)

    def _begin(self, consumer: Any) -> None:
        """Read each seat from its end on, which Kafka is asked for: also those that were read before."""
        consumer.assign(sorted(self._seats))
        for receiver in self._receivers.values():
            receiver.may_lack_some()

    async def _connect(self) -> Any:
        consumer = self._clients.consumer(
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=WAIT_MS,
        )
        return await started(consumer)

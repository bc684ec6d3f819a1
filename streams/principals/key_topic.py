"""The keys of a context as a worker reads them: `<context>-keys`, a compacted topic of one partition.

The read side writes it, and the workers of the context alone may read it. Whoever meets a signature of a key that is
not known looks whether the topic has more by now: a key is on it before anybody signs with it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.journal.port import Unavailable
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.records import AIOKafkaConsumer, UnreadableRecord
from streams.principals.key_ring import KeyRing
from streams.principals.signature import Key

log = logging.getLogger(__name__)

FETCH_WAIT_MS = 5_000
"""How long a broker keeps a request that finds nothing; a record that comes ends it."""
READ_SECONDS = 10.0
ERRORS = (KafkaError, TimeoutError)


class KeyTopic:
    """The keys on `topic`, as far as this worker has read it."""

    def __init__(self, clients: ClientFactory, broker: KafkaClient, topic: str, supervisor: Supervisor) -> None:
        self._clients = clients
        self._broker = broker
        self.topic = topic
        self._supervisor = supervisor
        self._ring = KeyRing()
        self._read_to = 0
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def of_type(self, id: str, type: str) -> bytes | None:
        return self._ring.of_type(id, type)

    def of_process(self, name: str, type: str) -> Key | None:
        """The newest key with which a process manager signs what it sends to a type; None where there is none."""
        return self._ring.of_process(name, type)

    async def start(self) -> None:
        """Read all that is there, then follow."""
        self._task = self._supervisor.keep(f"reading {self.topic}", self._follow)
        await until_it_answers(self.catch_up, f"Kafka: reading {self.topic}", Unavailable)

    async def catch_up(self) -> None:
        try:
            # Up to the last record, not to the end: behind it may be the mark of a transaction, which nobody is given.
            last = await self._broker.last_record(self.topic, 0)
            async with asyncio.timeout(READ_SECONDS), self._moved:
                await self._moved.wait_for(lambda: last is None or self._read_to > last.offset)
        except ERRORS as error:
            raise Unavailable(f"Kafka: {self.topic}: {error!r}") from None

    async def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            await cancel(self._task)

    async def _follow(self) -> None:
        """Read on from where the one before has failed."""
        consumer: AIOKafkaConsumer = self._clients.consumer(
            enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS
        )
        place, reading = TopicPartition(self.topic, 0), f"Kafka: reading {self.topic}"
        try:
            await until_it_answers(consumer.start, reading, ERRORS)
            consumer.assign([place])
            consumer.seek(place, self._read_to)
            while True:
                batches = await until_it_answers(lambda: consumer.getmany(timeout_ms=1_000), reading, ERRORS)
                for record in batches.get(place, ()):
                    self._take(record)
                if batches:
                    async with self._moved:
                        self._moved.notify_all()
        finally:
            await consumer.stop()

    def _take(self, record: Any) -> None:
        if not isinstance(record, UnreadableRecord):  # that was said
            try:
                self._ring.take(record)
            except Exception as error:  # whatever it is, the keys behind it count
                log.warning("%s: offset %d is no key and is left out: %r", self.topic, record.offset, error)
        self._read_to = record.offset + 1

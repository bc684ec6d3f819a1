"""Reads the commands of one log from Kafka: some partitions of a command topic, by a consumer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import all_done, cancel, until_one_ends
from streams.journal.port import Unavailable
from streams.kafka.client_factory import ClientFactory, let_end, started
from streams.limits import MIB
from streams.security.refusals import TopicForbidden

FETCH_WAIT_MS = 500
"""How long a broker keeps a request that finds nothing. All slices are in it, so a command that comes ends it."""
FETCH_BYTES = 2 * MIB
"""Of one answer of a broker. The next one is asked for when all of it is taken."""
RECORDS = 200
"""Taken at once. What is compressed is unpacked no further than to that."""
WAIT_MS = 60_000
AGAIN_SECONDS = 1.0
"""What is read again is told this often, until it is where it was."""


class TopicGone(Unavailable):
    """The topic is deleted: it is to be looked at anew."""


class Receiver(Protocol):
    """Whoever the commands are for."""

    async def deliver(self, slice: int, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        """Take the next records of a slice; waits while it has enough."""

    def went_back(self, slice: int) -> None:
        """Kafka does not have the offset that is due, and the slice is read from before it: has it lost commands?"""


class KafkaCommandReader:
    """Connects when it is entered, without waiting for it, and disconnects when it is left.

    At most `FETCH_BYTES` of each broker, or one batch, wait here until the receiver takes them.
    """

    def __init__(self, clients: ClientFactory, topic: str, slices: Iterable[int]) -> None:
        self._clients = clients
        self._topic = topic
        self._slices = [TopicPartition(topic, slice) for slice in slices]
        self._connecting: asyncio.Task[Any] | None = None
        self._consumer: Any = None
        """While it is read from."""
        self._behind: dict[TopicPartition, int] = {}
        """The slices that are read from before the offset that was due, which is the value."""
        self._told_at = 0.0

    async def __aenter__(self) -> KafkaCommandReader:
        self._connecting = self._begin_to_connect()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._disconnect()

    async def run(self, start: Mapping[int, int], receiver: Receiver) -> None:
        """Deliver all from these offsets on, by slice, until it is cancelled. May be run again.

        Raises `KafkaError`, and `TopicGone` where the topic is deleted: one of the same name may be another.
        """
        connecting = self._connecting = self._connecting or self._begin_to_connect()
        try:
            consumer = await asyncio.shield(connecting)
            await until_one_ends(self._read(consumer, start, receiver), self._until_gone(consumer._client.cluster))
        except Exception:
            await self._disconnect()
            raise

    def hold(self, slice: int) -> None:
        """Deliver no more of a slice until it is to `go_on`, but for what has been fetched. The others go on."""
        if self._consumer is not None:
            self._consumer.pause(TopicPartition(self._topic, slice))

    def go_on(self, slice: int, offset: int) -> None:
        """Deliver a slice again, from this offset on."""
        if self._consumer is not None:
            tp = TopicPartition(self._topic, slice)
            self._consumer.seek(tp, offset)
            self._consumer.resume(tp)

    async def _until_gone(self, cluster: Any) -> None:
        """Raise `TopicGone` when Kafka says that it does not have the topic, which it had; `TopicForbidden` when this
        process may not look at it any more.

        A consumer asks for it by name. It would read a topic that was made again in the place of this one, and by the
        offsets of this one.
        """
        known, gone = self._topic in cluster.topics(), asyncio.get_running_loop().create_future()

        def updated(cluster: Any) -> None:
            nonlocal known
            present = self._topic in cluster.topics()
            if self._topic in cluster.unauthorized_topics and not gone.done():
                gone.set_exception(TopicForbidden(self._topic))
            elif known and not present and not gone.done():
                gone.set_exception(TopicGone(f"Kafka has no topic {self._topic} any more"))
            known = present

        cluster.add_listener(updated)
        try:
            await gone
        finally:
            cluster.remove_listener(updated)

    async def _read(self, consumer: Any, start: Mapping[int, int], receiver: Receiver) -> None:
        self._behind.clear()
        consumer.assign(self._slices)
        for tp in self._slices:
            consumer.seek(tp, start[tp.partition])
        self._consumer = consumer
        try:
            await self._deliver(consumer, receiver)
        finally:
            self._consumer = None

    async def _deliver(self, consumer: Any, receiver: Receiver) -> None:
        while True:
            wait = AGAIN_SECONDS * 1e3 if self._behind else WAIT_MS
            try:
                batches = await consumer.getmany(timeout_ms=wait, max_records=RECORDS)
            except OffsetOutOfRangeError as error:
                await self._begin_again(consumer, error.args[0])
                batches = {}
            await all_done(receiver.deliver(tp.partition, records) for tp, records in batches.items())
            if self._behind:
                await self._tell(consumer, receiver)

    async def _begin_again(self, consumer: Any, due: Mapping[TopicPartition, int]) -> None:
        """Read these slices from the first record that Kafka has of them."""
        for tp, first in (await consumer.beginning_offsets(list(due))).items():
            consumer.seek(tp, first)
            if first < due[tp]:
                self._behind[tp] = due[tp]

    async def _tell(self, consumer: Any, receiver: Receiver) -> None:
        """Tell the receiver which slices are behind, once a second."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at < AGAIN_SECONDS:
            return
        self._told_at = now
        for tp, due in list(self._behind.items()):
            receiver.went_back(tp.partition)
            if await consumer.position(tp) >= due:
                del self._behind[tp]

    def _begin_to_connect(self) -> asyncio.Task[Any]:
        name = f"Kafka: a consumer of {self._topic}"
        return asyncio.create_task(until_it_answers(self._connect, name, (KafkaError, OSError)), name=name)

    async def _connect(self) -> Any:
        consumer = self._clients.consumer(
            auto_offset_reset="none",
            enable_auto_commit=False,
            isolation_level="read_committed",  # a command that was taken back is not decided
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES,
        )
        await started(consumer)
        # A partition whose records wait is not in the next request: none goes out before they are taken.
        consumer._fetcher._prefetch_backoff = WAIT_MS / 1e3
        return consumer

    async def _disconnect(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is None:
            return
        if not connecting.done():
            await cancel(connecting)
        elif not connecting.cancelled() and connecting.exception() is None:
            await let_end(connecting.result())

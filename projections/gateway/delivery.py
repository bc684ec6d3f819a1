"""Commands on their way to Kafka: each is produced, and then a note of it, in the partition of its id."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from projections.gateway.command_records import NOT_YET, KafkaPosition, SentCommand, encode_sent, now_ms
from projections.gateway.command_request import CheckedCommand
from projections.gateway.pending_commands import PendingCommands
from projections.http.bodies import RequestBytes
from streams.kafka import topics
from streams.kafka.client import KafkaClient, partition_of
from streams.settings import Settings


class Deliveries:
    """The commands that this worker is producing. They go on when their clients have left.

    `note_topic` takes the notes, with the headers that show whose they are; `pending` counts a command from its start
    until its reply.
    """

    def __init__(
        self,
        broker: KafkaClient,
        settings: Settings,
        note_topic: str,
        pending: PendingCommands,
        note_headers: Callable[[str, bytes], list[tuple[str, bytes]]] = lambda id, value: [],
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._note_topic = note_topic
        self._pending = pending
        self._note_headers = note_headers
        self._tasks: set[asyncio.Task[SentCommand]] = set()
        self._under_way: Counter[str] = Counter()
        """How many requests with an id are being produced."""

    def start(
        self, command: CheckedCommand, data: bytes, sent: SentCommand, room: RequestBytes
    ) -> asyncio.Task[SentCommand]:
        """Begin to produce a command, which counts as pending at once. The task returns where Kafka has the command,
        and raises what the producer raises. `room` is given back when Kafka has the data."""
        self._pending.add(sent, now_ms())
        self._under_way[command.id] += 1
        task = asyncio.create_task(self._deliver(command, data, sent, room))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self) -> None:
        """Wait until all are delivered."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Give up what is not delivered."""
        for task in self._tasks:
            task.cancel()

    async def _deliver(
        self, command: CheckedCommand, data: bytes, sent: SentCommand, room: RequestBytes
    ) -> SentCommand:
        topic, began = topics.commands_topic(self._settings.namespace, command.type), time.time()
        try:
            record = await self._produce(topic, command.aggregate_id, data, command.headers)
        except BaseException:
            self._failed(command.id)
            raise
        finally:
            del data
            room.give_back()
            self._under_way[command.id] -= 1
            if not self._under_way[command.id]:
                del self._under_way[command.id]
        if command.trace is not None:
            command.trace.sent(topic, command.name, record.partition, record.offset, began)
        sent = msgspec.structs.replace(sent, place=KafkaPosition(topic, record.partition, record.offset))
        if command.id in self._pending:
            self._pending.add(sent, now_ms())
        note = encode_sent(sent)
        await self._produce(self._note_topic, command.id, note, self._note_headers(command.id, note))
        return sent

    def _failed(self, id: str) -> None:
        """A request could not be produced. With the last one the command was not sent, if Kafka has it from none."""
        known = self._pending.sent(id)
        if self._under_way[id] == 1 and known is not None and known.place.offset == NOT_YET:
            self._pending.remove(id)

    async def _produce(self, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
        encoded = key.encode()
        partition = partition_of(encoded, self._settings.partitions)
        return await self._broker.deliver(
            lambda producer: producer.send(topic, value, key=encoded, partition=partition, headers=headers)
        )

    def _ended(self, task: asyncio.Task[SentCommand]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the request that waited for it has been told, and nobody else is interested


def is_delivered(delivery: asyncio.Task[SentCommand]) -> bool:
    """Whether Kafka has the command and its note."""
    return delivery.done() and not delivery.cancelled() and delivery.exception() is None

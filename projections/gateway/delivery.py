"""Commands on their way to Kafka: each is produced, and then a note of it, in the partition of its id."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from projections.gateway.command_records import KafkaPosition, SentCommand, encode_sent, now_ms
from projections.gateway.command_request import CheckedCommand
from projections.gateway.pending_commands import PendingCommands
from projections.http.bodies import RequestBytes
from streams.kafka import topics
from streams.kafka.client import KafkaClient, partition_of
from streams.settings import Settings


class Deliveries:
    """The commands that this worker is producing. They go on when their clients have left.

    `note_topic` takes the notes; `pending` counts a command from its start until its reply.
    """

    def __init__(self, broker: KafkaClient, settings: Settings, note_topic: str, pending: PendingCommands) -> None:
        self._broker = broker
        self._settings = settings
        self._note_topic = note_topic
        self._pending = pending
        self._tasks: set[asyncio.Task[SentCommand]] = set()

    def start(
        self, command: CheckedCommand, data: bytes, sent: SentCommand, room: RequestBytes
    ) -> asyncio.Task[SentCommand]:
        """Begin to produce a command, which counts as pending at once. The task returns where Kafka has the command,
        and raises what the producer raises. `room` is given back when Kafka has the data."""
        is_new = self._pending.add(sent, now_ms())
        task = asyncio.create_task(self._deliver(command, data, sent, room, is_new))
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
        self, command: CheckedCommand, data: bytes, sent: SentCommand, room: RequestBytes, is_new: bool
    ) -> SentCommand:
        topic = topics.commands_topic(self._settings.namespace, command.type)
        try:
            record = await self._produce(topic, command.aggregate_id, data, command.headers)
        except BaseException:
            if is_new:
                self._pending.remove(command.id)
            raise
        finally:
            del data
            room.give_back()
        sent = msgspec.structs.replace(sent, place=KafkaPosition(topic, record.partition, record.offset))
        if command.id in self._pending:
            self._pending.add(sent, now_ms())
        await self._produce(self._note_topic, command.id, encode_sent(sent), [])
        return sent

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

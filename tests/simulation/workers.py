"""Command workers, wired as `command_app` wires them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from streams.kafka.command_partition import CommandPartition

from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, message_of
from streams.kafka.client import partition_of
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.assignment import Assignment
from streams.ownership.owner import Owner
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from tests.simulation.account import COMMANDS, EVENTS, TYPE, account
from tests.simulation.group import Consumer, Place
from tests.simulation.kafka import Record, SimulatedBroker
from tests.simulation.topics import COMMANDS_TOPIC, COMMITS_TOPIC, DEAD_LETTERS_TOPIC

if TYPE_CHECKING:
    from streams.kafka.client import KafkaClient
    from tests.simulation.world import World


class WatchedReplies(Replies):
    """The worker's replies; whoever watches sees the replies as the owner hands them over."""

    def __init__(self, world: World, broker: KafkaClient) -> None:
        super().__init__(broker, COMMITS_TOPIC, COMMANDS_TOPIC, DEAD_LETTERS_TOPIC)
        self._world = world

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        self._world.checks.replied(replies)
        await super().replies(replies)


class CommandWorker:
    """Owns what its group gives it, and answers."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._journal = world.journal()
        self._broker = SimulatedBroker(world, world.shape.partitions)
        self._replies = WatchedReplies(world, self._broker)
        self.ownership = Assignment(TYPE, self, Supervisor())
        self._consumer = Consumer(
            world,
            world.command_group,
            name,
            (COMMANDS_TOPIC,),
            self.ownership.revoke,
            self._positions,
            receiver=self,
        )
        self.stopping = asyncio.Event()

    async def main(self) -> None:
        """Serve until told to stop."""
        serving = asyncio.create_task(self._consumer.run())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        await self.ownership.close()
        await self._consumer.leave()
        serving.cancel()

    def new_owner(self, partition: int, topic_id: str, waiting: WaitingLog) -> Owner:
        shape = self._world.shape
        handler = GroupHandler(
            CommandHandler(
                decider=account,
                events=EVENTS,
                commands=COMMANDS,
                window=shape.dedupe_window,
                limits=shape.limits,
            ),
            journal=self._journal,
            cache=Cache(shape.cache_weight),
            partition=partition,
            partition_of=lambda key: partition_of(key, shape.partitions),
        )
        return Owner(
            topic_id=topic_id,
            identity=self._name,
            journal=self._journal,
            handler=handler,
            replies=self._replies,
            commands=CommandPartition(self._broker, COMMANDS_TOPIC, partition),
            waiting=waiting,
        )

    async def describe(self) -> TopicMetadata | None:
        return (await self._broker.describe([COMMANDS_TOPIC])).get(COMMANDS_TOPIC)

    async def seek(self, partition: int, offset: int) -> None:
        self._consumer.go_on_from(COMMANDS_TOPIC, partition, offset)

    async def confirmed(self) -> None:
        await self._consumer.confirmed()

    async def _positions(self, partitions: list[int]) -> dict[Place, int]:
        await self.ownership.assign(set(partitions))
        owned = await self.ownership.positions()
        return {(COMMANDS_TOPIC, p): offset for p, offset in owned.items()}

    async def receive(self, partition: int, records: Sequence[Record]) -> None:
        await self.ownership.deliver(partition, self._messages(partition, records))

    def _messages(self, partition: int, records: Sequence[Record]) -> Iterator[Message]:
        for record in records:
            yield message_of(record)
            log = self.ownership.logs.get(partition)
            if log is not None and log.owner is not None:
                self._world.checks.bounds(log.owner)

    def covered(self, partition: int) -> int | None:
        return self.ownership.covered(partition)

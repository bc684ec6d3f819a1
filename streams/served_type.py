"""One aggregate type of a command app, between Faust, which places partitions, and the owners of its logs."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from typing import Any

from faust.types import TP

from aggregates.process_manager import ProcessManager
from streams.aggregate_type import AggregateType
from streams.deciding.cache import Budget, Cache
from streams.deciding.handler import CommandHandler
from streams.deciding.messages import message_of
from streams.journal.port import Journal
from streams.kafka import topics
from streams.kafka.client import KafkaClient, partition_of
from streams.kafka.command_partition import CommandPartition
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.assignment import Assignment
from streams.ownership.owner import Owner
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.router import Router
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.partition_pump import ConsumerRecord


class ServedType(Part):
    """The aggregate type in this worker: its logs, and for a process manager its router and its dispatcher.

    It is the `RecordHandler` of the type's commands, and the `Worker` around its logs.
    """

    def __init__(
        self, app: Application, context: AggregateType, journal: Journal, broker: KafkaClient, budget: Budget
    ) -> None:
        settings, type = context.settings, context.decider.type
        self.context = context
        self.type = type
        self.topics = topics.type_topics(settings.namespace, type, settings.partitions)
        self.router: Router | None = None
        self.ownership = Assignment(type, self, app.supervisor)
        self._app = app
        self._journal = journal
        self._broker = broker
        self._budget = budget
        self._limits = context.limits()
        self._events_topic = topics.events_topic(settings.namespace, type)
        self._replies = Replies(broker, context.commits_topic, context.commands_topic, context.dead_letters_topic)
        self._dispatcher: CommandDispatcher | None = None
        if context.process is not None:
            self._add_process(context.process)

    def _add_process(self, process: ProcessManager[Any, Any, Any]) -> None:
        context, settings = self.context, self.context.settings
        source = f"/{settings.namespace}{context.name}"
        self._dispatcher = CommandDispatcher(
            sends=process.sends,
            codec=context.events,
            journal=self._journal,
            broker=self._broker,
            namespace=settings.namespace,
            source=source,
            dead_letters_topic=context.dead_letters_topic,
        )
        for other in process.sends_to:
            self.topics += topics.type_topics(settings.namespace, other, settings.partitions)
        if process.hears:
            group = f"{settings.namespace}{context.name}-{self.type}-hears"
            self.router = Router(
                process, settings, group=group, source=source, schema_root=context.schema_root, broker=self._broker
            )
            self.topics += self.router.topics

    # -- its commands ----------------------------------------------------------------------------------

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        await self.ownership.deliver(partition, map(message_of, records))

    def covered(self, partition: int) -> int | None:
        return self.ownership.covered(partition)

    # -- a rebalance -----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return self.ownership.ready

    @property
    def partitions_served(self) -> set[int]:
        return self.ownership.served

    async def assign(self, assignment: set[TP]) -> None:
        topic, count = self.context.commands_topic, self.context.settings.partitions
        # Partitions that were added to the topic by hand are nobody's: a key would get a second history there.
        await self.ownership.assign({tp.partition for tp in assignment if tp.topic == topic and tp.partition < count})

    async def positions(self, assignment: set[TP]) -> dict[TP, int]:
        topic = self.context.commands_topic
        return {TP(topic, partition): offset for partition, offset in (await self.ownership.positions()).items()}

    async def resume(self) -> None:
        await self.ownership.all_served()

    async def revoke(self) -> None:
        await self.ownership.revoke()

    def went_back(self, tp: TP) -> None:
        if tp.topic == self.context.commands_topic:
            self.ownership.went_back(tp.partition)

    # -- its logs --------------------------------------------------------------------------------------

    def new_owner(self, partition: int, topic_id: str, waiting: WaitingLog) -> Owner:
        context, settings = self.context, self.context.settings
        handler = CommandHandler(
            decider=context.decider,
            events=context.events,
            commands=context.commands,
            journal=self._journal,
            stream=waiting.stream,
            cache=Cache(self._budget),
            dedupe_window=settings.dedupe_window,
            limits=self._limits,
        )
        if self._dispatcher is not None:
            handler.check = self._dispatcher.check
        return Owner(
            stream=waiting.stream,
            partition=partition,
            topic_id=topic_id,
            # The fence tells owners apart, not workers.
            identity=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            journal=self._journal,
            handler=handler,
            replies=self._replies,
            limits=self._limits,
            commands=CommandPartition(self._broker, context.commands_topic, partition, self._events_topic),
            check_partition=self._partition_of,
            waiting=waiting,
            dispatch=self._dispatcher.dispatch if self._dispatcher is not None else None,
            advice=self._advice,
        )

    def _partition_of(self, key: bytes) -> int:
        return partition_of(key, self.context.settings.partitions)

    def _advice(self) -> str:
        return self._app.supervisor.troubles.get(self.context.commands_topic, "")

    async def describe(self) -> TopicMetadata | None:
        topic = self.context.commands_topic
        return (await self._broker.describe([topic])).get(topic)

    async def seek(self, partition: int, offset: int) -> None:
        await self._app.consumer.go_on_from(TP(self.context.commands_topic, partition), offset)

    async def confirmed(self) -> None:
        await self._app.consumer.confirmed()

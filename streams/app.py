"""A bounded context as a Faust app: command agents, owners, journal, outbox; for a process manager a router and an
issuer too. The wiring, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from aggregates.process_manager import ProcessManager
from schemas.formats import AVRO, Format
from streams.aggregate_type import AggregateType, Kind
from streams.cli import main as command_line
from streams.cli import owners
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.deciding.cache import Budget, Cache
from streams.deciding.handler import CommandHandler
from streams.deciding.messages import message_of
from streams.journal.port import Journal
from streams.kafka import topics
from streams.kafka.client import CommandPartition, KafkaClient, partition_of
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topic_watch import watch_partitions
from streams.ownership.assignment import Assignment
from streams.ownership.owner import Owner
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.router import Router
from streams.runtime import garbage_collector
from streams.runtime.application import Application
from streams.runtime.partition_pump import ConsumerRecord
from streams.runtime.preparation import prepare, stop_on_user_error
from streams.settings import Settings
from streams.web.health import add_health, json_response
from streams.web.owners import add_owners

log = logging.getLogger(__name__)

YOUNG_OBJECTS = 50_000
"""A group of commands makes thousands that live until their rows are written. At 10,000 the collector took 14 % of the
time, at 50,000 6 %, with pauses of less than 0.1 s."""


def command_app(module: str, name: str, *kinds: Kind, shop: str | Path = "shop", format: Format = AVRO) -> Application:
    """The Faust app `module` of the context `name`, whose commands these deciders and process managers decide.

    A new aggregate is its decider, its schemas and one call of this. `shop` is the folder of the schemas, by its path
    where it is in a project of one's own; a process manager finds there the schemas of what it hears, too. Events are
    written in `format`, and read in every format, so that it may change.
    """
    with stop_on_user_error():
        settings = Settings.from_environment()
        contexts = [AggregateType(name, kind, settings, shop, format) for kind in kinds]
        journal = contexts[0].journal()
    app = Application(module, name, settings)
    broker = KafkaClient(settings.bootstrap_servers, settings.partitions)
    with stop_on_user_error():
        budget = Budget(settings.cache_bytes)
        served = [_ServedType(app, context, journal, broker, budget) for context in contexts]
    routers = [its.router for its in served if its.router is not None]
    kept: list[asyncio.Task[None]] = []

    async def start() -> None:
        garbage_collector.tune(YOUNG_OBJECTS)
        with stop_on_user_error():
            await until_it_answers(broker.start, "Kafka", KafkaError)
            replies = topics.reply_topic(topics.replies_topic(settings.namespace), settings.partitions)
            wanted = [replies, *(topic for its in served for topic in its.topics)]
            await prepare(
                settings, journal, contexts[0].identity(), wanted, own=[context.decider.type for context in contexts]
            )
            for context in contexts:
                await journal.save_schemas(context.events.schemas)
        watched = [topic for its in served for topic in its.topics]
        kept.append(app.supervisor.keep("topics", lambda: watch_partitions(broker.existing, watched, app.supervisor)))
        for its in served:
            if its.router is not None:
                kept.append(app.supervisor.keep(f"what {its.context.decider.type} hears", its.router.run))

    async def stop() -> None:
        await each_done(*map(cancel, kept))
        await each_done(*(its.ownership.close() for its in served))
        await each_done(broker.stop())
        await each_done(journal.close())

    def went_back(tp: TP) -> None:
        for its in served:
            its.went_back(tp)

    app.starting.append(start)
    app.stopping.append(stop)
    app.leaves_first = True
    app.serves = lambda: all(its.ownership.ready for its in served)
    app.partitions_served = lambda: sorted(set().union(*(its.ownership.served for its in served)))
    app.went_back = went_back
    types = {its.context.decider.type: its for its in served}
    add_health(app)
    add_owners(app, [its.ownership for its in served])
    if routers:
        _add_inputs(app, routers)
    command_line.register(app, {type: its.context for type, its in types.items()})
    owners.register(app, settings, list(types))
    return app


class _ServedType:
    """One aggregate type of an app: the logs that this worker owns, and for a process manager what it hears and sends.

    It is the `RecordHandler` of the type's commands, and the `Worker` around its logs.
    """

    def __init__(
        self, app: Application, context: AggregateType, journal: Journal, broker: KafkaClient, budget: Budget
    ) -> None:
        settings, type = context.settings, context.decider.type
        self.context = context
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
        app.receive(context.commands_topic, self, f"{context.name}-{type}-commands")
        app.assigning.append(self._assign)
        app.revoking.append(self.ownership.revoke)
        app.resuming.append(self.ownership.all_served)
        app.position_sources.append(self._positions)

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
            group = f"{settings.namespace}{context.name}-{context.decider.type}-hears"
            self.router = Router(process, settings, group, source, context.shop, self._broker)
            self.topics += self.router.topics

    # -- its records -----------------------------------------------------------------------------------

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        await self.ownership.deliver(partition, map(message_of, records))

    def covered(self, partition: int) -> int | None:
        return self.ownership.covered(partition)

    # -- a rebalance -----------------------------------------------------------------------------------

    async def _assign(self, assignment: set[TP]) -> None:
        topic, count = self.context.commands_topic, self.context.settings.partitions
        # Partitions that were added to the topic by hand are nobody's: a key would get a second history there.
        await self.ownership.assign({tp.partition for tp in assignment if tp.topic == topic and tp.partition < count})

    async def _positions(self, assignment: set[TP]) -> dict[TP, int]:
        topic = self.context.commands_topic
        return {TP(topic, partition): offset for partition, offset in (await self.ownership.positions()).items()}

    def went_back(self, tp: TP) -> None:
        """The consumer has started over by itself on this partition."""
        if tp.topic == self.context.commands_topic:
            self.ownership.went_back(tp.partition)

    # -- its logs --------------------------------------------------------------------------------------

    def new_owner(self, partition: int, topic_id: str, waiting: WaitingLog) -> Owner:
        context, settings = self.context, self.context.settings
        handler = CommandHandler(
            context.decider,
            context.events,
            context.commands,
            self._journal,
            waiting.stream,
            Cache(self._budget),
            settings.dedupe_window,
            self._limits,
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


def _add_inputs(app: Application, routers: list[Router]) -> None:
    """Serve `/inputs`: how far what this worker's process managers hear has been brought on."""

    @app.page("/inputs")
    async def inputs(view: Any, request: Any) -> Any:
        found = [one for router in routers for one in router.inputs()]
        return json_response(view, {"app": app.module, "inputs": found})

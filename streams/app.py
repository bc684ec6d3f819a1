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

from schemas.formats import AVRO, Format
from streams.aggregate_type import AggregateType, Kind
from streams.cli import main as command_line
from streams.cli.owners import owners
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.deciding.cache import Budget, Cache
from streams.deciding.handler import CommandHandler
from streams.deciding.messages import message_of
from streams.journal.port import Journal, stream_name
from streams.kafka import topics
from streams.kafka.client import CommandPartition, KafkaClient, partition_of
from streams.kafka.topic_metadata import TopicMetadata
from streams.kafka.topic_watch import watch_partitions
from streams.ownership.assignment import Assignment
from streams.ownership.owner import Owner
from streams.ownership.replies import KafkaReplies
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.router import Router
from streams.runtime import garbage_collector
from streams.runtime.application import Application
from streams.runtime.partition_pump import ConsumerRecord
from streams.runtime.preparation import prepare, stop_on_user_error
from streams.settings import DATABASE, Settings
from streams.web.health import add_health, json_response
from streams.web.owners import add_owners

log = logging.getLogger(__name__)

YOUNG_OBJECTS = 50_000
"""A group of commands makes thousands that live until their rows are written. At 10,000 the collector took 14 % of the
time, at 50,000 6 %, with pauses of less than 0.1 s."""


def command_app(
    module: str, name: str, *kinds: Kind, schema_root: str | Path, format: Format = AVRO, database: str = DATABASE
) -> Application:
    """The Faust app `module` of the context `name`, whose commands these deciders and process managers decide.

    A new aggregate is its decider, its schemas and one call of this. `schema_root` is the folder of the schemas: one in
    `schemas/` by its name, or any by its path. A process manager has the schemas of what it hears there, too. Events
    are written in `format`, and read in every format, so that it may change. `database` is the keyspace of the journal
    when JOURNAL_URL is not set.
    """
    with stop_on_user_error():
        settings = Settings.from_environment(database=database)
        contexts = [AggregateType(name, kind, settings, schema_root, format) for kind in kinds]
        journal = contexts[0].journal()
    app = Application(module, name, settings)
    broker = KafkaClient(settings.bootstrap_servers, settings.partitions)
    with stop_on_user_error():
        budget = Budget(settings.cache_bytes)
        served = [_Served(app, context, journal, broker, budget) for context in contexts]
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
            its.look_back(tp)

    app.starting.append(start)
    app.stopping.append(stop)
    app.leaves_first = True
    app.serves = lambda: all(its.ownership.ready for its in served)
    app.partitions_served = lambda: sorted(set().union(*(its.ownership.served for its in served)))
    app.went_back = went_back
    types = {its.context.decider.type: its for its in served}
    add_health(app)
    add_owners(app, {type: its.ownership for type, its in types.items()})
    if routers:
        _add_inputs(app, routers)
    command_line.register(app, {type: its.context for type, its in types.items()}, owners)
    return app


class _Served:
    """One aggregate type of an app: its agent, its owners, and its router if it is a process manager's."""

    def __init__(
        self, app: Application, context: AggregateType, journal: Journal, broker: KafkaClient, budget: Budget
    ) -> None:
        self.context = context
        settings, type = context.settings, context.decider.type
        source = f"/{settings.namespace}{context.name}"
        issuer = self.router = None
        self.topics = topics.type_topics(settings.namespace, type, settings.partitions)
        if context.process is not None:
            issuer = CommandDispatcher(
                context.process.sends,
                context.events,
                journal,
                broker,
                settings.namespace,
                source,
                context.dead_letters_topic,
            )
            for other in context.process.sends_to:
                self.topics += topics.type_topics(settings.namespace, other, settings.partitions)
            if context.process.hears:
                group = f"{settings.namespace}{context.name}-{type}-hears"
                self.router = Router(context.process, settings, group, source, context.schema_root, broker)
                self.topics += self.router.topics
        self.ownership = ownership = _ownership(app, context, journal, broker, issuer, budget)
        app.receive(context.commands_topic, self, f"{context.name}-{type}-commands")
        app.assigning.append(self._assign)
        app.revoking.append(ownership.revoke)
        app.resuming.append(ownership.all_served)
        app.position_sources.append(self._positions)

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        await self.ownership.deliver(partition, map(message_of, records))

    def covered(self, partition: int) -> int | None:
        return self.ownership.covered(partition)

    async def _assign(self, assignment: set[TP]) -> None:
        topic, count = self.context.commands_topic, self.context.settings.partitions
        # Partitions that were added to the topic by hand are nobody's: a key would get a second history there.
        await self.ownership.assign({tp.partition for tp in assignment if tp.topic == topic and tp.partition < count})

    async def _positions(self, assignment: set[TP]) -> dict[TP, int]:
        topic = self.context.commands_topic
        return {TP(topic, partition): offset for partition, offset in (await self.ownership.positions()).items()}

    def look_back(self, tp: TP) -> None:
        if tp.topic == self.context.commands_topic:
            self.ownership.look_back(tp.partition)


def _add_inputs(app: Application, routers: list[Router]) -> None:
    """Serve `/inputs`: how far what this worker's process managers hear has been brought on."""

    @app.page("/inputs")
    async def inputs(view: Any, request: Any) -> Any:
        found = [one for router in routers for one in router.inputs()]
        return json_response(view, {"app": app.module, "inputs": found})


def _ownership(
    app: Application,
    context: AggregateType,
    journal: Journal,
    broker: KafkaClient,
    issuer: CommandDispatcher | None,
    budget: Budget,
) -> Assignment:
    settings, decider = context.settings, context.decider
    outbox = KafkaReplies(broker, context.commits_topic, context.commands_topic, context.dead_letters_topic)
    limits = context.limits()
    events = topics.events_topic(settings.namespace, decider.type)

    def new_owner(partition: int, topic_id: str, count: int) -> Owner:
        stream = stream_name(decider.type, partition)
        cache = Cache(budget)
        handler = CommandHandler(
            decider, context.events, context.commands, journal, stream, cache, settings.dedupe_window, limits
        )
        if issuer is not None:
            handler.check = issuer.check

        return Owner(
            stream,
            partition,
            topic_id,
            f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",  # the fence tells owners apart, not workers
            journal,
            handler,
            outbox,
            limits,
            CommandPartition(broker, context.commands_topic, partition, events),
            lambda owner: ownership.lost(owner),
            lambda key: partition_of(key, settings.partitions),
            issuer.issue if issuer is not None else None,
            lambda: app.supervisor.troubles.get(context.commands_topic, ""),
            lambda owner, error: ownership.waiting(owner, error),
        )

    async def describe() -> TopicMetadata | None:
        return (await broker.describe([context.commands_topic])).get(context.commands_topic)

    async def seek(partition: int, offset: int) -> None:
        await app.consumer.go_on_from(TP(context.commands_topic, partition), offset)

    async def confirmed() -> None:
        await app.consumer.confirmed()

    ownership = Assignment(decider.type, new_owner, describe, seek, app.supervisor, confirmed)
    return ownership

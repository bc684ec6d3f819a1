"""A bounded context as a Faust app: its command agents, the owners of its logs, its journal. The wiring, and nothing
else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from schemas.formats import AVRO, Format
from streams.access.principal import Role
from streams.aggregate_type import AggregateType, Kind
from streams.cli import main as command_line
from streams.cli.logs import logs
from streams.cli.owners import owners
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.deciding.cache import Budget
from streams.journal.port import Journal
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_watch import watches
from streams.keys.blinding import make_blind_key
from streams.keys.keys import Keys
from streams.keys.sweeping import sweep
from streams.ownership.group_offsets import GroupOffsets
from streams.permissions import commands as permissions
from streams.principals.key_topic import KeyTopic
from streams.processes.key_renewal import KeyRenewal
from streams.runtime import garbage_collector
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.preparation import journal_answers, prepare, stop_on_user_error
from streams.runtime.rights import Rights
from streams.security.reply_topics import ReplyTopics
from streams.served_type import NewFollower, ServedType
from streams.settings import DATABASE, Settings
from streams.web.health import add_health, json_response
from streams.web.metrics import add_metrics
from streams.web.notices import add_notices
from streams.web.operation import describe
from streams.web.owners import add_owners
from streams.web.readings import read_inputs, read_logs, read_replies

YOUNG_OBJECTS = 50_000
"""A group of commands makes thousands that live until their rows are written. At 10,000 the collector took 14 % of the
time, at 50,000 6 %, with pauses of less than 0.1 s."""


def command_app(
    module: str,
    name: str,
    *kinds: Kind,
    schema_root: str | Path,
    format: Format = AVRO,
    database: str = DATABASE,
    new_follower: NewFollower | None = None,
) -> Application:
    """The Faust app `module` of the context `name`, whose commands these deciders and process managers decide.

    A new aggregate is its decider, its schemas and one call of this. `schema_root` is the folder of the schemas: one in
    `schemas/` by its name, or any by its path. A process manager has the schemas of what it hears there, too. Events
    are written in `format`, and read in every format, so that it may change. `database` is the keyspace of the journal
    when JOURNAL_URL is not set. `new_follower` makes what follows the log of each new owner.
    """
    with stop_on_user_error():
        settings = Settings.from_environment(database=database)
        contexts = [AggregateType(name, kind, settings, schema_root, format) for kind in kinds]
        journal = contexts[0].journal()
    app = Application(module, name, settings, leaves_first=True)
    app.contexts = {context.decider.type: name for context in contexts}
    broker = KafkaClient(ClientFactory.of(settings), settings.partitions, _reply_topics(settings))
    with stop_on_user_error():
        budget = Budget(settings.cache_bytes)
        topic = topics.keys_topic(settings.namespace, name)
        keys = KeyTopic(ClientFactory.of(settings), broker, topic, app.supervisor)
        served = [ServedType(app, context, journal, broker, budget, keys, new_follower) for context in contexts]
    app.add(_Context(app, served, journal, broker, keys, budget))
    for part in served:
        app.receive(part.context.logs_topic, part.layout, f"{name}-{part.type}-logs")
        app.layouts[part.context.logs_topic] = part.layout.reader
        app.add(part)
    add_health(app)
    _add_metrics(app, served, broker)
    add_notices(app)
    add_owners(app, {part.type: (part.ownership, part.layout.reader) for part in served})
    if any(part.router for part in served):
        _add_inputs(app, served)
    command_line.register(app, {part.type: part.context for part in served}, owners, logs)
    permissions.register(app)
    return app


def _add_metrics(app: Application, served: Sequence[ServedType], broker: KafkaClient) -> None:
    read_replies(app.instruments, broker)
    for part in served:
        read_logs(app.instruments, part.type, part.ownership)
        if part.router is not None:
            read_inputs(app.instruments, part.type, part.router)
    add_metrics(app)


def _reply_topics(settings: Settings) -> ReplyTopics:
    namespace = settings.namespace
    own = topics.replies_topic(namespace), topics.gateway_replies_topic(namespace)
    return ReplyTopics(own, settings.reply_prefixes, are_made=settings.setup != "never")


class _Context(Part):
    """The part of a command app that its aggregate types share: Kafka, the journal, and the tasks of the worker."""

    def __init__(
        self,
        app: Application,
        served: Sequence[ServedType],
        journal: Journal,
        broker: KafkaClient,
        keys: KeyTopic,
        budget: Budget,
    ) -> None:
        self._app = app
        self._budget = budget
        self._keys = keys
        self._served = served
        self._journal = journal
        self._broker = broker
        settings = app.settings
        self._replies = topics.reply_topic(topics.replies_topic(settings.namespace), settings.partitions, topics.WRITE)
        self._key_topic = topics.key_topic(keys.topic, topics.READ)
        self._topics = [topic for part in served for topic in part.topics]
        self._group = f"{app.conf.id}-commands"
        """The group that is told how far commands are; it has no members."""
        self._tasks: list[asyncio.Task[None]] = []
        self._offsets = GroupOffsets(self._covered, partial(broker.commit_offsets, self._group))
        self._opens = [part for part in served if part.context.keys is not None]
        """The types with personal fields."""
        self._renewal: KeyRenewal | None = None
        if self._opens:
            first = self._opens[0]
            assert first.context.keys is not None, "so they were chosen"
            self._renewal = KeyRenewal(first.context.keys, lambda: 0 in first.partitions_served, app.instruments)

    def _covered(self) -> dict[str, Mapping[int, int]]:
        return {part.context.commands_topic: part.covered for part in self._served}

    @property
    def rights(self) -> Rights:
        settings = self._app.settings
        gateway = topics.gateway_replies_topic(settings.namespace)
        by_http = any(part.context.accepts for part in self._served)
        replies = self._replies, topics.reply_topic(gateway, settings.partitions, *([topics.WRITE] if by_http else []))
        return Rights((*replies, self._key_topic), groups=(self._group,), prefixes=settings.reply_prefixes)

    @property
    def limits(self) -> Sequence[str]:
        return [self._renewal.limit] if self._renewal is not None and self._renewal.limit else []

    async def start(self) -> None:
        garbage_collector.tune(YOUNG_OBJECTS)
        with stop_on_user_error():
            await self._prepare()
            # Behind the look at its rights: without any right to write, a producer does not start, and cannot say why.
            await until_it_answers(self._broker.start, "Kafka", KafkaError)
        await self._keys.start()
        supervisor = self._app.supervisor
        rights = self._app.rights
        self._tasks += watches(self._broker, [*rights.topics, *rights.others], rights.groups, supervisor)
        self._tasks.append(supervisor.keep("telling Kafka how far commands are", self._offsets.run))
        if keys := self._all_keys:
            self._tasks.append(supervisor.keep("what was open of persons", partial(sweep, keys, self._budget.expire)))
        if self._renewal is not None:
            self._tasks.append(supervisor.keep("renewing the keys of persons", self._renewal.run))
        for part in self._served:
            self._tasks.append(supervisor.keep(f"the layout of {part.type}", part.follow_layout))
            if part.router is not None:
                self._tasks.append(supervisor.keep(f"what {part.type} hears", part.router.run))

    @property
    def _all_keys(self) -> list[Keys]:
        """The caches of keys of persons in this worker."""
        routers = [part.router.keys for part in self._served if part.router is not None]
        return [keys for keys in (*(part.context.keys for part in self._opens), *routers) if keys is not None]

    async def _prepare(self) -> None:
        settings, contexts = self._app.settings, [part.context for part in self._served]
        wanted, types = [self._replies, self._key_topic, *self._topics], [part.type for part in self._served]
        await prepare(settings, self._journal, contexts[0].identity(), wanted, types)
        for context in contexts:
            if context.keys is not None:
                await journal_answers(context.keys.open, "keys")
                await journal_answers(partial(make_blind_key, context.keys), "keys")
            await journal_answers(partial(self._journal.save_schemas, context.events.schemas))
        for part in self._served:
            await journal_answers(part.layout.reader.look)

    async def stop(self) -> None:
        await each_done(*map(cancel, self._tasks))
        await each_done(self._offsets.tell())
        await each_done(*(part.ownership.close() for part in self._served))
        await each_done(self._keys.close())
        await each_done(self._broker.stop())
        await each_done(*(part.router.close() for part in self._served if part.router is not None))
        await each_done(*(part.context.keys.close() for part in self._served if part.context.keys is not None))
        await each_done(self._journal.close())


def _add_inputs(app: Application, served: Sequence[ServedType]) -> None:
    """Serve `/inputs`: how far the events are routed that this worker's process managers hear."""

    @app.page("/inputs")
    @describe("operations", "How far the events are routed that are heard here", dict[str, Any], role=Role.AUDITOR)
    async def inputs(view: Any, request: Any) -> Any:
        positions = [position for part in served if part.router is not None for position in part.router.inputs()]
        return json_response(view, {"app": app.module, "inputs": positions})

"""The read side as a Faust app: tails the journals, keeps the tables, serves the queries. The wiring only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from aiokafka.errors import KafkaError

from projections.applying.control import Control
from projections.applying.dead_letters import ProjectionDeadLetters
from projections.applying.event_reader import EventReader
from projections.applying.foreign_events import TopicLog
from projections.applying.projection_group import ProjectionGroup
from projections.applying.topic_reader import KafkaTopicReader
from projections.http.bodies import read_ahead
from projections.http.problems import ExpectDispatcher, NotNow, problems
from projections.publishing.backlog import Backlog
from projections.publishing.connections import Connections
from projections.publishing.heads import Heads
from projections.publishing.publisher import Publisher
from projections.publishing.topic_ends import TopicEnds
from projections.publishing.type_logs import TypeLogs
from projections.routing.cutover import Cutover
from projections.routing.query_router import QueryRouter
from projections.routing.signature import HopSignature
from projections.stores.declaration import NO_INDEXES, Indexes, ReadModelRows, Table
from projections.stores.local.store import rocksdb_table, sqlite_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Rows
from projections.stores.shared.read_model import ReadModel
from projections.stores.sql_columns import SqlColumns
from projections.streaming.event_streams import EventStreams
from schemas.sealing import Sealer
from streams.access.tls import client_context
from streams.aggregate_type import AggregateType
from streams.audit.trail import AuditTrail
from streams.cli import main as command_line
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.foreign_type import ForeignType
from streams.journal.port import log_name, log_type
from streams.journal.position import stream_slice, stream_type
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory
from streams.keys.blinding import take_blind_key
from streams.keys.sweeping import sweep
from streams.observability.event_traces import TableTraces
from streams.observability.table_metrics import TableMetrics
from streams.permissions import commands as permissions
from streams.principals.signature import Signed
from streams.runtime import garbage_collector
from streams.runtime.access_guard import RequestAudit
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.preparation import stop_on_user_error
from streams.settings import Settings
from streams.web.health import add_health
from streams.web.notices import add_notices

log = logging.getLogger(__name__)


YOUNG_OBJECTS = 10_000
"""Events, rows and records live as long as their batch. More of them make pauses that a query notices."""
NAME = "projections"
RENEWAL_LOOK_SECONDS = 60.0
CATCH_UPS_AT_ONCE = 3
"""Tables of one worker that are built at the same time, each in one partition."""


class ReadSide(Part):
    """What the views of a projection app need: stores by projection; journals, logs and contexts by type; doors.

    `contexts` are the types that have a journal: it publishes their events, unless PUBLISH is off and another app does
    (`projections.tail_app`). `foreign` are types of somebody else's, of which it has the topics alone. `name` tells the
    apps of a system apart: their consumer groups, changelogs, orders and dead letters are named by it.
    """

    def __init__(
        self,
        module: str,
        settings: Settings,
        contexts: Mapping[str, AggregateType],
        kept: Sequence[Table],
        name: str = NAME,
        foreign: Sequence[ForeignType] = (),
    ) -> None:
        _check(contexts, kept, name, foreign)
        self.contexts = contexts
        self._kept = kept
        hops = HopSignature(lambda: self.control.secrets)
        options = {"middlewares": [problems, hops.middleware], "router": ExpectDispatcher()}
        self.app = app = Application(module, name, settings, web_application_options=options)
        app.contexts = {type: context.name for type, context in contexts.items()}
        self._connections = Connections(app, contexts, [type.topic for type in foreign])
        self.journals, self.broker = self._connections.journals, self._connections.broker
        self.layouts = self._connections.layouts
        self.heads = Heads(self.journals, self.layouts)
        self.logs = {
            type: TypeLogs(journal, type, self.layouts[type], self.heads) for type, journal in self.journals.items()
        }
        self.publisher = Publisher(app, contexts, self._connections) if contexts and settings.publish else None
        self.topic_ends = TopicEnds(self.broker, lambda type: self.sources[type].topic)
        self.control_topic = topics.changelog_topic(topics.control_topic(settings.namespace, name), 1)
        self.dead_letters_topic = topics.dead_letters_topic(settings.namespace, name)
        self._feed = KafkaTopicReader(ClientFactory.of(settings))
        names = {it.name for it in kept}
        self.control = Control(self.control_topic.name, self._feed, self.broker, of=names, supervisor=app.supervisor)
        self.local: dict[str, LocalRows] = {}
        self.sql: dict[str, LocalRows] = {}
        self._read_model = ReadModel(app, kept)
        self.read_model = self._read_model.database
        self.sources: dict[str, ProjectionGroup] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._topic_logs = {type.type: TopicLog(type, self._feed) for type in foreign}
        self._at_once = asyncio.Semaphore(CATCH_UPS_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        for type_, context in contexts.items():
            reader = EventReader(context.events, self.journals[type_], self.logs[type_], context.source)
            self._add_source(type_, topics.events_topic(context.settings.namespace, type_), reader)
        for type in foreign:
            self._add_source(type.type, type.topic.name, self._topic_logs[type.type])
        self.sign_order: Callable[[Signed], list[tuple[str, bytes]]] | None = None
        """Signs orders to owners, where a gateway has the keys for it; raises `NotNow`."""
        self.audit_topic = topics.audit_topic(settings.namespace, settings.audit_days, topics.WRITE)
        self._trail = AuditTrail(partial(self.broker.send, self.audit_topic.name, 0), module)
        self._connections.own_topics += [
            self.audit_topic,
            *(topics.changelog_topic(rows.changelog, settings.partitions) for rows in self._all_local),
            self.control_topic,
            topics.Topic(self.dead_letters_topic, settings.partitions, topics.FOREVER, needs=(topics.WRITE,)),
        ]
        changelogs = {it.name: self._placed_with(it).changelog for it in kept}
        self.doors = QueryRouter(app, self.control, changelogs, self.sources)
        with stop_on_user_error():
            self.doors.tls = client_context(settings)
        self.doors.add_views()
        self.event_streams = EventStreams(
            self.doors, settings.sse_clients, settings.sse_seconds, settings.http_client_streams
        )
        self.switching = Cutover(self.sources, self.control, self.doors, lambda: app.consumer.confirmed())
        self.switching.add_view(app)
        self.control.changed = self._have_changed
        for part in (self._connections, self._read_model, self, *([self.publisher] if self.publisher else [])):
            app.add(part)
        add_health(app)
        add_notices(app)
        set_up = self._read_model.set_up if self._read_model.is_used else None
        if contexts:
            command_line.register(app, contexts, also_set_up=set_up)
        else:
            permissions.register_setup(app, *([set_up] if set_up is not None else []))
        permissions.register(app)

    def backlog(self, stream: str) -> Backlog:
        """What is not done yet of the log of a stream that has a journal."""
        type = stream_type(stream)
        layout = self.layouts[type].layout
        span = layout.of(stream_slice(stream))
        log = log_name(type, span.number)
        if log not in self._backlogs:
            are_open = {log_name(type, span.number) for span in layout.open}
            for ended in [name for name in self._backlogs if log_type(name) == type and name not in are_open]:
                del self._backlogs[ended]
            self._backlogs[log] = Backlog(self.journals[type], type, span, layout.slices)
        return self._backlogs[log]

    def have_audit_read(self) -> None:
        """A view reads the audit, for which this app needs the right."""
        self._connections.own_topics.append(replace(self.audit_topic, needs=(topics.READ,)))

    def local_rows(self, type: str, projection: str) -> LocalRows:
        """Where a view finds the rows of a projection that is kept in RocksDB. Raises `ValueError`."""
        names = [it.name for it in self._kept if it.projection.source == type and isinstance(it.how, Indexes)]
        if projection not in names:
            there = f"those of {type} in RocksDB are {', '.join(names) or 'none'}"
            raise ValueError(f"a view of {type} wants the projection {projection}; {there}")
        if any(it.name == projection and it.projection.local for it in self._kept):
            raise ValueError(f"a view by key wants a row for each {type}; {projection} is local: partitions have parts")
        return self.local[type]

    def indexes_of(self, projection: str) -> Indexes:
        """The indexes of a projection that is kept in RocksDB; none for any other one."""
        return next((it.how for it in self._kept if it.name == projection and isinstance(it.how, Indexes)), NO_INDEXES)

    def sealer(self, type: str) -> Sealer | None:
        """What opens what is personal in the rows of a type; None where nothing is, or the type is somebody else's."""
        return self.contexts[type].keys if type in self.contexts else None

    def rows_of(self, kept: Table) -> Rows:
        """The store of a projection."""
        if isinstance(kept.how, ReadModelRows):
            return self._read_model.database
        return (self.sql if isinstance(kept.how, SqlColumns) else self.local)[kept.projection.source]

    def _placed_with(self, kept: Table) -> LocalRows:
        """The local tables with which a projection's partitions are assigned."""
        rows = self.rows_of(kept)
        return rows if isinstance(rows, LocalRows) else self.local[kept.projection.source]

    @property
    def _all_local(self) -> list[LocalRows]:
        return [*self.local.values(), *self.sql.values()]

    def _here(self, kept: Table) -> list[int]:
        return self.app.assigned(self._placed_with(kept).changelog)

    @property
    def partitions_served(self) -> set[int]:
        return set(self._here(self._kept[0]))

    @property
    def limits(self) -> list[str]:
        return [limit for reader in self._topic_logs.values() for limit in reader.limits.values()]

    @property
    def is_ready(self) -> bool:
        return self.app.tables.actives_ready and not any(rows.is_damaged for rows in self._all_local)

    def _add_source(self, type_: str, topic: str, reader: EventReader) -> None:
        kept = [table for table in self._kept if table.projection.source == type_]
        indexes = {it.name: it.how for it in kept if isinstance(it.how, Indexes) and it.how != NO_INDEXES}
        columns = {it.name: it.how for it in kept if isinstance(it.how, SqlColumns)}
        if kept:
            self.local[type_] = LocalRows(rocksdb_table(self.app, f"{type_}-rows", indexes), self.broker)
        if columns:
            self.sql[type_] = LocalRows(sqlite_table(self.app, f"{type_}-sql", columns), self.broker)
        self.sources[type_] = ProjectionGroup(
            type_,
            topic,
            kept,
            rows_of=self.rows_of,
            here=self._here,
            control=self.control,
            feed=self._feed,
            reader=reader,
            dead_letters=ProjectionDeadLetters(self.dead_letters_topic, self.broker),
            at_once=self._at_once,
            metrics=TableMetrics(self.app.instruments, type_),
            traces=None if self.app.span_tracer is None else TableTraces(self.app.span_tracer, topic),
        )

    async def start(self) -> None:
        """What the app does before it serves: the control topic is read, and the watchers are started."""
        garbage_collector.tune(YOUNG_OBJECTS)
        self.app.audit = RequestAudit(self._trail, read_ahead)
        await self.control.start()
        await until_it_answers(self.control.share_secret, "Kafka: the workers' secret", (KafkaError, TimeoutError))
        supervisor = self.app.supervisor
        self._tasks += [
            supervisor.keep("following what was ordered", self._follow_orders),
            supervisor.keep("looking whether tables are complete", self.switching.run),
            supervisor.keep("renewing the workers' secret", self._renew_secret),
        ]
        if keys := [it.keys for it in self.contexts.values() if it.keys is not None]:
            self._tasks.append(supervisor.keep("the key of blind ids", partial(take_blind_key, keys[0])))
            self._tasks.append(supervisor.keep("keys of persons whose lease is over", partial(sweep, keys)))

    async def revoke(self) -> None:
        """What the app does when its partitions go: streams end, and nothing is read any more."""
        self.event_streams.end()
        await each_done(*(source.close() for source in self.sources.values()))
        for rows in self._all_local:
            rows.remove_damaged()

    async def resume(self) -> None:
        """What the app does when it has its partitions: events are read from here on."""
        for source in self.sources.values():
            await source.open()

    def _have_changed(self) -> None:
        self.event_streams.keep({self.control.serving(kept.name) for kept in self._kept})
        self._changed.set()

    async def _follow_orders(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for source in self.sources.values():
                    await source.follow()
            except Exception:
                self._changed.set()
                raise

    async def _renew_secret(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_LOOK_SECONDS)
            with suppress(NotNow, TimeoutError, KafkaError):  # it may be an hour and some minutes old, too
                if self.switching.leads:
                    await self.control.renew_secret()

    async def stop(self) -> None:
        """What the app does in the end: all that was started is over when it returns."""
        await each_done(self.event_streams.close(), *map(cancel, self._tasks))
        await each_done(self.revoke())
        self.app.audit = None
        await each_done(self._trail.close())
        await each_done(self.control.close())
        await each_done(self.doors.close())
        await each_done(*(context.keys.close() for context in self.contexts.values() if context.keys is not None))


def _check(
    contexts: Mapping[str, AggregateType], kept: Sequence[Table], name: str, foreign: Sequence[ForeignType]
) -> None:
    """Raise `ValueError` where the wiring cannot be right."""
    if not kept:
        raise ValueError("an app of projections keeps at least one: give it a Table(..)")
    for type_, context in contexts.items():
        if type_ != context.decider.type:
            raise ValueError(f"the context of {context.decider.type} stands under {type_!r}: contexts are by type")
    types = {*contexts, *(type.type for type in foreign)}
    if len(types) < len(contexts) + len(foreign):
        raise ValueError("a type is foreign, or its context is here, and it is named once")
    for it in kept:
        if it.projection.source not in types:
            known = ", ".join(sorted(types)) or "none"
            raise ValueError(f"the projection {it.name} reads {it.projection.source}; the contexts here are {known}")
    if not contexts and name == NAME:
        raise ValueError(f"{name!r} is the app of who has the journals: an app of topics alone has a name of its own")

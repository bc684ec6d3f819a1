"""The read side as a Faust app: tails the journals, keeps the tables, serves the queries. The wiring only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka.errors import KafkaError
from faust.types import TP

from projections.applying.control import Control
from projections.applying.dead_letters import ProjectionDeadLetters
from projections.applying.events import EventReader
from projections.applying.feed import KafkaTopicReader
from projections.applying.source import ProjectionGroup
from projections.http.problems import ExpectDispatcher, problems
from projections.publishing.backlog import Backlog
from projections.publishing.heads import Heads
from projections.publishing.publication import Publication
from projections.publishing.registry_framing import RegistryFraming
from projections.publishing.tail_assignment import Tailers
from projections.routing.cutover import Cutover
from projections.routing.query_router import QueryRouter
from projections.routing.signature import HopSignature
from projections.stores.declaration import NO_INDEXES, Indexes, ReadModelRows, Table, projection_name
from projections.stores.local.store import rocksdb_table, sqlite_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Rows
from projections.stores.shared.opening import open_rows
from projections.stores.shared.throttled_checkpoints import ThrottledCheckpoints
from projections.stores.sql_columns import SqlColumns
from projections.streaming.event_streams import EventStreams
from streams.aggregate_type import AggregateType
from streams.cli import main as command_line
from streams.cli.run import ERROR, USAGE, CliError
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.journal.port import Journal, Unavailable, stream_type
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.topic_watch import watch_partitions
from streams.runtime import garbage_collector
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.places import claim_folder
from streams.runtime.preparation import may_create, prepare, stop_on_user_error
from streams.settings import Settings, SettingsError
from streams.web.health import add_health

log = logging.getLogger(__name__)


YOUNG_OBJECTS = 10_000
"""Events, rows and records live as long as their batch. More of them make pauses that a query notices."""
CATCH_UPS_AT_ONCE = 3
"""Tables of one worker that are built at the same time, each in one partition."""


class ReadSide(Part):
    """What the views of a projection app need: stores by projection, journals and contexts by type, doors.

    `name` tells the apps of a system apart: their consumer groups, changelogs, orders and dead letters are named by it.
    """

    def __init__(
        self,
        module: str,
        settings: Settings,
        contexts: Mapping[str, AggregateType],
        kept: Sequence[Table],
        name: str = "projections",
    ) -> None:
        _check(contexts, kept)
        self.contexts = contexts
        self._kept = kept
        self.journals: dict[str, Journal] = {type_: context.journal() for type_, context in contexts.items()}
        hops = HopSignature(lambda: self.control.secrets)
        options = {"middlewares": [problems, hops.middleware], "router": ExpectDispatcher()}
        self.app = app = Application(module, name, settings, web_application_options=options)
        self.heads = Heads(self.journals, settings.partitions)
        self.broker = KafkaClient(settings.bootstrap_servers, settings.partitions)
        self.control_topic = topics.changelog_topic(topics.control_topic(settings.namespace, name), 1)
        self.dead_letters_topic = topics.dead_letters_topic(settings.namespace, name)
        self._feed = KafkaTopicReader(settings.bootstrap_servers)
        names = {it.name for it in kept}
        self.control = Control(self.control_topic.name, self._feed, self.broker, of=names, supervisor=app.supervisor)
        self.local: dict[str, LocalRows] = {}
        self.sql: dict[str, LocalRows] = {}
        self._listings = {it.name: it.how.listings for it in kept if isinstance(it.how, ReadModelRows)}
        url = settings.read_model_url or settings.journal_url
        self.read_model = open_rows(
            url, settings.namespace, listings=lambda table: self._listings.get(projection_name(table), ())
        )
        self._model_rows = ThrottledCheckpoints(self.read_model)
        self._may_create_read_model = may_create(settings, url)
        self.sources: dict[str, ProjectionGroup] = {}
        self.tailers: dict[str, Tailers] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._registered: dict[str, RegistryFraming] = {}
        self._at_once = asyncio.Semaphore(CATCH_UPS_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        for type_, context in contexts.items():
            its = [it for it in kept if it.projection.source == type_]
            self._add_tailers(type_, context)
            self._add_source(type_, context, its)
        changelogs = {it.name: self._placed_with(it).changelog for it in kept}
        self.doors = QueryRouter(app, self.control, changelogs, self.sources)
        self.doors.add_views()
        self.event_streams = EventStreams(self.doors, settings.sse_clients, settings.sse_seconds)
        self.switching = Cutover(self.sources, self.control, self.doors)
        self.switching.add_view(app)
        self.control.changed = self._have_changed
        app.add(self)
        add_health(app)
        command_line.register(app, contexts, also_set_up=self._set_up_read_model if self._listings else None)

    def backlog(self, stream: str) -> Backlog:
        """What of a stream is not done yet."""
        if stream not in self._backlogs:
            self._backlogs[stream] = Backlog(self.journals[stream_type(stream)], stream)
        return self._backlogs[stream]

    def local_rows(self, type: str, projection: str) -> LocalRows:
        """Where a view finds the rows of a projection that is kept in RocksDB. Raises `ValueError`."""
        names = [it.name for it in self._kept if it.projection.source == type and isinstance(it.how, Indexes)]
        if projection not in names:
            there = f"those of {type} in RocksDB are {', '.join(names) or 'none'}"
            raise ValueError(f"a view of {type} wants the projection {projection}; {there}")
        if any(it.name == projection and it.projection.local for it in self._kept):
            raise ValueError(f"a view by key wants a row for each {type}; {projection} is local: partitions have parts")
        return self.local[type]

    def rows_of(self, kept: Table) -> Rows:
        """The store of a projection."""
        if isinstance(kept.how, ReadModelRows):
            return self._model_rows
        return (self.sql if isinstance(kept.how, SqlColumns) else self.local)[kept.projection.source]

    def _placed_with(self, kept: Table) -> LocalRows:
        """The local tables with which a projection's partitions are assigned."""
        rows = self.rows_of(kept)
        return rows if isinstance(rows, LocalRows) else self.local[kept.projection.source]

    @property
    def _all_local(self) -> list[LocalRows]:
        return [*self.local.values(), *self.sql.values()]

    def _here(self, kept: Table) -> list[int]:
        topic = self._placed_with(kept).changelog
        return [tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topic]

    @property
    def partitions_served(self) -> set[int]:
        return set(self._here(self._kept[0]))

    @property
    def is_ready(self) -> bool:
        return self.app.tables.actives_ready and not any(rows.is_damaged for rows in self._all_local)

    def _add_tailers(self, type_: str, context: AggregateType) -> None:
        events = topics.events_topic(context.settings.namespace, type_)
        source = f"/{context.settings.namespace}{context.name}"
        journal = self.journals[type_]
        ids = context.schema_ids(may_create(context.settings, context.settings.schema_registry_url))
        if ids is not None:
            self._registered[type_] = RegistryFraming(ids, journal)
        publication = Publication(
            type=type_, topic=events, source=source, journal=journal, broker=self.broker, codec=context.events,
            framing=self._registered.get(type_), supervisor=self.app.supervisor,
        )  # fmt: skip
        tailers = self.tailers[type_] = Tailers(publication)
        self.app.receive(context.commits_topic, tailers, f"{context.commits_topic}-hints")

    def _add_source(self, type_: str, context: AggregateType, kept: Sequence[Table]) -> None:
        indexes = {it.name: it.how for it in kept if isinstance(it.how, Indexes) and it.how != NO_INDEXES}
        columns = {it.name: it.how for it in kept if isinstance(it.how, SqlColumns)}
        if kept:
            self.local[type_] = LocalRows(rocksdb_table(self.app, f"{type_}-rows", indexes), self.broker)
        if columns:
            self.sql[type_] = LocalRows(sqlite_table(self.app, f"{type_}-sql", columns), self.broker)
        self.sources[type_] = ProjectionGroup(
            type_,
            topics.events_topic(context.settings.namespace, type_),
            kept,
            rows_of=self.rows_of,
            here=self._here,
            control=self.control,
            feed=self._feed,
            reader=EventReader(context.events, self.journals[type_], f"/{context.settings.namespace}{context.name}"),
            dead_letters=ProjectionDeadLetters(self.dead_letters_topic, self.broker),
            at_once=self._at_once,
        )

    async def start(self) -> None:
        garbage_collector.tune(YOUNG_OBJECTS)
        await until_it_answers(self.broker.start, "Kafka", KafkaError)
        settings = self.app.settings
        # A changelog that Kafka does not know yet when the worker joins is left out of its assignment.
        own = [topics.changelog_topic(rows.changelog, settings.partitions) for rows in self._all_local]
        own += [self.control_topic, topics.Topic(self.dead_letters_topic, settings.partitions, topics.FOREVER)]
        watched = list(own)
        for type_, journal in self.journals.items():
            wanted = [*topics.type_topics(settings.namespace, type_, settings.partitions), *own]
            watched += wanted
            with stop_on_user_error():
                cluster = await prepare(settings, journal, self.contexts[type_].identity(), wanted)
                claim_folder(self.app.conf.datadir, self.app.conf.id, settings.partitions, cluster)
                if type_ in self._registered:
                    await self._registered[type_].start()
        await self.control.start()
        await until_it_answers(self.control.share_secret, "Kafka: the workers' secret", (KafkaError, TimeoutError))
        if self._listings:
            await self._open_read_model()
        supervisor = self.app.supervisor
        self._tasks += [
            supervisor.keep("topics", lambda: watch_partitions(self.broker.existing, watched, supervisor)),
            supervisor.keep("following what was ordered", self._follow_orders),
            supervisor.keep("looking whether tables are complete", self.switching.run),
        ]

    async def _open_read_model(self) -> None:
        """Now, or as soon as it answers: until then its tables fall behind, and the others go on."""

        async def prepare_it() -> None:
            if self._may_create_read_model:
                await self.read_model.create()
            await self.read_model.open()

        async def in_the_end() -> None:
            with stop_on_user_error():
                await until_it_answers(prepare_it, "read model", Unavailable)

        try:
            with stop_on_user_error():
                await prepare_it()
        except Unavailable as error:
            log.warning("read model: %s: its tables wait for it", error)
            self._tasks.append(self.app.supervisor.keep("opening the read model", in_the_end))

    async def _set_up_read_model(self) -> AsyncIterator[str]:
        """Make its tables where they are missing. Raises `CliError`."""
        try:
            await self.read_model.create()
        except Unavailable as error:
            raise CliError(ERROR, f"the read model does not answer: {error}; is READ_MODEL_URL right?") from None
        except SettingsError as error:
            raise CliError(USAGE, str(error)) from None
        yield "read model: tables are there"

    async def assign(self, assignment: set[TP]) -> None:
        """Where to read hints is what Faust has committed; which ones there are says what is to be tailed."""
        count = self.app.settings.partitions
        for type_, tailers in self.tailers.items():
            topic = self.contexts[type_].commits_topic
            tailers.assign({tp.partition for tp in assignment if tp.topic == topic and tp.partition < count})

    async def revoke(self) -> None:
        self.event_streams.end()
        await each_done(*(source.close() for source in self.sources.values()))
        for rows in self._all_local:
            rows.remove_damaged()

    async def resume(self) -> None:
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

    async def stop(self) -> None:
        await each_done(self.event_streams.close(), *map(cancel, self._tasks))
        await each_done(self.revoke())
        await each_done(self.control.close(), *(tailers.close() for tailers in self.tailers.values()))
        await each_done(self.doors.close(), self.broker.stop(), self.read_model.close())
        await each_done(
            *(registered.close() for registered in self._registered.values()),
            *(journal.close() for journal in self.journals.values()),
        )


def _check(contexts: Mapping[str, AggregateType], kept: Sequence[Table]) -> None:
    """Raise `ValueError` where the wiring cannot be right."""
    if not kept:
        raise ValueError("an app of projections keeps at least one: give it a Kept(..)")
    for type_, context in contexts.items():
        if type_ != context.decider.type:
            raise ValueError(f"the context of {context.decider.type} stands under {type_!r}: contexts are by type")
    for it in kept:
        if it.projection.source not in contexts:
            known = ", ".join(sorted(contexts)) or "none"
            raise ValueError(f"the projection {it.name} reads {it.projection.source}; the contexts here are {known}")

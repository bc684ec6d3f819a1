"""The read side as a Faust app: tails the journals, keeps the tables, serves the queries. The wiring only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from projections.applier import Applier
from projections.doors import Doors, problems_middleware
from projections.projection import Projection
from projections.registered import Registered
from projections.tables import STORE, Table
from projections.tailer import Tailers
from streams import commands, topics
from streams.broker import Broker
from streams.command_app import Context
from streams.faust_app import Application, Supervisor
from streams.health import add_health
from streams.journal import Journal
from streams.retry import until_it_answers
from streams.settings import Settings
from streams.setup import may_create, prepare, stop_on_user_error

log = logging.getLogger(__name__)


class ReadSide:
    """What the views of a projection app need: tables by projection, journals and contexts by type, doors."""

    def __init__(
        self, module: str, settings: Settings, contexts: Mapping[str, Context], projections: Sequence[Projection]
    ) -> None:
        self.contexts = contexts
        self.journals: dict[str, Journal] = {type_: context.journal() for type_, context in contexts.items()}
        self.app = app = Application(
            module,
            "projections",
            settings,
            store=STORE,
            web_application_options={"middlewares": [problems_middleware()]},
        )
        self._revoked = True
        self._broker = Broker(settings.bootstrap_servers, settings.partitions)
        self.tables = {projection.name: Table(app, projection.name) for projection in projections}
        positions = Table(app, "positions")
        self._all_tables = [*self.tables.values(), positions]
        self.appliers: dict[str, Applier] = {}
        self.tailers: dict[str, Tailers] = {}
        self._registered: dict[str, Registered] = {}
        for type_, context in contexts.items():
            self._add_tailers(type_, context)
            self._add_applier(type_, context, [p for p in projections if p.source == type_], positions)
        self.doors = Doors(app, positions, self.appliers)
        self.doors.add_views()
        app.starting.append(self._start)
        app.stopping.append(self._stop)
        app.revoking.append(self._suspend)
        app.on_partitions_assigned.connect(self._resume, weak=False)
        app.position_sources.append(self._positions)
        app.serves = lambda: app.tables.actives_ready and not any(table.is_damaged for table in self._all_tables)
        app.partitions_served = lambda: self._partitions(positions)
        add_health(app)
        commands.register(app, contexts)

    def _partitions(self, anchor: Table) -> list[int]:
        return sorted(tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == anchor.changelog)

    def _add_tailers(self, type_: str, context: Context) -> None:
        events = topics.events_topic(context.settings.namespace, type_)
        source = f"/{context.settings.namespace}{context.name}"
        journal = self.journals[type_]
        ids = context.schema_ids(may_create(context.settings, context.settings.schema_registry_url))
        if ids is not None:
            self._registered[type_] = Registered(ids, journal)
        wire = self._registered.get(type_)
        tailers = Tailers(type_, events, source, journal, self._broker, context.events, wire)
        self.tailers[type_] = tailers
        hints = self.app.topic(context.commits_topic, key_type=bytes, value_type=bytes)

        @self.app.agent(hints, supervisor_strategy=Supervisor, name=f"{type_}-hints")
        async def wake(stream: Any) -> None:
            async for event in stream.events():
                tailers.wake(event.message.partition, event.message.value)

    def _add_applier(self, type_: str, context: Context, projections: Sequence[Projection], positions: Table) -> None:
        topic = topics.events_topic(context.settings.namespace, type_)
        app = self.app

        applier = Applier(
            type_,
            topic,
            projections,
            {projection.name: self.tables[projection.name] for projection in projections},
            positions,
            self._broker,
            context.events,
            self.journals[type_],
            lambda event: app.consumer.let_go(event.message),
            lambda: app.consumer.rejoin(),
        )
        self.appliers[type_] = applier
        events = app.topic(topic, key_type=bytes, value_type=bytes)

        @app.agent(events, isolated_partitions=True, supervisor_strategy=Supervisor, name=f"{type_}-events")
        async def receive(stream: Any) -> None:
            async for event in stream.noack().events():
                await applier.deliver(event)

    async def _start(self) -> None:
        await until_it_answers(self._broker.start, "Kafka", KafkaError)
        settings = self.app.settings
        # A changelog that Kafka does not know yet when the worker joins is left out of its assignment.
        changelogs = [topics.changelog_topic(table.changelog, settings.partitions) for table in self._all_tables]
        for type_, journal in self.journals.items():
            wanted = [*topics.type_topics(settings.namespace, type_, settings.partitions), *changelogs]
            with stop_on_user_error():
                await prepare(settings, journal, wanted)
                if type_ in self._registered:
                    await self._registered[type_].start()

    async def _positions(self, assignment: set[TP]) -> dict[TP, int]:
        for type_, tailers in self.tailers.items():
            tailers.assign({tp.partition for tp in assignment if tp.topic == self.contexts[type_].commits_topic})
        sources = {topics.events_topic(self.app.settings.namespace, type_): a for type_, a in self.appliers.items()}
        ends = await self.app.consumer.highwaters(*(tp for tp in assignment if tp.topic in sources))
        if self._revoked:  # Faust asks in the middle of a rebalance too
            return {}
        positions: dict[TP, int] = {}
        for topic, applier in sources.items():
            offsets = applier.assign({tp.partition: end or 0 for tp, end in ends.items() if tp.topic == topic})
            positions |= {TP(topic, partition): offset for partition, offset in offsets.items()}
        return positions

    async def _suspend(self) -> None:
        self._revoked = True
        for applier in self.appliers.values():
            await applier.suspend()
        for table in self._all_tables:
            table.remove_damaged()

    async def _resume(self, *args: Any, **kwargs: Any) -> None:
        self._revoked = False

    async def _stop(self) -> None:
        await self._suspend()
        for tailers in self.tailers.values():
            await tailers.close()
        await self.doors.close()
        await self._broker.stop()
        for registered in self._registered.values():
            await registered.close()
        for journal in self.journals.values():
            with contextlib.suppress(Exception):
                await journal.close()

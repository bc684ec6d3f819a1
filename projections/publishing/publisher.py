"""The part of an app that publishes the events of its types: of the app that answers queries, or of one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition
from faust.types import TP

from projections.publishing.connections import Connections
from projections.publishing.hints.hint_reader import HintReader
from projections.publishing.publication import Publication
from projections.publishing.registry_framing import RegistryFraming
from projections.publishing.tail import Tail
from projections.publishing.tail_assignment import Tailers
from streams.aggregate_type import AggregateType
from streams.concurrency.tasks import cancel, each_done
from streams.kafka import topics
from streams.observability.table_metrics import PublishMetrics
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.preparation import may_create, stop_on_user_error

TAIL = "tail"
"""The usual name of an app that publishes apart; its consumer group is that, behind the namespace."""


class Publisher(Part):
    """The tails of an app's types in this worker: of the logs whose partitions of hints Kafka gave it.

    A type is to have one app that publishes it. With two, each event is on its topic twice, in order all the same, and
    readers leave out the second; the tails of both show it as a limit. `alone`: the app has nothing else, so the
    partitions that it serves are those that its tails publish to.
    """

    def __init__(
        self, app: Application, contexts: Mapping[str, AggregateType], connections: Connections, alone: bool = False
    ) -> None:
        self._app = app
        self._alone = alone
        self._framings: list[RegistryFraming] = []
        self._hints_of: dict[str, Tailers] = {}
        """By the topic of their hints."""
        self._tailers: dict[str, Tailers] = {}
        self._following: list[asyncio.Task[None]] = []
        connections.needs = topics.PUBLISHES
        for type_, context in contexts.items():
            settings, journal = context.settings, connections.journals[type_]
            ids = context.schema_ids(may_create(settings, settings.schema_registry_url))
            framing = None if ids is None else RegistryFraming(ids, journal)
            self._framings += [] if framing is None else [framing]
            publication = Publication(
                type=type_,
                topic=topics.events_topic(settings.namespace, type_),
                source=context.source,
                journal=journal,
                layout=connections.layouts[type_],
                broker=connections.broker,
                codec=context.events,
                framing=framing,
                hints=context.commits_topic,
                supervisor=app.supervisor,
                metrics=PublishMetrics(app.instruments, type_),
                tracer=app.span_tracer,
            )
            self._tailers[type_] = Tailers(publication)
            app.place(context.commits_topic, f"{context.commits_topic}-hints")
            self._hints_of[context.commits_topic] = self._tailers[type_]
            app.layouts[context.commits_topic] = connections.layouts[type_]
        self._hints = HintReader(app.clients, self._hints_of)

    @property
    def tails(self) -> Iterable[Tail]:
        """Those of this worker."""
        return [tail for tailers in self._tailers.values() for tail in tailers.tails.values()]

    @property
    def partitions_served(self) -> set[int]:
        return {slice.slice for tail in self.tails for slice in tail.slices} if self._alone else set()

    @property
    def limits(self) -> list[str]:
        return [tail.limit for tail in self.tails if tail.limit]

    async def start(self) -> None:
        with stop_on_user_error():
            for framing in self._framings:
                await framing.start()
        keep = self._app.supervisor.keep
        self._following.append(keep("hints", self._hints.run))
        for type_, tailers in self._tailers.items():
            name = f"the logs of {type_} that are published"
            self._following.append(keep(name, tailers.follow_layout))

    async def assign(self, assignment: set[TP]) -> None:
        """The seats of a type say which of its logs are tailed here."""
        count = self._app.settings.partitions
        seats = {TopicPartition(*tp) for tp in assignment if tp.topic in self._hints_of and tp.partition < count}
        self._hints.assign(seats)
        for topic, tailers in self._hints_of.items():
            tailers.assign({tp.partition for tp in seats if tp.topic == topic})

    async def stop(self) -> None:
        await each_done(*map(cancel, self._following))
        await each_done(*(tailers.close() for tailers in self._tailers.values()))
        await each_done(*(framing.close() for framing in self._framings))

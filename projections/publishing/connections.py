"""What an app on the reading side is connected to: Kafka, and the journals of its types."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from aiokafka.errors import KafkaError

from streams.aggregate_type import AggregateType
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.journal.grants import Role
from streams.journal.layout_follower import LayoutFollower
from streams.journal.port import Journal
from streams.journal.slice_log import LayoutReader
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_watch import watches
from streams.kafka.topics import PUBLISHES, READS, Needs, Topic, ensure_topics, type_topics
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.places import claim_folder
from streams.runtime.preparation import journal_answers, prepare, stop_on_user_error, topics_of_others
from streams.runtime.rights import Rights


class Connections(Part):
    """The first part of an app: the others find Kafka and the journals open, and all topics there.

    `foreign` are the topics that somebody else makes, and this app waits for.
    """

    def __init__(self, app: Application, contexts: Mapping[str, AggregateType], foreign: Sequence[Topic] = ()) -> None:
        self.journals: dict[str, Journal] = {type_: context.journal() for type_, context in contexts.items()}
        self.layouts = {type_: LayoutReader(journal, type_) for type_, journal in self.journals.items()}
        self.broker = KafkaClient(ClientFactory.of(app.settings), app.settings.partitions)
        self.own_topics: list[Topic] = []
        """Of the app itself. A changelog that Kafka does not know yet when a worker joins is left out of its
        assignment."""
        self.needs: Needs = READS
        """What it needs of the topics of its types; more where it publishes their events."""
        self._app = app
        self._contexts = contexts
        self._foreign = foreign
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def rights(self) -> Rights:
        of_types = [t for type in self._contexts for t in self._type_topics(type)]
        role = Role.TAIL if self.needs is PUBLISHES else Role.READER
        grants = frozenset(grant for context in self._contexts.values() for grant in context.grants(role))
        return Rights((*of_types, *self.own_topics), tuple(self._foreign), grants=grants)

    def _type_topics(self, type: str) -> list[Topic]:
        settings = self._app.settings
        return type_topics(settings.namespace, type, settings.partitions, self.needs)

    async def start(self) -> None:
        settings = self._app.settings
        with stop_on_user_error():
            cluster = await topics_of_others(settings, self._foreign)
            for type_, journal in self.journals.items():
                wanted = self._type_topics(type_)
                whose, made = self._contexts[type_].identity(), [*wanted, *self.own_topics]
                await prepare(settings, journal, whose, made, [type_], is_owner=False)
            if not self.journals:
                ensure = partial(ensure_topics, ClientFactory.of(settings), self.own_topics, settings.setup != "never")
                await until_it_answers(ensure, "Kafka: making topics", (KafkaError, TimeoutError))
            for type_, layout in self.layouts.items():
                await journal_answers(layout.look, f"journal: the layout of {type_}")
            await until_it_answers(self.broker.start, "Kafka", KafkaError)
            claim_folder(self._app.conf.datadir, self._app.conf.id, settings.partitions, cluster)
        supervisor, rights = self._app.supervisor, self._app.rights
        self._tasks += watches(self.broker, [*rights.topics, *rights.others], rights.groups, supervisor)
        for type_, layout in self.layouts.items():  # now and then: who reads a log to its seal looks at once
            self._tasks.append(supervisor.keep(f"the layout of {type_}", LayoutFollower(layout).follow))

    async def stop(self) -> None:
        await each_done(*map(cancel, self._tasks))
        await each_done(self.broker.stop())
        await each_done(*(journal.close() for journal in self.journals.values()))

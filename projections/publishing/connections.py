"""What an app on the reading side is connected to: Kafka, and the journals of its types."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from aiokafka.errors import KafkaError

from streams.aggregate_type import AggregateType
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.journal.layout_follower import LayoutFollower
from streams.journal.port import Journal, Unavailable
from streams.journal.slice_log import LayoutReader
from streams.kafka.client import KafkaClient
from streams.kafka.topic_watch import watch_partitions
from streams.kafka.topics import Topic, ensure_topics, type_topics
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.places import claim_folder
from streams.runtime.preparation import prepare, stop_on_user_error, topics_of_others


class Connections(Part):
    """The first part of an app: the others find Kafka and the journals open, and all topics there.

    `foreign` are the topics that somebody else makes, and this app waits for.
    """

    def __init__(self, app: Application, contexts: Mapping[str, AggregateType], foreign: Sequence[Topic] = ()) -> None:
        self.journals: dict[str, Journal] = {type_: context.journal() for type_, context in contexts.items()}
        self.layouts = {type_: LayoutReader(journal, type_) for type_, journal in self.journals.items()}
        self.broker = KafkaClient(app.settings.bootstrap_servers, app.settings.partitions)
        self.own_topics: list[Topic] = []
        """Of the app itself. A changelog that Kafka does not know yet when a worker joins is left out of its
        assignment."""
        self._app = app
        self._contexts = contexts
        self._foreign = foreign
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await until_it_answers(self.broker.start, "Kafka", KafkaError)
        settings, watched = self._app.settings, [*self.own_topics, *self._foreign]
        with stop_on_user_error():
            cluster = await topics_of_others(settings, self._foreign)
            for type_, journal in self.journals.items():
                wanted = type_topics(settings.namespace, type_, settings.partitions)
                watched += wanted
                whose, made = self._contexts[type_].identity(), [*wanted, *self.own_topics]
                await prepare(settings, journal, whose, made, [type_], is_owner=False)
            if not self.journals:
                ensure = partial(ensure_topics, settings.bootstrap_servers, self.own_topics)
                await until_it_answers(ensure, "Kafka: making topics", (KafkaError, TimeoutError))
            for type_, layout in self.layouts.items():
                await until_it_answers(layout.look, f"journal: the layout of {type_}", Unavailable)
            claim_folder(self._app.conf.datadir, self._app.conf.id, settings.partitions, cluster)
        supervisor = self._app.supervisor
        self._tasks += [
            supervisor.keep("topics", lambda: watch_partitions(self.broker.existing, watched, supervisor)),
        ]
        for type_, layout in self.layouts.items():  # now and then: who reads a log to its seal looks at once
            self._tasks.append(supervisor.keep(f"the layout of {type_}", LayoutFollower(layout).follow))

    async def stop(self) -> None:
        await each_done(*map(cancel, self._tasks))
        await each_done(self.broker.stop())
        await each_done(*(journal.close() for journal in self.journals.values()))

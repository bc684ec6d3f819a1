"""One aggregate type of a command app, between Faust, which places seats, and the owners of its logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faust.types import TP

from aggregates.process_manager import ProcessManager
from streams.aggregate_type import AggregateType
from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Budget, Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.journal.grants import Grant, Role
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Journal, log_name
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.command_reader import KafkaCommandReader
from streams.kafka.command_slices import CommandSlices
from streams.kafka.topic_metadata import TopicMetadata
from streams.keys.opening import keys_grants
from streams.observability import catalog
from streams.observability.event_traces import SendTraces
from streams.observability.instruments import Instruments
from streams.observability.owner_metrics import OwnerMetrics
from streams.observability.owner_traces import OwnerTraces
from streams.ownership.assignment import Assignment
from streams.ownership.derivation import Dispatch
from streams.ownership.follower import LogFollower
from streams.ownership.layout_watch import LayoutWatch
from streams.ownership.owner import Owner
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from streams.principals.key_topic import KeyTopic
from streams.principals.signature import SigningKeys
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.process_signature import ProcessSignature
from streams.processes.router import Router
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.rights import Rights
from streams.security.refusals import TopicForbidden

NewFollower = Callable[
    [AggregateType, LogSpan, Journal, KafkaClient, Supervisor, Instruments, SigningKeys, SendTraces | None], LogFollower
]
"""A follower for a new owner of a log."""


LOOK_SECONDS = 1.0
"""A rebalance waits so long for the newest layout."""


class ServedType(Part):
    """The aggregate type in this worker: its logs, and for a process manager its router and its dispatcher.

    It is the `Worker` around its logs.
    """

    def __init__(
        self,
        app: Application,
        context: AggregateType,
        journal: Journal,
        broker: KafkaClient,
        budget: Budget,
        keys: KeyTopic,
        new_follower: NewFollower | None = None,
    ) -> None:
        settings, type = context.settings, context.decider.type
        self.context = context
        self.type = type
        sends_itself = new_follower is not None or (context.process is not None and bool(context.process.hears))
        needs = {**topics.OWNS, **topics.SENDS_ITSELF} if sends_itself else topics.OWNS
        self.topics = topics.type_topics(settings.namespace, type, settings.partitions, needs)
        self.router: Router | None = None
        self.ownership = Assignment(type, self, app.supervisor)
        self.layout = LayoutWatch(journal, type, broker, context.logs_topic)
        self._app = app
        self._journal = journal
        self._broker = broker
        self._budget = budget
        self._keys = keys
        self._new_follower = new_follower
        self._metrics = OwnerMetrics(app.instruments, type, context.decider.commands)
        self._traces = (
            OwnerTraces(app.span_tracer, type, context.commands_topic) if app.span_tracer is not None else None
        )
        self._send_traces = SendTraces(app.span_tracer, type) if app.span_tracer is not None else None
        self._events_topic = topics.events_topic(settings.namespace, type)
        self._dispatcher: CommandDispatcher | None = None
        if context.process is not None:
            self._add_process(context.process)
        self._commands = CommandHandler(
            decider=context.decider,
            events=context.events,
            commands=context.commands,
            window=settings.dedupe_window,
            limits=context.limits(),
            check=self._dispatcher.check if self._dispatcher is not None else None,
            keys=keys,
        )
        self._replies = Replies(
            broker,
            context.commits_topic,
            context.commands_topic,
            context.dead_letters_topic,
            hint_key=lambda: self.layout.reader.layout.hint_key,
            personal=self._commands.personal,
        )

    def _add_process(self, process: ProcessManager[Any, Any, Any]) -> None:
        context, settings = self.context, self.context.settings
        self._dispatcher = CommandDispatcher(
            sends=process.sends,
            codec=context.events,
            journal=self._journal,
            broker=self._broker,
            namespace=settings.namespace,
            source=context.source,
            slices=settings.partitions,
            dead_letters_topic=context.dead_letters_topic,
            sent=self._app.instruments.counter(catalog.COMMANDS_SENT),
            signature=ProcessSignature(self.type, self._keys),
            traces=self._send_traces,
        )
        for other in process.sends_to:
            self.topics += topics.type_topics(settings.namespace, other, settings.partitions, topics.SENDS)
        if process.hears:
            group = f"{settings.namespace}{context.name}-{self.type}-hears"
            self.router = Router(
                process,
                settings,
                group=group,
                source=context.source,
                schema_root=context.schema_root,
                broker=self._broker,
                keys=self._keys,
                traces=self._send_traces,
            )
            self.topics += self.router.topics

    @property
    def rights(self) -> Rights:
        process = self.context.process
        return Rights(
            tuple(self.topics),
            groups=() if self.router is None else (self.router.group,),
            grants=frozenset(self._grants),
            anywhere=(self.type,) if process is not None and not process.sends_to else (),
        )

    @property
    def _grants(self) -> set[Grant]:
        granted = self.context.grants(Role.OWNER)
        hears_of_persons = self.router is not None and self.router.keys is not None
        return granted | keys_grants(self.context.settings) if hears_of_persons else granted

    # -- a rebalance -----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return self.ownership.ready

    @property
    def partitions_served(self) -> set[int]:
        return {slice for log in self.ownership.served for slice in log.span.slices}

    @property
    def logs_served(self) -> list[str]:
        return [log.name for log in self.ownership.served]

    async def assign(self, assignment: set[TP]) -> None:
        seats = {tp.partition for tp in assignment if tp.topic == self.context.logs_topic}
        await self.ownership.assign(seats, self.layout.reader.layout)
        self.layout.look_soon()

    async def resume(self) -> None:
        await self.ownership.all_served()

    async def revoke(self) -> None:
        await self.ownership.revoke()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LOOK_SECONDS):  # the leader is to know the newest one when it places the seats
                await self.layout.reader.look()

    async def follow_layout(self) -> None:
        """Keep to the newest layout, for ever: logs that are to end are sealed, and those that begin are taken over."""
        await self.layout.follow(self.ownership.follow)

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        await self.layout.note_seal(span, nr)

    # -- its logs --------------------------------------------------------------------------------------

    def new_owner(self, span: LogSpan, parents: Sequence[LogSpan], topic_id: str, waiting: WaitingLog) -> Owner:
        context, settings = self.context, self.context.settings
        follower = None
        if self._new_follower is not None:
            of_worker = self._app.supervisor, self._app.instruments, self._keys, self._send_traces
            follower = self._new_follower(context, span, self._journal, self._broker, *of_worker)
        handler = GroupHandler(
            self._commands,
            journal=self._journal,
            cache=Cache(self._budget),
            log=log_name(self.type, span.number),
            slices=settings.partitions,
            advice=self._advice,
        )
        return Owner(
            span=span,
            parents=parents,
            topic_id=topic_id,
            # The fence tells owners apart, not workers.
            identity=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            journal=self._journal,
            handler=handler,
            replies=self._replies,
            commands=CommandSlices(self._broker, context.commands_topic, span.slices, self._events_topic),
            waiting=waiting,
            dispatch=self._dispatch(follower),
            follower=follower,
            metrics=self._metrics,
            traces=self._traces,
        )

    def _dispatch(self, follower: LogFollower | None) -> Dispatch | None:
        """Does what commits cause: what a follower does of it, then the commands that they send."""
        dispatcher = self._dispatcher
        if dispatcher is None or follower is None:
            return dispatcher.dispatch if dispatcher is not None else None

        async def both(commits: Sequence[Commit]) -> None:
            await follower.before_sending(commits)
            await dispatcher.dispatch(commits)

        return both

    def new_reader(self, slices: Sequence[int]) -> KafkaCommandReader:
        return KafkaCommandReader(ClientFactory.of(self.context.settings), self.context.commands_topic, slices)

    @property
    def covered(self) -> Mapping[int, int]:
        """By slice the offset behind the last command that is done here."""
        return self.ownership.covered

    def _advice(self) -> str:
        return self._app.supervisor.troubles.get(self.context.commands_topic, "")

    async def describe(self) -> TopicMetadata | None:
        topic = self.context.commands_topic
        described = (await self._broker.describe([topic])).get(topic)
        if described is not None and described.rights is not None and topics.READ not in described.rights:
            raise TopicForbidden(topic, "read", topics.READ)  # it would take over again and again
        return described

    async def confirmed(self) -> None:
        await self._app.consumer.confirmed()

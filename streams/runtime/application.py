"""The Faust application beneath every process: its settings, and the places where Faust must be held right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP
from mode.utils.queues import FlowControlEvent
from yarl import URL

from streams.access.access import Access, check_reach, is_loopback
from streams.access.principal import Need, Role
from streams.access.tls import server_context
from streams.aggregate_type import AggregateType
from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel, each_done
from streams.journal.slice_log import KnownLayout
from streams.kafka.client_factory import ClientFactory
from streams.membership.group import KafkaGroup
from streams.membership.member_file import Membership
from streams.membership.peers import Peers
from streams.membership.seats import SeatAssignor
from streams.notices import warn
from streams.observability.instruments import Instruments
from streams.observability.requests import RequestMetrics
from streams.observability.tracing import RunningTracer, open_tracer
from streams.runtime import worker_command
from streams.runtime.access_guard import AccessGuard, RequestAudit, log_changes
from streams.runtime.consumer import Transport
from streams.runtime.log_lines import one_line_each, quieten
from streams.runtime.part import Part
from streams.runtime.partition_pump import RecordHandler
from streams.runtime.places import check_folder, check_listening
from streams.runtime.preparation import stop_on_user_error
from streams.runtime.rights import Rights
from streams.runtime.web_guard import WebGuard, names
from streams.runtime.web_server import Web
from streams.security.refusals import REFUSALS
from streams.settings import Settings

log = logging.getLogger(__name__)

SESSION_SECONDS = 6.0
"""A worker that was killed is missed after so long; brokers allow no less, unless told to."""
HEARTBEAT_SECONDS = 0.3
"""By its heartbeat a worker learns that another has left or joined: so long do partitions that move stand still."""
STREAM_BUFFER = 128
"""Records that wait in a queue of Faust's, as those of changelogs do in a recovery."""
REFUSALS_SECONDS = 1.0
LAST_SPANS_SECONDS = 1.0
"""A worker that ends waits so long for a collector to take what is not sent yet."""
CHATTY = ("faust", "mode", "aiokafka")
"""Loggers that make a record per message or request even when nobody reads it, a tenth of the time."""

LOOPBACK, WEB_PORT = "127.0.0.1", 6066
"""Where a worker listens unless told otherwise on its command line."""


class FlowControl(FlowControlEvent):  # type: ignore[misc]
    """Keeps the records of changelogs that wait for the tables when a flow resumes that flows already.

    Faust empties its queues whenever it resumes, which it does twice in a recovery: when standbys begin to be read, and
    when all is done. What waited for a standby the second time would be missing in it for ever, behind its offset.
    """

    def __init__(self, app: Application) -> None:
        super().__init__(loop=app.loop)
        self._app = app

    def resume(self) -> None:
        if not self.is_active():
            super().resume()
            return
        for queue in self._queues:
            if queue is not self._app.tables._changelog_queue:
                queue.clear()


class Application(faust.App):  # type: ignore[misc]
    """A Faust app of parts, with hooks around a rebalance. Kafka shares topics out, and seats of logs evenly.

    `leaves_first`: leave the group before the rest of the shutdown. Right only where a fence keeps late writes from
    doing harm.
    """

    def __init__(
        self, name: str, group: str, settings: Settings, *, leaves_first: bool = False, **options: Any
    ) -> None:
        self.module = name
        self.context = group
        self.contexts: dict[str, str] = {}
        """By aggregate type the context that it is of: where somebody must have a role. See `streams.access`."""
        self.types: Mapping[str, AggregateType] = {}
        """The aggregate types of its command line, by name."""
        self.access: Access | None = None
        """Who may do what; known when the worker starts. None: whoever comes may do everything."""
        self.audit: RequestAudit | None = None
        """Where it is written down what operators order; None: it takes no orders."""
        self.settings = settings
        with stop_on_user_error():
            self.clients = ClientFactory.of(settings)
            self.span_tracer: RunningTracer | None = open_tracer(settings, settings.namespace + group)
            """Takes the spans of this worker; None: nobody wants any."""
        self.supervisor = Supervisor()
        self.instruments = Instruments()
        """What this worker counts."""
        self.parts: list[Part] = []
        self.receivers: dict[str, RecordHandler] = {}
        """By topic: who gets its records, instead of an agent's stream. See `receive`."""
        self.unread: set[str] = set()
        """The topics that are shared out, and not read by Faust. See `place`."""
        self.layouts: dict[str, KnownLayout] = {}
        """By topic whose partitions are seats of logs: which ones have one. See `streams.membership.seats`."""
        self.rebalanced = False
        self._leaves_first = leaves_first
        self._resuming: asyncio.Task[None] | None = None
        self._tracing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        options.setdefault("datadir", str(settings.data_dir / group))
        self.guard = WebGuard(self, names(settings.http_allowed_hosts), names(settings.http_allowed_origins))
        rights = AccessGuard(lambda: self.access, self.need_of, lambda: self.audit)
        web = dict(options.pop("web_application_options", {}))
        outer = [RequestMetrics(self.instruments).middleware, self.guard.middleware]
        web["middlewares"] = [*outer, *web.get("middlewares", ()), rights.middleware]
        super().__init__(
            settings.namespace + group,
            broker=[URL(f"kafka://{broker}") for broker in self.clients.servers],
            broker_credentials=self.clients.faust_credentials,
            env={},  # Faust would take BROKER_URL, WEB_PORT and a hundred others from whoever they are meant for
            debug=False,
            blocking_timeout=None,
            web_bind=LOOPBACK,
            web_host=LOOPBACK,
            web_port=WEB_PORT,
            key_serializer="raw",
            value_serializer="raw",
            topic_partitions=settings.partitions,
            topic_disable_leader=True,
            topic_allow_declare=False,  # who may make topics has made them before
            table_standby_replicas=1,
            broker_heartbeat_interval=HEARTBEAT_SECONDS,
            broker_session_timeout=SESSION_SECONDS,
            consumer_auto_offset_reset="earliest",
            processing_guarantee="at_least_once",
            stream_wait_empty=True,
            stream_buffer_maxsize=STREAM_BUFFER,
            web_tables_enabled=False,
            web_router_enabled=False,
            worker_redirect_stdouts=False,
            autodiscover=False,
            PartitionAssignor=SeatAssignor,
            Worker=worker_command.Worker,
            web_application_options=web,
            **options,
        )
        self.on_before_shutdown.connect(self._let_go_before_shutdown, weak=False)

    @cached_property
    def flow_control(self) -> FlowControl:
        return FlowControl(self)

    @property
    def rights(self) -> Rights:
        """What a worker needs of the servers."""
        return Rights.of_all([Rights(groups=(self.conf.id,)), *(part.rights for part in self.parts)])

    def add(self, part: Part) -> None:
        """Have a part start, stop, and take part in rebalances."""
        self.parts.append(part)

    def receive(self, topic: str, receiver: RecordHandler, name: str) -> None:
        """Have Kafka share out the partitions of a topic among the workers, and their records go to `receiver` in
        batches, past Faust's streams: see `consumer.py`."""
        self.receivers[topic] = receiver
        self._share_out(topic, name)

    def place(self, topic: str, name: str) -> None:
        """Have Kafka share out the partitions of a topic, and Faust read nothing of it: somebody else does."""
        self.unread.add(topic)
        self._share_out(topic, name)

    def _share_out(self, topic: str, name: str) -> None:
        channel = self.topic(topic, key_type=bytes, value_type=bytes, partitions=self.settings.partitions)

        @self.agent(channel, name=name)
        async def nothing(stream: Any) -> None:
            """Has Faust subscribe to the topic."""
            async for _ in stream:
                pass

    def _new_web(self) -> Any:
        return Web(self)

    def _init_fixups(self) -> list[Any]:
        return []  # the one for Django goes by somebody else's variable

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        for library in CHATTY:
            logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))
        quieten("aiokafka")
        one_line_each()
        with stop_on_user_error():
            check_folder(self.conf.datadir)
            if self.conf.web_enabled:
                self._open_port()
        await super().on_first_start()
        with stop_on_user_error():
            await until_it_answers(self.clients.check, "Kafka", (KafkaError, OSError, TimeoutError))
        self.supervisor.keep("looking whether Kafka refuses", self._watch_refusals)
        if self.span_tracer is not None:
            self._tracing = self.supervisor.keep("sending traces", self.span_tracer.run)
        group = KafkaGroup(self.clients, self.conf.id)
        with stop_on_user_error():
            await until_it_answers(group.check, "Kafka: the consumer group", (KafkaError, OSError, TimeoutError))
        self._membership = Membership(self.conf.datadir / "member", group)
        self._peers = Peers(group, self.supervisor)
        with stop_on_user_error():
            await self._membership.succeed(alone=bool(self.tables))  # two cannot have the same tables open
        for part in self.parts:
            await part.start()

    async def _watch_refusals(self) -> None:
        """Have health show a broker that refuses connections, for as long as it does. The log has it already."""
        while True:
            if reason := REFUSALS.reason:
                self.supervisor.trouble("Kafka", reason)
            else:
                self.supervisor.well("Kafka")
            await asyncio.sleep(REFUSALS_SECONDS)

    def _open_port(self) -> None:
        """Know who may ask, and how. Raises `SettingsError`."""
        self.access = Access.of(self.settings)
        check_reach(self.settings, self.conf.web_bind, self.access)
        self.conf.web_ssl_context = server_context(self.settings)
        check_listening(self.conf.web_bind, self.conf.web_port)
        if self.access is not None:
            log_changes()
            if self.conf.web_ssl_context is None and not is_loopback(self.conf.web_bind):
                text = "tokens come to this port in the clear, unless a proxy before it has TLS: HTTP_TLS_CERT_FILE"
                warn(log, "tokens-in-clear", "", text)

    def need_of(self, view: Any, method: str) -> Need:
        """The right that one method of a view needs: as it says itself, else that of an operator."""
        handler = view.methods["get" if method == "HEAD" else method.lower()]
        described = getattr(handler, "described", None)
        if described is None:
            return Need(Role.OPERATOR, (self.context,))
        return Need(described.role, tuple(self.contexts.get(type, type) for type in described.of) or (self.context,))

    async def on_stop(self) -> None:
        # Owners let go first: Faust takes a second or two for the rest, in which nobody would serve their logs.
        await self.before_revoke()
        await each_done(*(part.leave() for part in self.parts))
        if self._leaves_first and self._consumer is not None:
            await each_done(self._consumer.leave())
        await super().on_stop()
        if self.span_tracer is not None and self._tracing is not None:
            self.span_tracer.end()
            await asyncio.wait({self._tracing}, timeout=LAST_SPANS_SECONDS)
            await each_done(cancel(self._tracing))

    async def _let_go_before_shutdown(self, *args: Any, **kwargs: Any) -> None:
        self.rebalanced = False
        if self._looking is not None:
            await each_done(cancel(self._looking), self._peers.close())
        for part in reversed(self.parts):
            await each_done(part.stop())

    async def before_assigned(self, assignment: set[TP]) -> None:
        """A rebalance has assigned these, or nothing, to this worker."""
        if not self.should_stop:  # nothing is taken over any more
            await asyncio.gather(*(part.assign(assignment) for part in self.parts))

    async def before_revoke(self) -> None:
        """A rebalance begins, or the worker ends."""
        self.rebalanced = False
        if self._resuming is not None:
            await cancel(self._resuming)
            self._resuming = None
        await each_done(*(part.revoke() for part in self.parts))

    def on_rebalance_end(self) -> None:
        super().on_rebalance_end()
        self.consumer.rest()
        member_id = self.consumer.member_id
        self._membership.record(member_id)
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self.supervisor.keep("watching the other workers", lambda: self._peers.follow(member_id))
        self._resuming = self.supervisor.keep("resuming after a rebalance", self._resume)

    async def _resume(self) -> None:
        """A rebalance is over: what was assigned is there, and its tables are recovered."""
        for part in self.parts:
            await part.resume()
        self.rebalanced = True
        logs = "" if self.logs_served is None else f" logs=[{', '.join(self.logs_served)}]"
        # In one write: a line that another thread logs would stand within it else.
        print(f"ready: {self.module} partitions={self.partitions_served}{logs}\n", end="", flush=True)

    @property
    def partitions_served(self) -> list[int]:
        """The partitions that this worker serves."""
        return sorted({partition for part in self.parts for partition in part.partitions_served})

    def assigned(self, topic: str) -> list[int]:
        """The partitions of a topic that the last rebalance has given to this worker.

        Every query asks. Faust's `assigned_actives` makes a set of all partitions of all topics each time: a sixth of
        the time of a worker of projections at which many queries wait.
        """
        return sorted(self.assignor._assignment.actives.get(topic, ()))

    @property
    def logs_served(self) -> list[str] | None:
        """The logs whose commands are decided here; None in an app that owns none."""
        served = [part.logs_served for part in self.parts if part.logs_served is not None]
        return [log for logs in served for log in logs] if served else None

    @property
    def limits(self) -> list[str]:
        """What keeps its parts from serving all that they might, and is no trouble."""
        return [limit for part in self.parts for limit in part.limits]

    @property
    def is_ready(self) -> bool:
        """Whether this worker serves all that is assigned to it, so that it can be asked."""
        return self.rebalanced and not self.rebalancing and all(part.is_ready for part in self.parts)

    @property
    def is_well(self) -> bool:
        """Whether it is ready and none of its tasks is in trouble. One task's trouble is not that of all queries."""
        return self.is_ready and not self.supervisor.troubles

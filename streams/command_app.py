"""A bounded context as a Faust app: command agent, owners, journal, outbox. The wiring, and nothing else."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from aggregates.decider import Decider
from schemas.codec import Codec
from schemas.formats import AVRO, Format
from schemas.registry import Schemas
from streams import cli_owners, commands, topics
from streams.broker import Broker, PartitionLog, partition_of
from streams.cache import Cache
from streams.faust_app import Application, Supervisor, let_go
from streams.handler import Handler
from streams.health import add_health
from streams.intake import Delivery
from streams.journal import Journal, stream_name
from streams.journals import open_journal
from streams.limits import Limits
from streams.outbox import TypeOutbox
from streams.owner import Owner
from streams.owners import add_owners
from streams.ownership import Ownership
from streams.retry import until_it_answers
from streams.schema_ids import SchemaIds
from streams.schema_registry import RegistryAddress, SchemaRegistry
from streams.settings import Settings
from streams.setup import prepare, stop_on_user_error
from streams.topic_ids import Described

log = logging.getLogger(__name__)


class Context:
    """One aggregate type, its codecs, topics and journal: what the agents and the command line share."""

    def __init__(
        self,
        name: str,
        decider: Decider[Any, Any, Any],
        settings: Settings,
        shop: str,
        format: Format = AVRO,
    ) -> None:
        schemas = Schemas.load(shop, decider.type)
        upcasters = schemas.upcasters
        self.name = name
        self.shop = shop
        self.decider = decider
        self.settings = settings
        self.schemas = schemas
        self.event_schemas = [schema for schema in schemas if schema.name not in decider.commands]
        self.events = Codec(self.event_schemas, decider.events, upcasters, format)
        self.commands = Codec([s for s in schemas if s.name in decider.commands], decider.commands, upcasters)
        self.commands_topic = topics.commands_topic(settings.namespace, decider.type)
        self.commits_topic = topics.commits_topic(settings.namespace, decider.type)
        self.dead_letters_topic = topics.dead_letters_topic(settings.namespace, decider.type)
        self.registry = RegistryAddress.of(settings)

    def journal(self) -> Journal:
        """The context's own journal, not yet open. Raises `SettingsError`."""
        return open_journal(self.settings.journal_url, self.settings.namespace, self.name)

    def schema_ids(self, may_register: bool) -> SchemaIds | None:
        """The ids that the schema registry has for its events; None where there is no registry."""
        if self.registry is None:
            return None
        topic = topics.events_topic(self.settings.namespace, self.decider.type)
        registry = SchemaRegistry(self.registry)
        return SchemaIds(registry, topic, self.event_schemas, self.schemas.upcasters, may_register)


def command_app(
    module: str, name: str, decider: Decider[Any, Any, Any], shop: str = "shop", format: Format = AVRO
) -> Application:
    """The Faust app `module` of the context `name`, whose commands `decider` decides.

    A new aggregate is its decider, its schemas and one call of this. Its events are written in `format`, and read in
    every format, so that it may change.
    """
    with stop_on_user_error():
        settings = Settings.from_environment()
        context = Context(name, decider, settings, shop, format)
        journal = context.journal()
    app = Application(module, name, settings)
    broker = Broker(settings.bootstrap_servers, settings.partitions)
    ownership = _ownership(app, context, journal, broker)
    channel = app.topic(context.commands_topic, key_type=bytes, value_type=bytes, partitions=settings.partitions)

    @app.agent(channel, isolated_partitions=True, supervisor_strategy=Supervisor, name=f"{name}-commands")
    async def receive(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            await ownership.deliver(
                message.partition,
                Delivery(
                    message.offset,
                    message.key,
                    message.value,
                    message.headers or (),
                    message.timestamp or 0.0,
                    event.ack,
                    let_go(app, event),
                ),
            )

    async def start() -> None:
        with stop_on_user_error():
            await until_it_answers(broker.start, "Kafka", KafkaError)
            wanted = topics.type_topics(settings.namespace, decider.type, settings.partitions)
            replies = topics.reply_topic(topics.replies_topic(settings.namespace), settings.partitions)
            await prepare(settings, journal, [*wanted, replies])
            await journal.save_schemas(context.events.schemas)

    async def stop() -> None:
        await ownership.close()
        await broker.stop()
        await journal.close()

    async def positions(assignment: set[TP]) -> dict[TP, int]:
        mine = {tp.partition: tp for tp in assignment if tp.topic == context.commands_topic}
        return {mine[p]: offset for p, offset in (await ownership.assign(set(mine))).items()}

    def went_back(tp: TP) -> None:
        if tp.topic == context.commands_topic:
            ownership.look_back(tp.partition)

    app.starting.append(start)
    app.stopping.append(stop)
    app.revoking.append(ownership.revoke)
    app.position_sources.append(positions)
    app.went_back = went_back
    app.leaves_first = True
    app.serves = lambda: ownership.ready
    app.partitions_served = lambda: sorted(ownership.assigned)
    app.ownership = ownership
    add_health(app)
    add_owners(app, ownership, decider.type)
    commands.register(app, {decider.type: context})
    cli_owners.register(app, settings, decider.type)
    return app


def _ownership(app: Application, context: Context, journal: Journal, broker: Broker) -> Ownership:
    settings, decider = context.settings, context.decider
    outbox = TypeOutbox(broker, context.commits_topic, context.commands_topic, context.dead_letters_topic)
    limits = Limits(
        commands=settings.group_commands,
        bytes=settings.group_bytes,
        linger=settings.group_linger,
        snapshot_every=settings.snapshot_every,
        queue_bytes=settings.queue_bytes,
        command_bytes=settings.command_bytes,
        command_events=settings.events_per_command,
        command_event_bytes=settings.event_bytes_per_command,
        attempts=settings.decide_attempts,
        quarantine=settings.quarantine == "on",
        waiting=settings.quarantine_limit,
        waiting_bytes=settings.quarantine_bytes,
    )

    def new_owner(partition: int, topic_id: str, count: int) -> Owner:
        stream = stream_name(decider.type, partition)
        cache = Cache(settings.cache_weight // count)
        handler = Handler(
            decider, context.events, context.commands, journal, stream, cache, settings.dedupe_window, limits
        )

        return Owner(
            stream,
            partition,
            topic_id,
            f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",  # the fence tells owners apart, not workers
            journal,
            handler,
            outbox,
            limits,
            PartitionLog(broker, context.commands_topic, partition),
            lambda owner: ownership.lost(owner),
            lambda key: partition_of(key, settings.partitions),
        )

    async def describe() -> Described | None:
        return (await broker.describe([context.commands_topic])).get(context.commands_topic)

    ownership = Ownership(new_owner, describe, lambda: app.consumer.rejoin())
    return ownership

"""Brings what a process manager hears into its own commands topic.

A consumer group of its own reads the events topics of the types that the process manager names. What an event means is
a command whose id is the event's, so what is read again after a crash or a rebalance has one effect. From there on a
process is owned, decided and committed like every aggregate.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from aggregates.process_manager import ForeignEvent, ProcessManager
from schemas.codec import Codec, Undecodable
from schemas.registry import SchemaError, Schemas
from schemas.wire_format import from_wire
from streams.concurrency.retry import until_it_answers
from streams.deciding.messages import command_headers
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import stream_name
from streams.kafka import topics
from streams.kafka.client import KafkaClient, Record, RecordTooLarge, partition_of
from streams.kafka.published_through import published_place
from streams.kafka.records import AIOKafkaConsumer
from streams.ownership.replies import AROUND_BYTES, fitting
from streams.settings import Settings

log = logging.getLogger(__name__)

RECORDS_AT_ONCE = 2_000
WAIT_MS = 1_000
FETCH_WAIT_MS = 100
"""How long the broker keeps a request that finds nothing; a partition may have to wait for the others as long."""
SESSION_MS = 6_000
"""A worker that was killed is missed after so long; brokers allow no less, unless told to."""
HOLD_SECONDS = 5.0
"""A partition whose next event cannot be read is tried again so often."""
COMMIT_SECONDS = 1.0

Routed = tuple[int, Record]


class EventMeaning:
    """What the events of one aggregate type mean to a process manager. Raises `SchemaError` when one has no schema.

    Names by which the events were called before are known, as far as the schemas here say. An event of another name is
    skipped unread: new ones that nobody here has heard of keep nobody waiting.
    """

    def __init__(self, manager: ProcessManager[Any, Any, Any], source: str, schemas: Schemas) -> None:
        self._manager = manager
        self._source = source
        self._heard = frozenset(manager.hears[source])
        for name in sorted(self._heard - {schema.name for schema in schemas}):
            raise SchemaError(
                f"{manager.type} hears {name} of {source}, and {schemas.folder} has no schema of it: copy all its "
                f"versions, {name}.v1.avsc and those that follow, from the context that writes it"
            )
        self._codec = Codec(schemas, {}, schemas.upcasters)
        former = {
            alias.rpartition(".")[2] for schema in schemas if schema.name in self._heard for alias in schema.aliases
        }
        self._foreign: dict[tuple[str, int], int] = {}
        """By partition, the last offset that was said to be none of ours."""
        self._read = self._heard | former | {upcaster.name for upcaster in schemas.upcasters}

    def hear(self, record: Any, partitions: int, source: str) -> list[Routed]:
        """The commands that an event means, each with its partition. Raises `NotReadableYet`.

        What is no event of this source's journal is passed over: whoever may write to the topic keeps nobody waiting.
        """
        headers = {name: value for name, value in record.headers if value is not None}
        if headers.get("ce_type", b"").decode(errors="replace") not in self._read:
            return []
        try:
            id, event_id, correlation_id, traceparent = self._identity(record, headers)
            parts = self._codec.decode_to_builtins(from_wire(record.value, headers))
        except Undecodable as error:
            raise NotReadableYet(f"{error}: deploy the version that knows it") from None
        except Exception as error:
            self._passed_over(record, error)
            return []
        try:
            heard = [
                it
                for schema, fields in parts
                if schema.name in self._heard
                for it in self._manager.hear(ForeignEvent(self._source, id, schema.name, fields))
            ]
            return [
                _route(it, number, event_id, correlation_id, traceparent, partitions, source)
                for number, it in enumerate(heard)
            ]
        except Exception as bug:
            log.exception("%s %r: what it means to %s", self._source, id, self._manager.type)
            raise NotReadableYet(f"{headers['ce_type'].decode()} of {id!r}: {bug!r}") from None

    def _identity(self, record: Any, headers: Mapping[str, bytes]) -> tuple[str, str, str, str]:
        """The id of the aggregate and of the event, what it belongs to, and its trace. Raises `ValueError`."""
        if not record.key or not record.value:
            raise ValueError("it has no key, or no value")
        event_id = headers.get("ce_id", b"").decode()
        stream = stream_name(self._source, record.partition)
        if published_place(headers, stream) is None:
            raise ValueError(f"its ce_id {event_id[:100]!r} is not its ce_position, or no position of {stream}")
        traceparent = headers.get("ce_traceparent", b"").decode()
        return record.key.decode(), event_id, headers.get("ce_correlationid", b"").decode(), traceparent

    def _passed_over(self, record: Any, error: Exception) -> None:
        place = record.topic, record.partition
        if self._foreign.get(place, -1) < record.offset:
            self._foreign[place] = record.offset
            log.error("%s-%d: offset %d is no event of ours, and is passed over: %s", *place, record.offset, error)


def _route(
    heard: Any, number: int, event_id: str, correlation_id: str, traceparent: str, partitions: int, source: str
) -> Routed:
    headers = command_headers(
        f"{event_id}#{number}" if number else event_id,
        type(heard.command).__name__,
        source,
        correlation_id=correlation_id,
        causation_id=event_id,
        traceparent=traceparent,
    )
    key = heard.process.encode()
    return partition_of(key, partitions), (key, msgspec.json.encode(heard.command), headers)


class InputPosition(msgspec.Struct, frozen=True):
    """How far a partition is brought on: `behind` counts the events that are not, `held` says why it stands still."""

    topic: str
    partition: int
    next_offset: int
    behind: int
    held: str | None = None


class Router:
    """All that one process manager hears, as far as Kafka has given it to this worker."""

    def __init__(
        self,
        manager: ProcessManager[Any, Any, Any],
        settings: Settings,
        group: str,
        source: str,
        shop: str | Path,
        broker: KafkaClient,
    ) -> None:
        self._settings = settings
        self._group = group
        self._source = source
        self._broker = broker
        self._commands_topic = topics.commands_topic(settings.namespace, manager.type)
        self._dead_letters_topic = topics.dead_letters_topic(settings.namespace, manager.type)
        self._listeners = {
            topics.events_topic(settings.namespace, source): EventMeaning(manager, source, Schemas.load(shop, source))
            for source in manager.hears
        }
        self._held: dict[TopicPartition, tuple[float, str]] = {}
        self._next: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def topics(self) -> list[topics.Topic]:
        """What it reads, which it makes where the other context was never started."""
        return [topics.Topic(name, self._settings.partitions, topics.FOREVER) for name in self._listeners]

    def inputs(self) -> list[InputPosition]:
        """How far each partition is that this worker reads."""
        consumer = self._consumer
        if consumer is None:
            return []
        mine = sorted(consumer.assignment() & self._next.keys())
        return [
            InputPosition(
                tp.topic,
                tp.partition,
                self._next[tp],
                max((consumer.highwater(tp) or 0) - self._next[tp], 0),
                self._held[tp][1] if tp in self._held else None,
            )
            for tp in mine
        ]

    async def run(self) -> None:
        """Bring on, for ever. May be called again after it has raised."""
        consumer = AIOKafkaConsumer(
            *self._listeners,
            bootstrap_servers=self._settings.bootstrap_servers,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 10,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            isolation_level="read_committed",
        )
        try:
            await until_it_answers(consumer.start, f"Kafka: joining {self._group}", (KafkaError, TimeoutError))
            self._consumer = consumer
            await self._follow(consumer)
        finally:
            self._consumer = None
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        done: dict[TopicPartition, int] = {}
        committed = time.monotonic()
        while True:
            self._resume(consumer)
            found = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE)
            if found:
                done |= await self._bring_on(consumer, found)
            if done and (not found or time.monotonic() - committed > COMMIT_SECONDS):
                await self._commit(consumer, done)
                done, committed = {}, time.monotonic()

    async def _bring_on(
        self, consumer: AIOKafkaConsumer, found: Mapping[TopicPartition, Sequence[Any]]
    ) -> dict[TopicPartition, int]:
        """Send what these events mean; the offsets up to which that is done."""
        records: dict[int, list[Record]] = defaultdict(list)
        done: dict[TopicPartition, int] = {}
        for tp, events in found.items():
            listener = self._listeners[tp.topic]
            for event in events:
                try:
                    routed = listener.hear(event, self._settings.partitions, self._source)
                except NotReadableYet as held:
                    self._hold(consumer, tp, event.offset, str(held))
                    break
                for partition, record in routed:
                    records[partition].append(record)
                done[tp] = event.offset + 1
                if self._held:
                    self._held.pop(tp, None)
        await asyncio.gather(*(self._publish(partition, its) for partition, its in records.items()))
        self._next |= done
        return done

    async def _publish(self, partition: int, records: list[Record]) -> None:
        """Send commands of one partition in order; durable on return. One that its topic does not take, since it is
        larger as JSON than the event was, becomes a dead letter: what is behind it need not wait for it."""
        while records:
            try:
                await self._broker.publish(self._commands_topic, partition, records, refuse=True)
                return
            except RecordTooLarge as error:
                large, records = records[error.sent], records[error.sent + 1 :]
                await self._give_up(partition, large, error)

    async def _give_up(self, partition: int, record: Record, error: RecordTooLarge) -> None:
        key, value, headers = record
        ids = {name: text.decode() for name, text in headers if name in ("ce_id", "ce_type", "ce_causationid")}
        log.error(
            "%s: %s for %r, which event %s means, goes to %s: %s",
            self._group,
            ids["ce_type"],
            key,
            ids["ce_causationid"],
            self._dead_letters_topic,
            error,
        )
        reason = [
            ("dl_type", b"TooLarge"),
            ("dl_message", str(error).encode()),
            ("dl_time", str(int(time.time() * 1000)).encode()),
            ("dl_id", ids["ce_id"].encode()),
        ]
        most = await self._broker.largest(self._dead_letters_topic) - AROUND_BYTES
        letter = fitting(key, value, headers, reason, most)
        await self._broker.publish(self._dead_letters_topic, partition, [letter])

    def _hold(self, consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int, why: str) -> None:
        if tp not in self._held or self._held[tp][1] != why:
            log.error("%s: %s-%d stands still at offset %d: %s", self._group, tp.topic, tp.partition, offset, why)
        self._held[tp] = time.monotonic() + HOLD_SECONDS, why
        self._next[tp] = offset
        consumer.seek(tp, offset)
        consumer.pause(tp)

    def _resume(self, consumer: AIOKafkaConsumer) -> None:
        """Try again what stands still."""
        for tp, (until, _) in list(self._held.items()):
            if tp not in consumer.assignment():
                del self._held[tp]
            elif time.monotonic() > until and tp in consumer.paused():
                consumer.resume(tp)

    async def _commit(self, consumer: AIOKafkaConsumer, done: dict[TopicPartition, int]) -> None:
        """Say how far this is; after a rebalance that others have to say, and some of it comes again."""
        mine = {tp: offset for tp, offset in done.items() if tp in consumer.assignment()}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, TimeoutError) as error:
            log.info("%s: not committed: %r", self._group, error)

"""Routes the events that a process manager hears into its own commands topic.

A consumer group of its own reads the events topics of the types that the process manager names. The command that an
event means has the event's id, so an event that is read again after a crash or a rebalance has one effect. From there
on a process is owned, decided and committed like every aggregate.
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

from aggregates.process_manager import ProcessManager
from aggregates.subject import subject
from schemas.registry import Schemas
from schemas.sealing import KeysNeeded, mark_texts
from streams.concurrency.retry import until_it_answers
from streams.journal.event_decoding import NotReadableYet
from streams.kafka import topics
from streams.kafka.client import KafkaClient, ProducerRecord, RecordTooLarge
from streams.kafka.client_factory import ClientFactory
from streams.kafka.records import AIOKafkaConsumer
from streams.keys.keys import Keys, waiting_for
from streams.observability.event_traces import SendTraces, SentBatch
from streams.ownership.replies import AROUND_BYTES, fitting
from streams.principals.signature import SigningKeys
from streams.processes.event_meaning import EventMeaning, Routed
from streams.settings import Settings

log = logging.getLogger(__name__)

ENGINE = "engine"
"""The schema root of the engine's own aggregates."""
RECORDS_AT_ONCE = 2_000
WAIT_MS = 1_000
FETCH_WAIT_MS = 100
"""The time for which the broker keeps a request that finds nothing: one partition may wait for the others as long."""
SESSION_MS = 6_000
"""The time after which the group misses a worker that was killed; no broker allows less by default."""
RETRY_SECONDS = 5.0
"""The time between two attempts at a partition whose next event cannot be read."""
COMMIT_SECONDS = 1.0


class InputPosition(msgspec.Struct, frozen=True):
    """How far a partition is routed: `behind` counts the events that are not routed yet, `held` is the reason for which
    it stands still."""

    topic: str
    partition: int
    next_offset: int
    behind: int
    held: str | None = None


class Router:
    """Reads all events that one process manager hears, of the partitions that Kafka has given to this worker."""

    def __init__(
        self,
        manager: ProcessManager[Any, Any, Any],
        settings: Settings,
        *,
        group: str,
        source: str,
        schema_root: str | Path,
        broker: KafkaClient,
        keys: SigningKeys | None = None,
        traces: SendTraces | None = None,
    ) -> None:
        self._traces = traces
        self._settings = settings
        self.group = group
        self._source = source
        self._broker = broker
        self._commands_topic = topics.commands_topic(settings.namespace, manager.type)
        self._dead_letters_topic = topics.dead_letters_topic(settings.namespace, manager.type)
        # The engine says itself what its subjects are: no context has a copy.
        roots = {source: ENGINE if source == subject.type else schema_root for source in manager.hears}
        heard = {source: Schemas.load(root, source) for source, root in roots.items()}
        is_personal = any(mark_texts(schema) for schemas in heard.values() for schema in schemas)
        self.keys = Keys.of(settings) if is_personal else None
        """Those of persons, where something that it hears is personal."""
        self._meanings = {
            topics.events_topic(settings.namespace, source): EventMeaning(manager, source, schemas, keys, self.keys)
            for source, schemas in heard.items()
        }
        self._held: dict[TopicPartition, tuple[float, str]] = {}
        """When a partition that stands still is tried again, and its reason."""
        self._next: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def topics(self) -> list[topics.Topic]:
        """The events topics that it reads; it makes them where the other context was never started."""
        partitions, needs = self._settings.partitions, topics.READS["events"]
        return [topics.Topic(name, partitions, topics.FOREVER, needs=needs) for name in self._meanings]

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
        """Route events for ever. May be called again after it has raised."""
        consumer = ClientFactory.of(self._settings).consumer(
            *self._meanings,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 10,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            isolation_level="read_committed",
        )
        try:
            await until_it_answers(consumer.start, f"Kafka: joining {self.group}", (KafkaError, TimeoutError))
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
            batches = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE)
            if batches:
                done |= await self._route(consumer, batches)
            if done and (not batches or time.monotonic() - committed > COMMIT_SECONDS):
                await self._commit(consumer, done)
                done, committed = {}, time.monotonic()

    async def _route(
        self, consumer: AIOKafkaConsumer, batches: Mapping[TopicPartition, Sequence[Any]]
    ) -> dict[TopicPartition, int]:
        """Send the commands that these events mean. Returns the offset behind the last event routed, by partition."""
        records: dict[int, list[ProducerRecord]] = defaultdict(list)
        done: dict[TopicPartition, int] = {}
        traced = self._traces.batch(self._commands_topic) if self._traces is not None else None
        for tp, events in batches.items():
            meaning = self._meanings[tp.topic]
            for event in events:
                try:
                    commands = await self._heard(meaning, event, traced)
                except NotReadableYet as error:
                    self._hold(consumer, tp, event.offset, str(error))
                    break
                for partition, record in commands:
                    records[partition].append(record)
                done[tp] = event.offset + 1
                if self._held:
                    self._held.pop(tp, None)
        await asyncio.gather(*(self._publish(partition, commands) for partition, commands in records.items()))
        if traced is not None:
            traced.sent()
        self._next |= done
        return done

    async def _heard(self, meaning: EventMeaning, event: Any, traced: SentBatch | None) -> list[Routed]:
        while True:
            try:
                return meaning.hear(event, self._settings.partitions, self._source, traced)
            except KeysNeeded as needed:
                assert self.keys is not None, "it is who needs them"
                await waiting_for(self.keys, needed)

    async def close(self) -> None:
        """Let go of the keys of persons."""
        if self.keys is not None:
            await self.keys.close()

    async def _publish(self, partition: int, records: list[ProducerRecord]) -> None:
        """Send commands of one partition in order; durable on return. One that is too large for its topic, since it is
        larger as JSON than the event was, becomes a dead letter, so that those behind it go on."""
        while records:
            try:
                await self._broker.publish(self._commands_topic, partition, records, refuse=True)
                return
            except RecordTooLarge as error:
                too_large, records = records[error.sent], records[error.sent + 1 :]
                await self._dead_letter(partition, too_large, error)

    async def _dead_letter(self, partition: int, record: ProducerRecord, error: RecordTooLarge) -> None:
        key, value, headers = record
        ids = {name: text.decode() for name, text in headers if name in ("ce_id", "ce_type", "ce_causationid")}
        log.error(
            "%s: %s for %r, which event %s means, goes to %s: %s",
            self.group,
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
        largest = await self._broker.largest(self._dead_letters_topic)
        letter = fitting(key, value, headers, reason, largest - AROUND_BYTES)
        await self._broker.publish(self._dead_letters_topic, partition, [letter])

    def _hold(self, consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int, reason: str) -> None:
        if tp not in self._held or self._held[tp][1] != reason:
            log.error("%s: %s-%d stands still at offset %d: %s", self.group, tp.topic, tp.partition, offset, reason)
        self._held[tp] = time.monotonic() + RETRY_SECONDS, reason
        self._next[tp] = offset
        consumer.seek(tp, offset)
        consumer.pause(tp)

    def _resume(self, consumer: AIOKafkaConsumer) -> None:
        """Try again the partitions that stand still."""
        for tp, (until, _) in list(self._held.items()):
            if tp not in consumer.assignment():
                del self._held[tp]
            elif time.monotonic() > until and tp in consumer.paused():
                consumer.resume(tp)

    async def _commit(self, consumer: AIOKafkaConsumer, done: dict[TopicPartition, int]) -> None:
        """Commit the offsets of partitions that are still assigned; events of the others are read again elsewhere."""
        mine = {tp: offset for tp, offset in done.items() if tp in consumer.assignment()}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, TimeoutError) as error:
            log.info("%s: not committed: %r", self.group, error)

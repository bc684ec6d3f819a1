"""Sends the commands that the events of a process manager cause.

Commands are dispatched as rows by aggregate are derived: behind the replies, in the order of the log. The next owner
sends again those that a former owner may not have sent. A command's id is made of its event's id, so it has one effect
however often it is sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from aggregates.process_manager import Send
from schemas.codec import Codec
from streams.deciding.messages import RETRY_TOPIC, UNKNOWN_TYPE, Failure, command_headers
from streams.journal.event_decoding import NotReadableYet, decode_event, place_of
from streams.journal.port import Commit, RecordedEvent, StoredSchemas, Unavailable, log_type
from streams.journal.position import position_text, stream_name
from streams.kafka import topics
from streams.kafka.client import KafkaClient, ProducerRecord
from streams.limits import RECORD_BYTES
from streams.observability import catalog
from streams.observability.catalog import OTHER
from streams.observability.event_traces import Sending, SendTraces, SentBatch
from streams.observability.instruments import Counter
from streams.observability.traces import HOP_BYTES
from streams.processes.process_signature import SIGNATURE_BYTES, ProcessSignature, cause_of
from streams.slices import partition_of, slice_of

log = logging.getLogger(__name__)

Sends = Callable[[str, Any], list[Send]]


class CommandDispatcher:
    """Dispatches for all logs of one process manager, whose type has `slices`.

    A command to an aggregate type that has no topic goes to `dead_letters_topic`, with the reason.
    """

    def __init__(
        self,
        *,
        sends: Sends,
        codec: Codec,
        journal: StoredSchemas,
        broker: KafkaClient,
        namespace: str,
        source: str,
        slices: int,
        dead_letters_topic: str,
        signature: ProcessSignature,
        sent: Counter | None = None,
        traces: SendTraces | None = None,
    ) -> None:
        self._sends = sends
        self._codec = codec
        self._journal = journal
        self._broker = broker
        self._namespace = namespace
        self._source = source
        self._slices = slices
        self._dead_letters_topic = dead_letters_topic
        self._signature = signature
        self._partitions: dict[str, int] = {dead_letters_topic: 0}
        self._sent = sent or Counter(catalog.COMMANDS_SENT)
        self._traces = traces

    def check(self, row: RecordedEvent, event: Any) -> None:
        """Build the commands that an event would cause, on trial, while the event can still be refused.

        Raises `Failure` where one is too large for any topic, and the errors of building them.
        """
        for send in self._sends(row.aggregate_id, event):
            key, value, headers = command_record(send, "", self._source, "", row)
            size = (
                SIGNATURE_BYTES
                + HOP_BYTES
                + len(key or b"")
                + len(value or b"")
                + sum(len(name) + len(text) for name, text in headers)
            )
            if size > RECORD_BYTES:
                raise Failure(
                    "TooLarge",
                    f"{row.type} causes {send.command} to {send.to}, which has {size} bytes as JSON with key and"
                    f" headers, more than {RECORD_BYTES}",
                )

    async def dispatch(self, commits: Sequence[Commit]) -> None:
        """Send the commands that these commits cause; durable on return. Raises `Unavailable`."""
        caused: dict[str, list[ProducerRecord]] = defaultdict(list)
        traced = self._traces.batch() if self._traces is not None else None
        for commit in commits:
            for index, event in enumerate(commit.events):
                if event.is_event:
                    stream = stream_name(log_type(commit.log), slice_of(event.aggregate_id, self._slices))
                    for to, record in await self._caused(
                        position_text(stream, commit.nr, index), event, commit, traced
                    ):
                        caused[to].append(record)
        records = {topics.commands_topic(self._namespace, to): commands for to, commands in caused.items()}
        await self._count_partitions(records.keys() - self._partitions.keys())
        batches: dict[tuple[str, int], list[ProducerRecord]] = defaultdict(list)
        for topic, commands in records.items():
            for command in commands:
                place, record = self._place(topic, command)
                batches[place].append(record)
        await asyncio.gather(*(self._broker.publish(*place, batch) for place, batch in batches.items()))
        if traced is not None:
            traced.sent()
        for to, commands in caused.items():
            is_known = topics.commands_topic(self._namespace, to) in self._partitions
            self._sent.add(len(commands), log_type(commits[0].log), to if is_known else OTHER)

    async def _caused(
        self, event_id: str, event: RecordedEvent, commit: Commit, traced: SentBatch | None
    ) -> list[tuple[str, ProducerRecord]]:
        try:
            decoded = await decode_event(self._codec, self._journal, event.data, place_of(event))
        except NotReadableYet as error:
            raise Unavailable(str(error)) from None
        try:
            sends = [send for part in decoded for send in self._sends(event.aggregate_id, part)]
            return [
                (
                    send.to,
                    self._signed(send, f"{event_id}#{number}", event_id, event, self._hop(send, event, commit, traced)),
                )
                for number, send in enumerate(sends)
            ]
        except Exception as bug:  # `check` had found none: other code wrote the event
            raise Unavailable(f"{event_id}, what {event.type} causes: {bug!r}: deploy a version that can say") from bug

    def _hop(self, send: Send, event: RecordedEvent, commit: Commit, traced: SentBatch | None) -> Sending | None:
        """The span of the sending; None for one of a trace that nobody keeps."""
        if traced is None:
            return None
        topic = topics.commands_topic(self._namespace, send.to)
        return traced.of_event(event, log_type(commit.log), commit.recorded_at, send.command, topic)

    def _signed(
        self, send: Send, id: str, event_id: str, event: RecordedEvent, sending: Sending | None
    ) -> ProducerRecord:
        key, value, headers = command_record(send, id, self._source, event_id, event, sending)
        cause = cause_of(event.principal)
        signature = self._signature.headers(send.to, send.id, send.command_id or id, send.command, value or b"", cause)
        return key, value, headers + signature

    async def _count_partitions(self, unknown: Iterable[str]) -> None:
        """Learn the number of partitions of topics. A topic that does not exist is looked for again the next time.

        Raises `Unavailable` for a topic of which Kafka cannot say yet what it is: commands to it are no dead letters.
        """
        if not unknown:
            return
        try:
            existing = await self._broker.existing(unknown)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: {error!r}") from None
        for name, topic in existing.items():
            if topic is None:
                raise Unavailable(f"Kafka: {name} is there, and not ready yet")
            self._partitions[name] = topic.partitions

    def _place(self, topic: str, record: ProducerRecord) -> tuple[tuple[str, int], ProducerRecord]:
        """Topic and partition of a command, and its record: a dead letter where its topic does not exist."""
        key, value, headers = record
        count = self._partitions.get(topic)
        if count:
            return (topic, partition_of(key or b"", count)), record
        log.error("there is no topic %s: a command for %r goes to %s", topic, key, self._dead_letters_topic)
        reason = [
            ("dl_type", UNKNOWN_TYPE),
            ("dl_message", f"there is no topic {topic}".encode()),
            ("dl_time", str(int(time.time() * 1000)).encode()),
            (RETRY_TOPIC, topic.encode()),
        ]
        return (self._dead_letters_topic, 0), (key, value, [*headers, *reason])


def command_record(
    send: Send, id: str, source: str, causation_id: str, cause: RecordedEvent, sending: Sending | None = None
) -> ProducerRecord:
    """A command as a record of its topic, in the trace of the event that causes it, unless the span of its `sending`
    says another. Raises `TypeError` for data that JSON cannot hold."""
    headers = command_headers(
        send.command_id or id,
        send.command,
        source,
        correlation_id=cause.correlation_id,
        causation_id=causation_id,
        traceparent=cause.traceparent if sending is None else sending.traceparent,
    )
    if sending is not None:
        headers += sending.headers
    return send.id.encode(), msgspec.json.encode(send.data), headers

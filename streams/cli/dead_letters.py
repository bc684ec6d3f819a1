"""The dead letters of an aggregate type: the commands that could not be processed.

The topic of dead letters is a log. A marker drops a dead letter: a later record of its partition without a value, whose
header `dl_dropped` is the offset of the dead letter.

A dead letter has the headers of its command, and any sender may have set `dl_` headers himself. The engine's own
headers are those from the last `dl_type` on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka import TopicPartition

from streams.cli.journal import errors_as_one_line
from streams.cli.kafka import (
    Headers,
    bounds,
    kafka,
    partitions_by_topic,
    produce,
    require_topic,
    send,
    types_on_kafka,
)
from streams.cli.run import ERROR, FAILED, USAGE, CliError
from streams.deciding.messages import DROPPED, RETRY_OF, RETRY_TOPIC, UNKNOWN_TYPE, drop_marker
from streams.deciding.orders import RELEASE
from streams.deciding.personal_commands import SEALED_FOR, CannotOpen, is_sealed, open_kept
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory, connected
from streams.kafka.records import AIOKafkaConsumer, UnreadableRecord
from streams.keys.keys import Keys
from streams.principals.signature import PROOF
from streams.settings import Settings

READ_SECONDS = 120.0
_REASON = ("dl_type", "dl_message", "dl_time", "dl_position")
_OURS = {*_REASON, RETRY_TOPIC, "dl_id", "dl_trace", "dl_quarantine", "dl_cut", SEALED_FOR, DROPPED, RETRY_OF}
_OFFSET = re.compile(rb"[0-9]{1,18}")
_POSITION = re.compile(r"([0-9]{1,9}):([0-9]{1,18})")

Ranges = Mapping[TopicPartition, tuple[int, int]]
"""By partition the first offset, and the one behind the last."""


class DeadLetterTopic:
    """The dead letters of one aggregate type. All methods raise `CliError`."""

    def __init__(self, settings: Settings, type: str, known: Collection[str] = ()) -> None:
        self.type = type
        self._settings = settings
        self._known = known
        self._topic = topics.dead_letters_topic(settings.namespace, type)
        self._commands = topics.commands_topic(settings.namespace, type)

    async def newest(
        self, limit: int, reach: int | None = None, kept: Callable[[Any], Any] = lambda record: record
    ) -> tuple[list[Any], bool]:
        """Up to `limit` dead letters, newest first, and whether there are more. Of a partition the newest `reach`
        records are looked through, all without it; what is `kept` of each is in memory until all are read."""
        async with self._opened() as (consumer, ends):
            window = limit
            while True:
                window = window if reach is None else min(window, reach)
                wanted = {tp: (max(first, end - window), end) for tp, (first, end) in ends.items()}
                records = await _letters(consumer, wanted, kept)
                if len(records) >= limit or wanted == ends or window == reach:
                    break
                window *= 4  # many of them were dropped
        records.sort(key=lambda record: (record.timestamp, record.offset), reverse=True)
        return records[:limit], len(records) > limit or wanted != ends

    async def quarantining(self) -> list[Any]:
        """All dead letters whose command put its aggregate into quarantine, in the order of each partition."""
        async with self._opened() as (consumer, ends):
            return [record for record in await _letters(consumer, ends) if "dl_quarantine" in control_headers(record)]

    async def get(self, position: tuple[int, int]) -> Any:
        """The dead letter at (partition, offset)."""
        partition, offset = position
        tp, name = TopicPartition(self._topic, partition), f"no dead letter {partition}:{offset}"
        async with self._opened() as (consumer, ends):
            if tp not in ends:
                raise CliError(ERROR, f"{name}: the partitions are 0 to {len(ends) - 1}")
            first, end = ends[tp]
            if not first <= offset < end:
                holds = f"holds {first} to {end - 1}" if first < end else "is empty"
                raise CliError(ERROR, f"{name}: partition {partition} {holds}")
            records = await _letters(consumer, {tp: (offset, end)})  # to the end: a marker may follow
        if not records or records[0].offset != offset:
            raise CliError(ERROR, f"{name}, or it was dropped")
        return records[0]

    async def some(self, positions: Collection[tuple[int, int]]) -> list[Any]:
        """The dead letters at these (partition, offset) that are there, in the order of each partition. All behind the
        first of them in its partition are read, and none of those is kept in memory."""
        starts: dict[int, int] = {}
        for partition, offset in positions:
            starts[partition] = min(offset, starts.get(partition, offset))

        def kept(record: Any) -> Any:
            if record.value is not None and (record.partition, record.offset) not in positions:
                record.value, record.headers = b"", []  # those between may be many megabytes
            return record

        async with self._opened() as (consumer, ends):
            wanted = {
                tp: (max(first, starts[tp.partition]), end)
                for tp, (first, end) in ends.items()
                if tp.partition in starts
            }
            records = await _letters(consumer, wanted, kept)
        return [record for record in records if (record.partition, record.offset) in positions]

    async def retry(self, position: tuple[int, int]) -> str:
        """Send the command again as it first came; its new place on Kafka."""
        record = await self.get(position)
        if "dl_cut" in control_headers(record):
            raise CliError(
                ERROR, "this command was too large for a dead letter and was cut: its sender must send it again"
            )
        value = await self._opened_value(record)
        async with kafka(self._settings):
            headers = retry_headers(record)
            topic = retry_topic(record, self._settings.namespace, self._commands)
            if topic not in await partitions_by_topic(self._settings, topic):
                raise CliError(
                    ERROR, f"there is no topic {topic}: start the workers that read it first, or drop this one"
                )
            sent = await produce(self._settings, topic, value, record.key, headers)
        return f"{sent.topic}-{sent.partition}, offset {sent.offset}"

    async def _opened_value(self, record: Any) -> bytes | None:
        """What the command said, with the keys of the persons of whom it speaks."""
        headers = [*control_headers(record).items()]
        if not is_sealed(headers):
            return bytes(record.value) if record.value is not None else None
        async with errors_as_one_line(self._settings):
            keys = Keys.of(self._settings)
            try:
                return await open_kept(keys, self.type, record.key, record.value, headers)
            except CannotOpen as why:
                raise CliError(ERROR, f"it cannot be sent again: {why}; drop it") from None
            finally:
                await keys.close()

    async def drop(self, position: tuple[int, int], wait: float) -> str:
        """Drop the dead letter: it is not listed any more, and its aggregate leaves the quarantine that it caused."""
        record = await self.get(position)
        released = ""
        if "dl_quarantine" in control_headers(record):
            id, poison = text(record.key or b""), letter_command_id(record)
            data = msgspec.json.encode({"command_id": poison})
            reply, _ = await send(self._settings, self.type, id, RELEASE, data, wait=wait, known=self._known)
            if reply.status == "failed":
                raise CliError(FAILED, f"not dropped: {reply.error.message if reply.error else 'the release failed'}")
            if reply.status == "accepted":
                released = f"; {self.type} {id} has left quarantine"
        marker = drop_marker(record.offset, time.time())
        async with kafka(self._settings):
            await produce(self._settings, self._topic, None, record.key, marker, record.partition)
        return f"{record.partition}:{record.offset}{released}"

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[AIOKafkaConsumer, Ranges]]:
        """A consumer, and the first offset of each partition with the one behind its last."""
        settings = self._settings
        async with kafka(settings):
            present = await partitions_by_topic(settings, self._topic)
            require_topic(self._topic, self.type, settings, present, self._known)
            new = ClientFactory.of(settings).consumer(auto_offset_reset="earliest")
            async with connected(new) as consumer:
                partitions = [TopicPartition(self._topic, number) for number in range(present[self._topic])]
                yield consumer, await bounds(consumer, partitions)


async def _letters(
    consumer: AIOKafkaConsumer, ranges: Ranges, kept: Callable[[Any], Any] = lambda record: record
) -> list[Any]:
    """The dead letters with start <= offset < end, by partition, without those that a marker among them drops; of each
    what is to be `kept`."""
    records: list[Any] = []
    ranges = {tp: (start, end) for tp, (start, end) in ranges.items() if start < end}
    if ranges:
        consumer.assign(list(ranges))
    for tp, (start, _) in ranges.items():
        consumer.seek(tp, start)
    async with asyncio.timeout(READ_SECONDS):
        while missing := [tp for tp, (_, end) in ranges.items() if await consumer.position(tp) < end]:
            for tp, batch in (await consumer.getmany(*missing, timeout_ms=500)).items():
                start, end = ranges[tp]
                records += [kept(record) for record in batch if start <= record.offset < end]
    return not_dropped(records)


def not_dropped(records: Iterable[Any]) -> list[Any]:
    """The dead letters among these records, without those that a marker among them drops."""
    letters, dropped = [], set()
    for record in records:
        marked = _OFFSET.fullmatch(control_headers(record).get(DROPPED) or b"")
        if marked is None or record.value is not None:
            letters.append(record)
        else:
            dropped.add((record.partition, int(marked[0])))
    return [record for record in letters if (record.partition, record.offset) not in dropped]


def parse_position(text: str | None, action: str) -> tuple[int, int]:
    """`3:17` is partition 3, offset 17. Raises `CliError`."""
    match = _POSITION.fullmatch(text or "")
    if match is None:
        given = f"{text!r} is none" if text else "it is missing"
        raise CliError(USAGE, f"{action} takes PARTITION:OFFSET as `dead-letters list` prints it, like 3:17; {given}")
    return int(match[1]), int(match[2])


def control_headers(record: Any) -> dict[str, bytes | None]:
    """The control headers of a record that the engine wrote."""
    headers = list(record.headers)
    last = max((index for index, (name, _) in enumerate(headers) if name == "dl_type"), default=0)
    return {name: value for name, value in headers[last:] if name.startswith("dl_")}


def retry_topic(record: Any, namespace: str, commands: str) -> str:
    """The topic for a retry: the command topic that a process manager found missing, or the type's own."""
    headers = control_headers(record)
    topic = text(headers.get(RETRY_TOPIC)) if headers.get("dl_type") == UNKNOWN_TYPE else ""
    return topic if types_on_kafka(namespace, [topic]) else commands


def original_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """The headers of the command itself, without those that the engine added."""
    return [(name, value) for name, value in headers if name not in _OURS]


def retry_headers(record: Any) -> Headers:
    """The headers for a retry: those of the command, its id if it had none, and a mark for its quarantine."""
    headers = original_headers(record.headers)
    id = control_headers(record).get("dl_id")
    if id and "ce_id" not in dict(headers):
        headers.append(("ce_id", id))
    if "dl_quarantine" in control_headers(record):
        headers.append((RETRY_OF, f"{record.partition}:{record.offset}".encode()))
    return headers


def letter_command_id(record: Any) -> str:
    """The id under which the command was decided."""
    return text(control_headers(record).get("dl_id"))


def letter_reason(record: Any) -> dict[str, str]:
    """The type, message and time of the failure, and the command's place: `<topic>:<partition>:<offset>`."""
    headers = control_headers(record)
    reason = {name.removeprefix("dl_"): text(headers.get(name)) for name in _REASON}
    if isinstance(record, UnreadableRecord):
        reason |= {"type": "Unreadable", "message": record.reason}
    if _OFFSET.fullmatch(reason["time"].encode()) and len(reason["time"]) <= 14:
        reason["time"] = datetime.fromtimestamp(int(reason["time"]) / 1000, UTC).isoformat(timespec="seconds")
    return reason


def summary(record: Any) -> tuple[str, str, str, str, str, str]:
    """The row of `list`: position, time, aggregate id, command type, type of the failure, message."""
    reason, value = letter_reason(record), shown_value(record.value)
    written = value.get("type") if isinstance(value, dict) else ""
    type = text(dict(record.headers).get("ce_type")) or (written if isinstance(written, str) else "")
    position, failure = f"{record.partition}:{record.offset}", reason["type"]
    if "dl_quarantine" in control_headers(record):
        failure += ", quarantine"
    return position, reason["time"], text(record.key), type, failure, reason["message"]


def letter_details(record: Any) -> dict[str, Any]:
    """The output of `show`: everything but the signature, which is not for whoever looks. Bytes that are no text are in
    base64."""
    headers = control_headers(record)
    failure: dict[str, Any] = letter_reason(record)
    if "dl_quarantine" in headers:
        failure["quarantine"] = True
    if "dl_trace" in headers:
        failure["trace"] = text(headers["dl_trace"]).splitlines()
    return {
        "position": f"{record.partition}:{record.offset}",
        "failure": failure,
        "key": None if record.key is None else text(record.key),
        "headers": {name: text(value) for name, value in original_headers(record.headers) if name != PROOF},
        "value": {"sealed": True} if is_sealed(headers.items()) else shown_value(record.value),
    }


def text(data: bytes | None) -> str:
    """Bytes for people to read: what is no UTF-8 is escaped."""
    return (data or b"").decode(errors="backslashreplace")


def shown_value(data: bytes | None) -> Any:
    """The value of a message as JSON, text or base64, whichever it is first."""
    if data is None:
        return None
    try:
        value = msgspec.json.decode(data)
        json.dumps({"within": [[[[value]]]]}, indent=2)  # nested less than what it is going to be shown in
        return value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}

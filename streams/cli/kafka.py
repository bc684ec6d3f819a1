"""The command line's way to Kafka: connections that give up soon, and a command sent with its reply awaited."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import click
import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoBrokersAvailable,
    NodeNotReadyError,
)

from streams.cli.run import DONE, ERROR, FAILED, NO_REPLY, REJECTED, USAGE, CliError
from streams.deciding.messages import MAX_ID_LENGTH, Reply, command_headers, decode_reply
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory, connected
from streams.kafka.records import AIOKafkaConsumer
from streams.kafka.topic_metadata import existing
from streams.membership.group import KafkaGroup, Member
from streams.security.refusals import BrokerRefuses, TopicForbidden
from streams.settings import Settings
from streams.text import one_line

SOURCE = "/command-line"
REQUEST_SECONDS = 8.0

_NO_ANSWER = (TimeoutError, KafkaConnectionError, KafkaTimeoutError, NoBrokersAvailable, NodeNotReadyError)

Headers = list[tuple[str, bytes]]

_TYPE = re.compile(r"[A-Za-z0-9-]+")


@asynccontextmanager
async def kafka(settings: Settings) -> AsyncIterator[None]:
    """Turns the errors of Kafka in this block into `CliError`, one line with the brokers and the setting."""
    try:
        yield
    except topics.TopicError as error:
        raise CliError(USAGE, str(error)) from None
    except (BrokerRefuses, TopicForbidden) as error:
        raise CliError(USAGE, str(error)) from None
    except (KafkaError, OSError) as error:
        raise CliError(ERROR, trouble(settings, error)) from None


def trouble(settings: Settings, error: KafkaError | OSError) -> str:
    """One line for what went wrong with Kafka. Whether it is up is a question only where it has not answered."""
    where = f"Kafka at {', '.join(settings.bootstrap_servers)}"
    if isinstance(error, _NO_ANSWER):
        return f"{where}: no answer; is it up (make up), is KAFKA_BROKERS right?"
    if isinstance(error, GroupAuthorizationFailedError):
        return f"{where}: this process may not look at the consumer group: grant Describe on it to its user"
    if isinstance(error, OSError):
        return f"{where}: {one_line(error)}; is it up (make up), is KAFKA_BROKERS right?"
    return f"{where}: {type(error).__name__}: {one_line(error).removeprefix(f'{type(error).__name__}: ')}"


async def partitions_by_topic(settings: Settings, *needed: str) -> dict[str, int]:
    """All topics that this process may look at, and their numbers of partitions; asks in a way that creates none.

    Raises `TopicForbidden` where it may not look at one of those `needed`.
    """
    async with connected(ClientFactory.of(settings).admin()) as admin:
        async with asyncio.timeout(REQUEST_SECONDS):
            present = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
            await existing(admin._client, [topic for topic in needed if topic not in present])
            return present


async def members(settings: Settings, group: str) -> Sequence[Member]:
    """The members of a consumer group as they are now. Raises `CliError`."""
    async with kafka(settings), asyncio.timeout(REQUEST_SECONDS):
        return await KafkaGroup(ClientFactory.of(settings), group).members_now()


def require_topic(topic: str, type: str, settings: Settings, present: Collection[str], known: Collection[str]) -> None:
    """Raise `CliError` when Kafka has no `topic` of this aggregate type; `known` are the types of this app."""
    if topic in present:
        return
    if type in known:
        raise CliError(ERROR, f"Kafka has no topic {topic}: start a worker of {type}, or run `faust -A <app> setup`")
    types = ", ".join(types_on_kafka(settings.namespace, present)) or "none yet"
    within = f" in the namespace {settings.namespace}" if settings.namespace else ""
    raise CliError(USAGE, f"no aggregate type {type}: Kafka has no topic {topic}; types on Kafka{within}: {types}")


def types_on_kafka(namespace: str, present: Collection[str]) -> list[str]:
    """The aggregate types that have a command topic in this namespace."""
    ending = topics.commands_topic("", "")
    names = (t[len(namespace) : -len(ending)] for t in present if t.startswith(namespace) and t.endswith(ending))
    return sorted(name for name in names if _TYPE.fullmatch(name))


def read_data(text: str) -> bytes:
    """The data of a command as typed by a person. Raises `CliError` when it is not a JSON object."""
    try:
        data = text.encode()
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        hint = ". Quote it for the shell, as in '{\"quantity\": 6}'"
        raise CliError(USAGE, f"the data is not JSON: {one_line(error)}{hint}") from None
    if not isinstance(value, dict):
        raise CliError(USAGE, f'the data is not a JSON object like {{"quantity": 6}}: {text}')
    return data


def check_id(what: str, id: str) -> None:
    """Raise `CliError` for an id that no worker would take."""
    if not id or len(id) > MAX_ID_LENGTH:
        raise CliError(USAGE, f"the {what} has {len(id)} characters: use 1 to {MAX_ID_LENGTH}")
    try:
        id.encode()
    except UnicodeEncodeError:
        raise CliError(USAGE, f"the {what} is not UTF-8") from None


def print_reply(reply: Reply, raw: bytes) -> int:
    """Print a reply as it was sent; the exit code: 0 accepted, 3 rejected, 4 failed."""
    click.echo(msgspec.json.format(raw, indent=2).decode())
    return {"accepted": DONE, "rejected": REJECTED, "failed": FAILED}[reply.status]


def outcome(reply: Reply, raw: bytes) -> tuple[int, str]:
    """Print a reply; the exit code, and the outcome in a line."""
    return print_reply(reply, raw), f"{reply.status}: {reply.error.message}" if reply.error else reply.status


async def send(
    settings: Settings,
    type: str,
    aggregate_id: str,
    command: str,
    data: bytes,
    *,
    wait: float,
    known: Collection[str] = (),
    id: str | None = None,
) -> tuple[Reply, bytes]:
    """Produce a command and wait, at most `wait` seconds, for its reply, which also comes as it was sent. Without an
    `id` the command has a new one; `known` are the types of this app.

    Raises `CliError`: wrong use, no Kafka, or no reply in time.
    """
    id = str(uuid.uuid4()) if id is None else id
    async with kafka(settings):
        topic, replies = topics.commands_topic(settings.namespace, type), topics.replies_topic(settings.namespace)
        present = await partitions_by_topic(settings, topic, replies)
        require_topic(topic, type, settings, present, known)
        if replies not in present:
            wanted = [topics.reply_topic(replies, settings.partitions)]
            made = await topics.ensure_topics(ClientFactory.of(settings), wanted)
            present[replies] = made[replies].partitions
        async with connected(ClientFactory.of(settings).consumer()) as consumer:
            await _listen(consumer, replies, present[replies])
            message = (topic, data, aggregate_id.encode(), command_headers(id, command, SOURCE, replies))
            try:
                record = await produce(settings, *message)
            except (KafkaError, TimeoutError) as error:
                again = f"it is not known whether the command is on Kafka; sending it again with --id {id} is harmless"
                raise CliError(ERROR, f"Kafka took too long or refused: {one_line(error)}; {again}") from None
            try:
                async with asyncio.timeout(wait):
                    return await _reply(consumer, id)
            except TimeoutError:
                raise CliError(NO_REPLY, no_reply(type, id, wait, record)) from None


def no_reply(type: str, id: str, wait: float, record: Any) -> str:
    """What it means that no reply came, and what to do."""
    return (
        f"no reply within {wait:g} s. The command is on Kafka ({record.topic}-{record.partition}, offset"
        f" {record.offset}) and will be processed as soon as a worker of {type} serves."
        f" Sending it again is harmless with the same id: --id {id}"
    )


async def produce(
    settings: Settings,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    headers: Headers,
    partition: int | None = None,
) -> Any:
    """Send one message, where its key belongs unless told otherwise; its metadata when Kafka has it for sure."""
    producer = ClientFactory.of(settings).producer(acks="all", enable_idempotence=True, client_id="command-line")
    async with connected(producer), asyncio.timeout(REQUEST_SECONDS):
        return await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)


async def _listen(consumer: AIOKafkaConsumer, topic: str, partitions: int) -> None:
    """Read from where each partition ends now, so that a reply sent from now on is seen."""
    ends = await bounds(consumer, [TopicPartition(topic, partition) for partition in range(partitions)])
    consumer.assign(list(ends))
    for partition, (_, end) in ends.items():
        consumer.seek(partition, end)


async def _reply(consumer: AIOKafkaConsumer, id: str) -> tuple[Reply, bytes]:
    async for record in consumer:
        with suppress(ValueError, RecursionError):  # no reply, whoever wrote it
            reply = decode_reply(record.value or b"")
            if reply.command_id == id:
                return reply, record.value
    raise AssertionError("a consumer has no end")


async def bounds(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """The first offset of each partition and the one after its last."""
    async with asyncio.timeout(REQUEST_SECONDS):
        first, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    return {partition: (first[partition], end[partition]) for partition in partitions}

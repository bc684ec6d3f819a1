"""The records of the topic `gateway-replies`: commands that were sent, and their replies."""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import msgspec

from streams.deciding.messages import Reply

ID_USED_BEFORE = "IdUsedBefore"
"""The type of the error with which a command is refused whose id is that of another one."""


class CommandAggregate(msgspec.Struct, frozen=True):
    """The aggregate that a command is for."""

    type: str
    id: str


class KafkaPosition(msgspec.Struct, frozen=True):
    """Where a command stands on Kafka."""

    topic: str
    partition: int
    offset: int


NOT_YET = -1
"""The offset of a command that Kafka has not taken yet."""


class SentCommand(msgspec.Struct, frozen=True, tag_field="status", tag="pending"):
    """The record of a command that has been sent, JSON under its id; its reply follows on the same topic."""

    command_id: str
    aggregate: CommandAggregate
    command: str
    place: KafkaPosition
    fingerprint: str


class LogEntry(NamedTuple):
    """A record of the topic, as the file keeps it: type and id of the aggregate, the command's type, `at` in
    milliseconds. `is_anothers`: the reply refuses another command than the first with this id."""

    id: str
    type: str
    aggregate: str
    command: str
    at: int
    sent: bytes | None = None
    reply: bytes | None = None
    is_anothers: bool = False


class PendingCommand(NamedTuple):
    """A command without a reply."""

    sent: SentCommand
    at: int


class KnownCommand(NamedTuple):
    """What is known of a command: that it was sent, or its reply, or both."""

    sent: SentCommand | None
    reply: Reply | None

    def after(self, reply: Reply) -> KnownCommand:
        """What is known after a reply to a command of this id, which may be another command."""
        if self.sent is not None and not is_reply_to(reply, self.sent.aggregate, self.sent.command):
            return self
        return self if self.reply is not None and is_anothers(reply) else KnownCommand(self.sent, reply)


class _Status(msgspec.Struct):
    status: Literal["pending", "accepted", "rejected", "failed"]


_status_of = msgspec.json.Decoder(_Status).decode
decode_sent = msgspec.json.Decoder(SentCommand).decode
decode_reply = msgspec.json.Decoder(Reply).decode
encode_sent = msgspec.json.Encoder().encode


def read_entry(value: bytes, at: int) -> tuple[LogEntry, Reply | None]:
    """A record of the topic, with the reply if it is one. Raises `ValueError`, whatever its bytes are."""
    try:
        return _read_entry(value, at)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read_entry(value: bytes, at: int) -> tuple[LogEntry, Reply | None]:
    if _status_of(value).status == "pending":
        sent = decode_sent(value)
        return _entry(sent, at, sent=value), None
    reply = decode_reply(value)
    return _entry(reply, at, reply=value, is_anothers=is_anothers(reply)), reply


def _entry(record: SentCommand | Reply, at: int, **values: Any) -> LogEntry:
    aggregate = record.aggregate
    return LogEntry(record.command_id, aggregate.type, aggregate.id, record.command, at, **values)


def is_reply_to(reply: Reply, aggregate: CommandAggregate, command: str) -> bool:
    """Whether a reply is one to a command of this type to this aggregate; a reply may not name the type."""
    return CommandAggregate(reply.aggregate.type, reply.aggregate.id) == aggregate and reply.command in ("", command)


def is_anothers(reply: Reply) -> bool:
    """Whether a reply refuses a command whose id was used before: it says nothing of the first with this id."""
    return reply.error is not None and reply.error.type == ID_USED_BEFORE


def now_ms() -> int:
    """The time as Kafka has it in its records."""
    return time.time_ns() // 1_000_000

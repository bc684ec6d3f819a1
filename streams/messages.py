"""Commands and replies as they stand on Kafka: the CloudEvents 1.0 Kafka binding, and plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

JSON = "application/json"
AVRO = "avro/binary"
MAX_ID_LENGTH = 512
RETRY_OF = "ce_retryof"
"""The header of a command sent again from the dead letters, with the place of its dead letter."""
RETRY_TOPIC = "dl_topic"
"""The header of a dead letter that says where to send it again, when that is not where it was read from."""

Headers = Iterable[tuple[str, bytes]]


class Message(msgspec.Struct, gc=False):
    """A message of the command topic as it stands there; `timestamp` in seconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: float
    size: int = 0
    """Bytes of key, value and headers."""

    def __post_init__(self) -> None:
        size = len(self.value or b"") + len(self.key or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        self.size = size


class Failure(Exception):
    """A command that cannot be processed, with a stable `type` for programs and a `message` for people.

    It is answered `failed` and kept in the dead letters; the aggregate is left as it was. `trace` is the end of the
    stack trace when the domain raised; `quarantines` says that the aggregate's later commands wait behind this one.
    """

    def __init__(self, type: str, message: str, trace: str = "") -> None:
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.trace = trace
        self.quarantines = False


class Envelope(msgspec.Struct, gc=False):
    """A command as it came, before its data is looked at.

    `data` is JSON when `content_type` says so, else Avro single-object encoding. `time` is Kafka's
    timestamp of the message: the same at every redelivery. `expected_sequence` is what the sender takes the
    aggregate's sequence for: a number, or `*` for any but 0. `retry_of` is the place of the dead letter that an
    operator has sent again, `message` the message that it was read from.
    """

    id: str
    type: str
    aggregate_id: str
    data: bytes
    content_type: str
    offset: int
    time: datetime
    correlation_id: str = ""
    traceparent: str = ""
    reply_to: str = ""
    deadline: str = ""
    expected_sequence: str = ""
    retry_of: str = ""
    message: Message | None = None


class Error(msgspec.Struct, frozen=True):
    """Why a command was rejected or failed."""

    type: str
    message: str


class AggregateRef(msgspec.Struct, frozen=True):
    """The aggregate a reply speaks of, and its sequence after the command."""

    type: str
    id: str
    sequence: int


class Reply(msgspec.Struct, frozen=True):
    """The answer to one command, as the contract has it; JSON by `encode_reply`."""

    command_id: str
    status: Literal["accepted", "rejected", "failed"]
    aggregate: AggregateRef
    events: tuple[str, ...] = ()
    position: str = ""
    error: Error | None = None


encode_reply = msgspec.json.Encoder().encode
decode_reply = msgspec.json.Decoder(Reply).decode


class _Structured(msgspec.Struct):
    """A structured CloudEvent, or the short form that a person types: only `type` is needed."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: str = ""
    replyto: str = ""
    correlationid: str = ""
    traceparent: str = ""
    deadline: str = ""
    expectedsequence: int | str = ""


_decode_structured = msgspec.json.Decoder(_Structured).decode


def read_envelope(
    key: bytes | None, value: bytes | None, headers: Headers, offset: int, timestamp: float, default_id: str
) -> Envelope:
    """Read a message of a command topic: CloudEvents binary mode when it has a `ce_type`, else structured.

    `timestamp` is in seconds; `default_id` is the command id for a message that brings none. Raises
    `Failure`, with what is known of id and reply topic in an `envelope` attribute, so that it can be answered.
    """
    attributes = dict(headers)
    envelope = Envelope(
        default_id, "", "", b"", JSON, offset, datetime.fromtimestamp(max(timestamp, 0) if timestamp else 0, UTC)
    )
    try:
        envelope.reply_to = _text(attributes, "ce_replyto")
        envelope.id = _text(attributes, "ce_id") or default_id
        envelope.retry_of = _text(attributes, RETRY_OF)
        envelope.correlation_id = _text(attributes, "ce_correlationid")
        envelope.aggregate_id = _aggregate_id(key)
        if "ce_type" in attributes:
            envelope.type = _text(attributes, "ce_type")
            envelope.traceparent = _text(attributes, "ce_traceparent")
            envelope.deadline = _text(attributes, "ce_deadline")
            envelope.expected_sequence = _text(attributes, "ce_expectedsequence")
            envelope.content_type = _text(attributes, "content-type").partition(";")[0].strip() or JSON
            if value is None:
                raise Failure(
                    "Unreadable",
                    f"{envelope.type}: the message has no value; a command without data has the value {{}}",
                )
            envelope.data = value
        else:
            _read_structured(envelope, value, default_id)
        if not envelope.type:
            raise Failure("Unreadable", 'the command has no type: set the header ce_type, or "type" in the JSON')
        if len(envelope.id) > MAX_ID_LENGTH or len(envelope.correlation_id) > MAX_ID_LENGTH:
            raise Failure("Unreadable", f"the command id or correlation id is longer than {MAX_ID_LENGTH} characters")
    except Failure as failure:
        failure.envelope = envelope  # type: ignore[attr-defined]
        raise
    return envelope


def _read_structured(envelope: Envelope, value: bytes | None, default_id: str) -> None:
    try:
        structured = _decode_structured(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(
            "Unreadable", f"neither a CloudEvent in binary mode (no header ce_type) nor one in JSON: {error}"
        ) from None
    envelope.type = structured.type
    envelope.data = bytes(structured.data)
    envelope.id = structured.id or envelope.id or default_id
    envelope.reply_to = structured.replyto or envelope.reply_to
    envelope.correlation_id = structured.correlationid or envelope.correlation_id
    envelope.traceparent = structured.traceparent
    envelope.deadline = structured.deadline
    envelope.expected_sequence = str(structured.expectedsequence)


def _aggregate_id(key: bytes | None) -> str:
    if not key:
        raise Failure("Unreadable", "the message has no key: the key is the aggregate id")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Failure("Unreadable", "the key is not UTF-8: the key is the aggregate id") from None
    if len(text) > MAX_ID_LENGTH:
        raise Failure("Unreadable", f"the aggregate id is longer than {MAX_ID_LENGTH} characters")
    return text


def _text(attributes: dict[str, bytes], name: str) -> str:
    value = attributes.get(name)
    if value is None:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Failure("Unreadable", f"the header {name} is not UTF-8") from None


def check_deadline(envelope: Envelope, now: datetime) -> None:
    """Raise `Failure` when the command came too late, or its deadline cannot be read."""
    if not envelope.deadline:
        return
    try:
        deadline = datetime.fromisoformat(envelope.deadline)
    except ValueError:
        raise Failure("Unreadable", f"the deadline {envelope.deadline!r} is not a time in RFC 3339") from None
    if deadline.tzinfo is None:
        raise Failure("Unreadable", f"the deadline {envelope.deadline!r} has no time zone: write Z for UTC")
    if deadline < now:
        raise Failure("DeadlinePassed", f"the deadline {envelope.deadline} has passed")


def command_headers(
    id: str,
    type: str,
    source: str,
    reply_to: str = "",
    correlation_id: str = "",
    deadline: str = "",
    causation_id: str = "",
    traceparent: str = "",
    expected_sequence: str = "",
) -> list[tuple[str, bytes]]:
    """The headers of a command with JSON data, in CloudEvents binary mode."""
    attributes: dict[str, Any] = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": type,
        "ce_source": source,
        "ce_replyto": reply_to,
        "ce_correlationid": correlation_id,
        "ce_causationid": causation_id,
        "ce_traceparent": traceparent,
        "ce_deadline": deadline,
        "ce_expectedsequence": expected_sequence,
        "content-type": JSON,
    }
    return [(name, value.encode()) for name, value in attributes.items() if value]

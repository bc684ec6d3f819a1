"""Commands and replies as they stand on Kafka: the CloudEvents 1.0 Kafka binding, and plain JSON."""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from aggregates.principal import Principal
from streams.moments import EPOCH
from streams.principals import signature

JSON = "application/json"
AVRO = "avro/binary"
MAX_ID_LENGTH = 512
MAX_TYPE_LENGTH = 256
MAX_TOPIC_LENGTH = 249
MAX_TIME_LENGTH = 64
MAX_CLAIMS_LENGTH = 16_384
TRACEPARENT_LENGTH = 55
MESSAGE_CHARACTERS = 1024
"""Of why a command failed; what a library says may hold all that it was given."""
HOP = "traceparent"
"""The header that names the span which has sent a message. See `streams.observability.traces`."""
RETRY_OF = "ce_retryof"
"""The header of a command sent again from the dead letters, with the place of its dead letter."""
RETRY_TOPIC = "dl_topic"
"""The header of a dead letter that says where to send it again, when that is not where it was read from."""

UNKNOWN_TYPE = b"UnknownType"
"""The `dl_type` of such a letter."""
CONTROL = "dl_"
"""What the names of the headers begin with that say why a command is in the dead letters."""

DROPPED = "dl_dropped"
"""The header of the marker that drops a dead letter, with its offset."""

Headers = Collection[tuple[str, bytes | None]]

_ONCE = frozenset(
    (
        "ce_id",
        "ce_type",
        "ce_replyto",
        "ce_replykey",
        "ce_correlationid",
        "ce_deadline",
        "ce_expectedsequence",
        RETRY_OF,
        "content-type",
        *signature.HEADERS,
    )
)
"""Headers that two readers would take differently when they come twice."""


class Message(msgspec.Struct, gc=False):
    """A message of the command topic as it stands there; `timestamp` in seconds. `unreadable` says why it could not be
    read at all: it has no key, value or headers then."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: float
    unreadable: str = ""
    size: int = 0
    """Bytes of key, value and headers."""

    def __post_init__(self) -> None:
        size = len(self.value or b"") + len(self.key or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        self.size = size


def message_of(record: Any) -> Message:
    """A record of the command topic."""
    timestamp = -1 if record.timestamp is None else record.timestamp / 1000
    why = getattr(record, "reason", "")
    if why and record.first < record.offset:
        why = f"what stands at offsets {record.first} to {record.offset}: {why}"
    return Message(record.partition, record.offset, record.key, record.value, record.headers, timestamp, why)


class Failure(Exception):
    """A command that cannot be processed, with a stable `type` for programs and a `message` for people.

    It is answered `failed` and kept in the dead letters; the aggregate is left as it was. `trace` is the end of the
    stack trace when the domain raised; `quarantines` says that the aggregate's later commands wait behind this one.
    `envelope` is what is known of a command that cannot be read.
    """

    def __init__(self, type: str, message: str, trace: str = "") -> None:
        message = message[:MESSAGE_CHARACTERS]
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.trace = trace
        self.quarantines = False
        self.envelope: Envelope | None = None


class Envelope(msgspec.Struct, gc=False):
    """A command as it came, before its data is looked at.

    `data` is JSON when `content_type` says so, else Avro single-object encoding. `time` is Kafka's
    timestamp of the message: the same at every redelivery. `expected_sequence` is what the sender takes the
    aggregate's sequence for: a number, or `*` for any but 0. `reply_key` is the key of the record of its
    reply, where that is not to be the correlation id or else the command id. `retry_of` is the place of the dead letter
    that an operator has sent again, `message` the message that it was read from. `said` has the headers that name a
    principal, and `principal` is who it is, once that was looked at; None: nobody who is known. `traceparent` names
    where its transmission began, `hop` the span that has sent this message, where its sender says so.
    """

    id: str
    type: str
    aggregate_id: str
    data: bytes
    content_type: str
    partition: int
    offset: int
    time: datetime
    correlation_id: str = ""
    traceparent: str = ""
    hop: str = ""
    reply_to: str = ""
    reply_key: str = ""
    deadline: str = ""
    expected_sequence: str = ""
    retry_of: str = ""
    message: Message | None = None
    said: dict[str, bytes] | None = None
    principal: Principal | None = None

    @property
    def is_control(self) -> bool:
        """Whether it is for the engine itself: no class of a domain has such a name."""
        return self.type.startswith("#")


class Error(msgspec.Struct, frozen=True):
    """Why a command was rejected or failed."""

    type: str
    message: str


class AggregateRef(msgspec.Struct, frozen=True):
    """The aggregate a reply speaks of, and its sequence after the command."""

    type: str
    id: str
    sequence: int


Status = Literal["accepted", "rejected", "failed"]


class Reply(msgspec.Struct, frozen=True):
    """The answer to one command, as the contract has it; JSON by `encode_reply`.

    `command` is its type, which tells the reply from that to another command with the same id.
    """

    command_id: str
    status: Status
    aggregate: AggregateRef
    events: tuple[str, ...] = ()
    position: str = ""
    error: Error | None = None
    command: str = ""


encode_reply = msgspec.json.Encoder().encode
decode_reply = msgspec.json.Decoder(Reply).decode


class _Structured(msgspec.Struct):
    """A structured CloudEvent, or the short form that a person types: only `type` is needed."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str = ""
    datacontenttype: str = ""
    id: str = ""
    replyto: str = ""
    replykey: str = ""
    correlationid: str = ""
    traceparent: str = ""
    deadline: str = ""
    expectedsequence: int | str = ""


_decode_structured = msgspec.json.Decoder(_Structured).decode


def unread_envelope(message: Message, id: str) -> Envelope:
    """What is known of a message before it is read."""
    return Envelope(
        id=id,
        type="",
        aggregate_id="",
        data=b"",
        content_type=JSON,
        partition=message.partition,
        offset=message.offset,
        time=EPOCH,
        message=message,
    )


def read_envelope(message: Message, default_id: str) -> Envelope:
    """Read a message of a command topic: CloudEvents binary mode when it has a `ce_type`, else structured.

    `default_id` is the command id for a message that brings none. Raises `Failure`, with what is known of id and reply
    topic in its `envelope`, so that it can be answered. What is longer than it may be is nowhere in it.
    """
    headers = message.headers
    attributes: dict[str, bytes | None] = dict(headers)
    twice = "" if len(attributes) == len(headers) else _take_out_what_is_there_twice(attributes, headers)
    envelope = unread_envelope(message, default_id)
    try:
        if message.unreadable:
            raise Failure("Unreadable", message.unreadable)
        envelope.reply_to = _reply_to(_text(attributes, "ce_replyto"))
        envelope.id = _text(attributes, "ce_id", MAX_ID_LENGTH) or default_id
        envelope.correlation_id = _text(attributes, "ce_correlationid", MAX_ID_LENGTH)
        envelope.reply_key = _text(attributes, "ce_replykey", MAX_ID_LENGTH)
        if twice:
            raise Failure("Unreadable", f"the header {twice} comes twice, with different values")
        envelope.retry_of = _text(attributes, RETRY_OF, MAX_TIME_LENGTH)
        envelope.time = _time(message.timestamp)
        envelope.aggregate_id = _aggregate_id(message.key)
        if signature.PRINCIPAL in attributes or signature.PROOF in attributes:
            envelope.said = _said(attributes)
        if "ce_type" in attributes:
            envelope.type = _text(attributes, "ce_type", MAX_TYPE_LENGTH)
            if "ce_traceparent" in attributes:
                envelope.traceparent = _trace(_text(attributes, "ce_traceparent"))
            if "ce_deadline" in attributes:
                envelope.deadline = _text(attributes, "ce_deadline", MAX_TIME_LENGTH)
            if "ce_expectedsequence" in attributes:
                envelope.expected_sequence = _text(attributes, "ce_expectedsequence", MAX_TIME_LENGTH)
            envelope.content_type = _content_type(_text(attributes, "content-type", MAX_TYPE_LENGTH))
            if message.value is None:
                raise Failure(
                    "Unreadable",
                    f"{envelope.type}: the message has no value; a command without data has the value {{}}",
                )
            envelope.data = message.value
        else:
            _read_structured(envelope, message.value)
        if HOP in attributes:
            envelope.hop = _hop(attributes[HOP])
            # Whoever knows nothing of CloudEvents begins there.
            envelope.traceparent = envelope.traceparent or envelope.hop
        if not envelope.type:
            raise Failure("Unreadable", 'the command has no type: set the header ce_type, or "type" in the JSON')
    except Failure as failure:
        failure.envelope = envelope
        raise
    return envelope


def _said(attributes: dict[str, bytes | None]) -> dict[str, bytes]:
    """The headers that name a principal. Raises `Failure`."""
    said = {name: value for name in signature.HEADERS if (value := attributes.get(name))}
    for name, value in said.items():
        most = MAX_CLAIMS_LENGTH if name == signature.CLAIMS else MAX_ID_LENGTH
        if len(value) > most:
            raise Failure("Unreadable", f"the header {name} is longer than {most} bytes")
    return said


def _take_out_what_is_there_twice(attributes: dict[str, bytes | None], headers: Headers) -> str:
    """The name of a header that comes with different values, where that matters; none of these is in `attributes`."""
    names = sorted(name for name, count in Counter(name for name, _ in set(headers)).items() if count > 1)
    twice = [name for name in names if name in _ONCE]
    for name in twice:
        del attributes[name]
    return twice[0] if twice else ""


def _read_structured(envelope: Envelope, value: bytes | None) -> None:
    if value is None:
        raise Failure("Unreadable", "the message has no value, and no header ce_type: it is no command")
    try:
        structured = _decode_structured(value)
    except RecursionError:
        raise Failure("Unreadable", "the JSON is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(
            "Unreadable", f"neither a CloudEvent in binary mode (no header ce_type) nor one in JSON: {error}"
        ) from None
    envelope.id = _fitting("id", structured.id, MAX_ID_LENGTH) or envelope.id
    envelope.reply_to = _reply_to(structured.replyto) or envelope.reply_to
    correlation_id = _fitting("correlationid", structured.correlationid, MAX_ID_LENGTH)
    envelope.correlation_id = correlation_id or envelope.correlation_id
    envelope.reply_key = _fitting("replykey", structured.replykey, MAX_ID_LENGTH) or envelope.reply_key
    envelope.type = _fitting("type", structured.type, MAX_TYPE_LENGTH)
    envelope.traceparent = _trace(structured.traceparent)
    envelope.deadline = _fitting("deadline", structured.deadline, MAX_TIME_LENGTH)
    envelope.expected_sequence = _fitting("expectedsequence", str(structured.expectedsequence), MAX_TIME_LENGTH)
    envelope.data = bytes(structured.data) or b"{}"
    if structured.data_base64:
        if structured.data:
            raise Failure("Unreadable", "the command has both data and data_base64")
        try:
            envelope.data = binascii.a2b_base64(structured.data_base64, strict_mode=True)
        except ValueError as error:
            raise Failure("Unreadable", f"data_base64: {error}") from None
        envelope.content_type = _content_type(_fitting("datacontenttype", structured.datacontenttype, MAX_TYPE_LENGTH))


def _aggregate_id(key: bytes | None) -> str:
    if not key:
        raise Failure("Unreadable", "the message has no key: the key is the aggregate id")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Failure("Unreadable", "the key is not UTF-8: the key is the aggregate id") from None
    return _fitting("aggregate id", text, MAX_ID_LENGTH)


def _time(timestamp: float) -> datetime:
    try:
        if timestamp >= 0:
            return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Failure(
        "Unreadable",
        f"the message's timestamp {timestamp * 1000:.0f} is no time in milliseconds: send the right one, or let the"
        " broker set it (message.timestamp.type=LogAppendTime)",
    )


def _reply_to(text: str) -> str:
    # A name that no topic can have gets no reply; that is who replies to say, and one character too many is enough.
    return text[: MAX_TOPIC_LENGTH + 1]


def _content_type(text: str) -> str:
    return text if text == JSON else text.partition(";")[0].strip() or JSON


def _trace(text: str) -> str:
    # What is none is not passed on: https://www.w3.org/TR/trace-context/#traceparent-header
    return text if len(text) <= TRACEPARENT_LENGTH else ""


def _hop(value: bytes | None) -> str:
    # It is not the command's: whatever stands there, the command is done.
    return _trace((value or b"").decode(errors="replace"))


def _fitting(what: str, text: str, most: int) -> str:
    if len(text) > most:
        raise Failure("Unreadable", f"the {what} is longer than {most} characters")
    return text


def _text(attributes: dict[str, bytes | None], name: str, most: int | None = None) -> str:
    value = attributes.get(name)
    if value is None:
        return ""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Failure("Unreadable", f"the header {name} is not UTF-8") from None
    return text if most is None or len(text) <= most else _fitting(name.removeprefix("ce_"), text, most)


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
    reply_key: str = "",
) -> list[tuple[str, bytes]]:
    """The headers of a command with JSON data, in CloudEvents binary mode."""
    attributes: dict[str, Any] = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": type,
        "ce_source": source,
        "ce_replyto": reply_to,
        "ce_replykey": reply_key,
        "ce_correlationid": correlation_id,
        "ce_causationid": causation_id,
        "ce_traceparent": traceparent,
        "ce_deadline": deadline,
        "ce_expectedsequence": expected_sequence,
        "content-type": JSON,
    }
    return [(name, value.encode()) for name, value in attributes.items() if value]


def drop_marker(offset: int, moment: float) -> list[tuple[str, bytes]]:
    """The headers of a record without a value that drops the dead letter at an offset of its partition; the moment is
    in seconds since 1970."""
    return [(DROPPED, b"%d" % offset), ("dl_time", b"%d" % int(moment * 1000))]

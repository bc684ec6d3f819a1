"""The quarantine of an aggregate, kept as notes among its rows.

A command that made the domain raise, the poison command, quarantines its aggregate: the commands that come after it
wait, in order, until an operator lets them go on. Whoever is in quarantine, who waits and who has gone on stands in
the commit that covers the command in question, so it is as atomic, fenced and durable as the events are; and since
notes are derived by aggregate like all rows, loading the aggregate brings all of it back.

| note | its command | data | says |
|---|---|---|---|
| `#quarantined` | the poison command | `QuarantineReason` | from here on commands wait |
| `#parked` | the one that waits | the message | it is the last in the line |
| `#released` | the one that released it | the reply it will get | the poison command is settled or given up |
| `#unparked` | the one that waited | | it was the first in the line, and is decided |

A release whose commands do not fit into one commit goes on in the next; it is over when nobody waits, or when one
that waited quarantines the aggregate again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from streams.deciding.messages import Message, Reply, decode_reply
from streams.journal.port import RecordedEvent

QUARANTINED, PARKED, RELEASED, UNPARKED = "#quarantined", "#parked", "#released", "#unparked"
NOTES = frozenset({QUARANTINED, PARKED, RELEASED, UNPARKED})

_Packed = tuple[int, int, bytes | None, bytes | None, list[tuple[str, Any]], float]
_decode_message = msgspec.msgpack.Decoder(_Packed).decode
WAITING_BYTES = 1_000
"""What a command that waits takes of memory beside the bytes of its message."""


class QuarantineReason(msgspec.Struct, frozen=True):
    """Why an aggregate is in quarantine: what the domain raised, when, and the offset of the poison command."""

    type: str
    message: str
    since: datetime
    offset: int


class WaitingCommand(msgspec.Struct, frozen=True):
    """A command in the line; `principal` says in whose name it came, as a row has it."""

    id: str
    message: Message
    principal: str = ""


@dataclass(slots=True, eq=False)
class Quarantine:
    """The quarantine of one aggregate.

    poison         the id of the poison command
    waiting        the commands behind it, in order, and `size`: their bytes
    released_by    the id of the command that released it, while that goes on, and `reply`: what it will get
    """

    poison: str
    reason: QuarantineReason
    waiting: deque[WaitingCommand] = field(default_factory=deque)
    size: int = 0
    released_by: str = ""
    reply: Reply | None = None

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return WAITING_BYTES * (1 + len(self.waiting)) + self.size


def is_note(row: RecordedEvent) -> bool:
    """Whether a row speaks of a quarantine."""
    return row.type.startswith("#")


def follow(quarantine: Quarantine | None, note: RecordedEvent) -> Quarantine | None:
    """The quarantine after a note; None: there is none. Raises `ValueError` for a note that cannot be there."""
    if note.type == QUARANTINED:
        again = Quarantine(note.command_id, msgspec.json.decode(note.data, type=QuarantineReason))
        if quarantine is not None:
            again.waiting, again.size = quarantine.waiting, quarantine.size
        return again
    if quarantine is None:
        raise ValueError(f"{note.aggregate_id}: {note.type} without a quarantine")
    if note.type == PARKED:
        waiting = WaitingCommand(note.command_id, message_in_note(note.data), note.principal)
        quarantine.waiting.append(waiting)
        quarantine.size += waiting.message.size
        return quarantine
    if note.type == RELEASED:
        quarantine.released_by, quarantine.reply = note.command_id, decode_reply(note.data)
    elif note.type == UNPARKED:
        quarantine.size -= quarantine.waiting.popleft().message.size
    else:
        raise ValueError(f"{note.aggregate_id}: {note.type} is not known here: update this program")
    return quarantine if quarantine.waiting or not quarantine.released_by else None


def pack(message: Message) -> bytes:
    """A message as the data of a note."""
    return msgspec.msgpack.encode(
        (message.partition, message.offset, message.key, message.value, list(message.headers), message.timestamp)
    )


def message_in_note(data: bytes) -> Message:
    """The message that a note holds."""
    return Message(*_decode_message(data))

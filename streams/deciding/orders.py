"""Orders to an owner itself: commands for the engine, as they stand on Kafka.

`#release` lets an aggregate go on without the command that it is in quarantine for; whoever may write to the commands
of a type may give it. `#drop` takes a dead letter off the list, for good, and lets an aggregate go on that is in
quarantine for it. It comes from the read side alone, which has looked at the right of whoever asks: it is signed in the
name of its desk, with a key that only the read side and the owners themselves can make.
"""

from __future__ import annotations

import re

import msgspec

from aggregates.decider import FORBIDDEN, Rejected
from aggregates.principal import PROCESS, Principal, process
from streams.deciding.messages import Envelope, Failure

RELEASE = "#release"
"""The type of the command that gives up the poison command and lets those behind it go on. No class of a domain can
have this name. Its data may say which poison command is meant: `{"command_id": ".."}`."""
DROP = "#drop"
"""The type of the command that drops a dead letter: `{"letter": "3:17", "command_id": ".."}`. The id is that of the
command in the letter; an aggregate that is in quarantine for this command leaves it."""
DESK = "#desk"
"""In whose name the read side sends orders. No process manager has such a name."""
_PLACE = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


class ReleaseData(msgspec.Struct):
    """The data of a release; empty: whichever command it is."""

    command_id: str = ""


class DropData(msgspec.Struct):
    """The data of a drop: the place of the letter, and the id of its command."""

    letter: str
    command_id: str = ""


_decode_release = msgspec.json.Decoder(ReleaseData).decode
_decode_drop = msgspec.json.Decoder(DropData).decode
encode_order = msgspec.json.Encoder().encode


def desk(asker: Principal | None) -> Principal:
    """In whose name an order of somebody is sent; None: nobody need say who he is."""
    return process(DESK, asker)


def check_desk(envelope: Envelope) -> None:
    """Raise `Rejected` for an order that does not come from the desk of the read side."""
    who = envelope.principal
    if who is None or (who.kind, who.name) != (PROCESS, DESK):
        raise Rejected(FORBIDDEN, f"{envelope.type} is for workers of the read side alone, and signed by them")


def poison_of(data: bytes) -> str:
    """The id of the poison command that a release names; empty where it names none. Raises `Failure`."""
    try:
        return _decode_release(data).command_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure("Unreadable", f"{RELEASE}: {error}") from None


def letter_of(data: bytes) -> tuple[tuple[int, int], str]:
    """The place of the dead letter that a drop names, and the id of its command. Raises `Failure`."""
    try:
        found = _decode_drop(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure("Unreadable", f"{DROP}: {error}") from None
    place = _PLACE.fullmatch(found.letter)
    if place is None:
        raise Failure("Unreadable", f"{DROP}: no dead letter is at {found.letter[:40]!r}: it is PARTITION:OFFSET")
    return (int(place[1]), int(place[2])), found.command_id

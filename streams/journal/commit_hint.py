"""What a hint says: that a log has a new commit, by its number; and the commit itself, where that is small.

Hints save a tail that is up to date the reading of what its owner had in hand a moment ago. Nothing depends on them but
time, so a commit that one brings counts only where it cannot but be the next one of the log:

- it is signed by a key that the layout of the type has, which is in the journal: nobody else's hint counts;
- an owner sends it when it is written, and it names the one before it by what the fence tells commits apart by: it
  counts only for who has published that very one. So two histories of a log do not get mixed;
- and only if it was sent after the tail had begun, and had looked where the log ends: what the topic has from before
  may be of a log that was restored to an older state since.

A tail that was not brought the next commit reads it, as it does when it looks: each second, or ten where all is calm.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from streams.journal.commit_codec import UnreadableCommit, decode_payload, encode_payload
from streams.journal.port import Commit
from streams.moments import milliseconds, moment

MOST_BYTES = 64 * 1024
"""Of the events of a commit that a hint brings."""

_MARKER = b"\x01"
_SIGNATURE_BYTES = 16
_MOST_DIGITS = 18


class CommitId(NamedTuple):
    """By what the commits of a log are told apart: an owner, an object of one worker, writes a number once."""

    nr: int
    epoch: int
    owner: str

    @classmethod
    def of(cls, commit: Commit) -> CommitId:
        return cls(commit.nr, commit.epoch, commit.owner)


class CarriedCommit(NamedTuple):
    """A commit that a hint brings. No commit between it and the `previous` one has an event."""

    commit: Commit
    previous: CommitId


class Hint(NamedTuple):
    """The number of the newest commit, 0 where a hint says nothing, and the commit where it brings it."""

    nr: int
    carried: CarriedCommit | None = None


class _Body(msgspec.Struct, array_like=True):
    log: str
    nr: int
    epoch: int
    owner: str
    topic_id: str
    derived_nr: int
    recorded_at: int
    payload: bytes
    previous_nr: int
    previous_epoch: int
    previous_owner: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode


def encode_hint(commit: Commit, previous: Commit | None = None, key: str = "") -> bytes:
    """The value of a hint of a commit that is written. It brings the commit where there are a key and the `previous`
    one, which is of the same owner, and where it is small."""
    if previous is None or not key or sum(event.size for event in commit.events) > MOST_BYTES:
        return b"%d" % commit.nr
    body = _encode(
        _Body(
            log=commit.log,
            nr=commit.nr,
            epoch=commit.epoch,
            owner=commit.owner,
            topic_id=commit.topic_id,
            derived_nr=commit.derived_nr,
            recorded_at=milliseconds(commit.recorded_at),
            payload=encode_payload(commit.slices, commit.events, commit.is_seal),
            previous_nr=previous.nr,
            previous_epoch=previous.epoch,
            previous_owner=previous.owner,
        )
    )
    return signed(body, key)


def signed(body: bytes, key: str) -> bytes:
    """The value of a hint that says `body`."""
    return _MARKER + _signature(body, key) + body


def read_hint(value: bytes | None, key: str) -> Hint:
    """What a hint says, which anybody may have written."""
    value = value or b""
    if value.isdigit() and len(value) <= _MOST_DIGITS:
        return Hint(int(value))
    signature, body = value[1 : 1 + _SIGNATURE_BYTES], value[1 + _SIGNATURE_BYTES :]
    if not key or value[:1] != _MARKER or not hmac.compare_digest(signature, _signature(body, key)):
        return Hint(0)
    try:
        said = _decode(body)
        slices, events, is_seal = decode_payload(said.payload)
        recorded_at = moment(said.recorded_at)
    except (msgspec.DecodeError, UnicodeError, OverflowError, UnreadableCommit):
        return Hint(0)  # a newer version's: the journal says what is to be done
    commit = Commit(
        log=said.log,
        nr=said.nr,
        epoch=said.epoch,
        owner=said.owner,
        topic_id=said.topic_id,
        slices=slices,
        derived_nr=said.derived_nr,
        recorded_at=recorded_at,
        events=events,
        is_seal=is_seal,
    )
    previous = CommitId(said.previous_nr, said.previous_epoch, said.previous_owner)
    return Hint(said.nr, CarriedCommit(commit, previous))


def _signature(body: bytes, key: str) -> bytes:
    return blake2b(body, key=key.encode(), digest_size=_SIGNATURE_BYTES).digest()

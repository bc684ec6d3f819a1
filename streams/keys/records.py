"""What the rows of keys hold, in MessagePack, and their wrapping."""

from __future__ import annotations

import os
from datetime import datetime
from hashlib import sha256
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES, NONCE_BYTES = 32, 12
PERIOD, SUBJECT, BLIND, CURRENT = "p", "s", "b", "current"
"""What the ids of rows begin with; `current` is the whole id of the row that says the newest period."""

State = Literal["new", "living", "erased", "allowed"]


class SubjectKey(msgspec.Struct, frozen=True, array_like=True):
    """The key of a subject, or the fence where it was.

    number        counts its keys from 1: another one only after `allow`
    state         new: made, and nothing is sealed with it yet; living; erased; allowed: erased, and may have another
    period        which key wraps it; 0 where it is erased
    wrapped       nonce and AES-256-GCM ciphertext of the key, empty where it is erased
    fingerprint   of the key, by which the erased one is known
    at            of the last change of the state, UTC
    reason        why it was erased, or allowed again, for people
    erasures      how often it was: the number of the last one
    """

    number: int
    state: State
    period: int
    wrapped: bytes
    fingerprint: bytes
    at: datetime
    reason: str = ""
    erasures: int = 0

    @property
    def has_key(self) -> bool:
        return self.state in ("new", "living")


class Period(msgspec.Struct, frozen=True, array_like=True):
    """The key that wraps those of subjects for about a week.

    root      the key of the key management that wraps it
    wrapped   empty once that is destroyed
    state     closing: no key is wrapped by it any more, and those that are get another one
    began     UTC; `dead` is from when on nobody can bring the root back
    """

    number: int
    root: str
    wrapped: bytes
    state: Literal["current", "closing", "destroyed"]
    began: datetime
    dead: datetime | None = None


class Current(msgspec.Struct, frozen=True, array_like=True):
    """The newest period."""

    number: int


encode = msgspec.msgpack.Encoder().encode
decode_subject = msgspec.msgpack.Decoder(SubjectKey).decode
decode_period = msgspec.msgpack.Decoder(Period).decode
decode_current = msgspec.msgpack.Decoder(Current).decode


def period_id(number: int) -> str:
    """The id of the row of a period."""
    return f"{PERIOD}{number}"


def subject_id(subject: str) -> str:
    """The id of the row of a subject."""
    return f"{SUBJECT}{subject}"


def new_key() -> bytes:
    """A key of 256 bits."""
    return AESGCM.generate_key(8 * KEY_BYTES)


def fingerprint(key: bytes) -> bytes:
    """By which a key is known, and cannot be found."""
    return sha256(b"sourced.key\0" + key).digest()[:16]


def wrap(cipher: AESGCM, key: bytes, id: str, number: int) -> bytes:
    """A key wrapped by that of a period, bound to its row."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, key, _bound(id, number))


def unwrap(cipher: AESGCM, wrapped: bytes, id: str, number: int) -> bytes:
    """The key. Raises `ValueError` for one of another row or period."""
    try:
        return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _bound(id, number))
    except InvalidTag:
        raise ValueError(f"the key {number} of {id[:1]}.. is not wrapped by its period's") from None


def _bound(id: str, number: int) -> bytes:
    return f"{number} {id}".encode()


def next_erasure(key: SubjectKey | None) -> int:
    """The number that an erasure has which is ordered now: of one who is erased already that of the last one."""
    if key is None:
        return 1
    return max(1, key.erasures + (key.state != "erased"))

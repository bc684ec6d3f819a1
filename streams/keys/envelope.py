"""The wire format of a sealed value, byte by byte: see docs/privacy.md, which other languages go by.

| bytes | |
|---|---|
| 1 | `f8`: sealed |
| 1 | `01`: this format |
| 4 | number of the subject's key, big-endian |
| 12 | nonce, random |
| the rest | AES-256-GCM ciphertext of the UTF-8 text, and the tag of 16 bytes |

Bound to it as additional data: `sourced\\0 1`, then namespace, aggregate type and aggregate id, each as its length in
bytes (4, big-endian) and its UTF-8 text, the event's sequence (8, big-endian), and the name of the field.
"""

from __future__ import annotations

import os
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.sealing import SEALED

FORMAT = SEALED + b"\x01"
NONCE_BYTES, HEADER_BYTES = 12, 18
_DOMAIN = b"sourced\x001"
_NONCES = 512


class _Nonces:
    """Random bytes for many nonces at once: asking the system for each takes as long as the sealing."""

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0
        os.register_at_fork(after_in_child=self._drop)  # it would go on with the same ones

    def next(self) -> bytes:
        """Twelve bytes that no other envelope has."""
        at = self._at
        if at >= len(self._bytes):
            self._bytes, at = os.urandom(NONCE_BYTES * _NONCES), 0
        self._at = at + NONCE_BYTES
        return self._bytes[at : at + NONCE_BYTES]

    def _drop(self) -> None:
        self._bytes = b""


nonce = _Nonces().next


def header(number: int) -> bytes:
    """The first bytes of all envelopes of a key."""
    return FORMAT + number.to_bytes(4, "big")


def sealed(cipher: AESGCM, header: bytes, value: bytes, bound: bytes) -> bytes:
    """The envelope of a value."""
    once = nonce()
    return header + once + cipher.encrypt(once, value, bound)


def opened(cipher: AESGCM, envelope: bytes, bound: bytes) -> bytes:
    """The value of an envelope. Raises `InvalidTag`."""
    return cipher.decrypt(envelope[6:HEADER_BYTES], envelope[HEADER_BYTES:], bound)


def number_of(envelope: bytes) -> int:
    """The number of the key that sealed it. Raises `ValueError` for what is no envelope."""
    if envelope[:2] != FORMAT or len(envelope) < HEADER_BYTES:
        raise ValueError("it is no envelope of a format that is known here")
    return int.from_bytes(envelope[2:6], "big")


def bound(namespace: str, type: str, id: str, sequence: int, field: str) -> bytes:
    """What the envelope of a field of an event is bound to."""
    return b"%b%b%b" % (_of_aggregate(namespace, type, id), sequence.to_bytes(8, "big"), field.encode())


@lru_cache(maxsize=512)
def _of_aggregate(namespace: str, type: str, id: str) -> bytes:
    parts = [text.encode() for text in (namespace, type, id)]
    return b"".join((_DOMAIN, *(len(part).to_bytes(4, "big") + part for part in parts)))

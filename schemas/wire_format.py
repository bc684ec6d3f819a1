"""The wire format of Confluent's schema registry: `00`, the registry's id of the schema (4 bytes, big-endian), and the
same Avro body as behind the header of Avro single-object encoding. So a header is all that has to be exchanged.

An id says nothing without its registry, and fingerprints are forever: journals keep the one, and only what goes out on
a topic has the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from schemas.codec import Undecodable
from schemas.formats import HEADER_BYTES, MARKER

_MAGIC = b"\x00"
_ID_BYTES = 4
_DATASCHEMA = re.compile(rb"urn:avro:(?:.*:)?([0-9a-f]{16})")


def avro_fingerprint(data: bytes) -> bytes | None:
    """The 8 bytes that name the schema of what is in Avro single-object encoding; None for any other format."""
    return data[len(MARKER) : HEADER_BYTES] if data.startswith(MARKER) and len(data) >= HEADER_BYTES else None


def to_wire(data: bytes, id: int) -> bytes:
    """Avro single-object encoding as the wire format, with the id of its schema."""
    return _MAGIC + id.to_bytes(_ID_BYTES, "big") + data[HEADER_BYTES:]


def from_wire(value: bytes, headers: Mapping[str, bytes]) -> bytes:
    """A value of an events topic as its journal has it; one that is not in the wire format as it is.

    No registry is asked: the event's own `ce_dataschema` ends with the fingerprint. Raises `Undecodable` without.
    """
    if not value or not value.startswith(_MAGIC):
        return value
    said = _DATASCHEMA.fullmatch(headers.get("ce_dataschema", b""))
    if said is None or len(value) <= _ID_BYTES:
        raise Undecodable("in the wire format of a registry, with no ce_dataschema that ends with a fingerprint")
    return MARKER + bytes.fromhex(said[1].decode()) + value[len(_MAGIC) + _ID_BYTES :]

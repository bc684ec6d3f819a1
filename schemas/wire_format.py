"""The wire format of Confluent's schema registry: `00`, the registry's id of the schema (4 bytes, big-endian), and the
same Avro body as behind the header of Avro single-object encoding. So only the header has to be exchanged.

An id means nothing without its registry, and fingerprints are for ever: journals keep fingerprints, and only records on
a topic have ids.
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
    """The 8 bytes that name the schema of data in Avro single-object encoding; None for any other format."""
    return data[len(MARKER) : HEADER_BYTES] if data.startswith(MARKER) and len(data) >= HEADER_BYTES else None


def to_wire(data: bytes, id: int) -> bytes:
    """Data in Avro single-object encoding in the wire format, with the id of its schema."""
    return _MAGIC + id.to_bytes(_ID_BYTES, "big") + data[HEADER_BYTES:]


def from_wire(value: bytes, headers: Mapping[str, bytes]) -> bytes:
    """A value of an events topic in the encoding of its journal. A value in another format is returned as it is.

    No registry is asked: the event's own `ce_dataschema` ends with the fingerprint. Raises `Undecodable` without.
    """
    if not value or not value.startswith(_MAGIC):
        return value
    said = _DATASCHEMA.fullmatch(headers.get("ce_dataschema", b""))
    if said is None or len(value) <= _ID_BYTES:
        raise Undecodable("in the wire format of a registry, with no ce_dataschema that ends with a fingerprint")
    return MARKER + bytes.fromhex(said[1].decode()) + value[len(_MAGIC) + _ID_BYTES :]

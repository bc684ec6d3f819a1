"""The forms in which an event is kept and sent. Each names the schema that it was written with, so all can be mixed.

| format | bytes |
|---|---|
| `avro` | Avro single-object encoding: `c3 01`, the schema's fingerprint (8 bytes, little-endian), the Avro body |
| `json` | `{"$schema":"urn:avro:<full name>:<version>:<fingerprint>", ..}`: the fields as JSON, money as strings |

Another format is another value of this kind, in `FORMATS` by the first byte of what it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Protocol

import fastavro

from schemas import json_format
from schemas.avro_bytes import put_of
from schemas.fit import fitted
from schemas.registry import Schema
from schemas.upcasting import Fields

MARKER = b"\xc3\x01"
HEADER_BYTES = 10


class Format(Protocol):
    """How the fields of a record become bytes, and are read again. What is made here is made once for a schema.

    `form` says for people what such bytes are.
    """

    name: str
    form: str
    content_type: str

    def writer(self, schema: Schema) -> Callable[[Fields], bytes]:
        """Writes fields in the form that `fit.py` brings them into. Of others it raises, or writes something else."""

    def fingerprint(self, data: bytes) -> bytes:
        """The 8 bytes that name the schema of `data`. Raises `ValueError` when it is not in this format."""

    def reader(self, written: Schema, target: Schema) -> Callable[[bytes], Fields]:
        """Reads what was written with one schema as another, by Avro's rules of resolution. Raises whatever."""


class _Avro:
    name = "avro"
    form = "Avro single-object encoding"
    content_type = "avro/binary"

    def writer(self, schema: Schema) -> Callable[[Fields], bytes]:
        header, parsed, put = MARKER + bytes.fromhex(schema.fingerprint), schema.parsed, put_of(schema.parsed)

        def write(fields: Fields) -> bytes:
            out = BytesIO()
            out.write(header)
            fastavro.schemaless_writer(out, parsed, fields)
            return out.getvalue()

        def write_quickly(fields: Fields) -> bytes:
            try:
                return header + put(fields)  # type: ignore[misc]
            except Exception:
                return write(fields)

        return write if put is None else write_quickly

    def fingerprint(self, data: bytes) -> bytes:
        if len(data) < HEADER_BYTES or data[:2] != MARKER:
            raise ValueError(f"not in {self.form}")
        return data[2:HEADER_BYTES]

    def reader(self, written: Schema, target: Schema) -> Callable[[bytes], Fields]:
        parsed, resolved = written.parsed, None if written.same_fields(target) else target.parsed

        def read(data: bytes) -> Fields:
            body = BytesIO(data)
            body.seek(HEADER_BYTES)
            fields = fastavro.schemaless_reader(body, parsed, resolved)
            if body.tell() != len(data):
                raise ValueError("there are more bytes than the schema says")
            return fields  # type: ignore[return-value]

        return read


class _Json:
    name = "json"
    form = "JSON that begins with its $schema"
    content_type = "application/json"

    def writer(self, schema: Schema) -> Callable[[Fields], bytes]:
        return json_format.fields_writer(schema, AVRO.writer(schema), AVRO.reader(schema, schema))

    def fingerprint(self, data: bytes) -> bytes:
        return json_format.schema_fingerprint(data)

    def reader(self, written: Schema, target: Schema) -> Callable[[bytes], Fields]:
        read = json_format.fields_reader(written)
        if written.same_fields(target):
            return read
        fit, write, resolve = fitted(written).fit, AVRO.writer(written), AVRO.reader(written, target)
        return lambda data: resolve(write(fit(read(data))))


AVRO: Format = _Avro()
JSON: Format = _Json()
FORMATS = {MARKER[0]: AVRO, ord("{"): JSON}

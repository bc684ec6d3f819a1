"""Objects to bytes and back: Avro single-object encoding, by class of the domain.

A message is `c3 01`, the schema's fingerprint (8 bytes, little-endian), then the Avro body. It is
written with the newest version of its record and read with the version that wrote it, resolved to the
newest, so that all code inside sees only that one.

Decimals come back with exactly the scale of their schema, `Decimal("2.55")` as `Decimal("2.5500")`,
which is equal; one with more decimals raises instead of being rounded. That no amount has more than 18
digits in all, which fastavro does not check, is for the domain to bound. Times must be aware, come back
as UTC, and are cut to the millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from schemas.registry import Schema, SchemaError

MARKER = b"\xc3\x01"
HEADER_BYTES = 10
AVRO_NATIVE = (Decimal, datetime, bytes)


class Undecodable(ValueError):
    """These bytes are not an encoded object, or not of a class known here."""


class UnknownSchema(Undecodable):
    """Written with a schema that this codec has not learned."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(f"unknown schema {fingerprint}")
        self.fingerprint = fingerprint


@dataclass(frozen=True, slots=True)
class _Reader:
    written: Schema
    newest: Schema
    class_: type | None


class Codec:
    """Encodes and decodes the objects of `classes`, named like their records, with `schemas`.

    Learns more schemas by `add`. Raises `SchemaError` when a class has no schema. Safe to share
    between threads, but for `add`.
    """

    def __init__(self, schemas: Iterable[Schema], classes: Mapping[str, type]) -> None:
        self._classes = dict(classes)
        self._newest: dict[str, Schema] = {}
        self._readers: dict[bytes, _Reader] = {}
        known = sorted(schemas, key=lambda schema: schema.version)
        for schema in known:
            self._newest[schema.full_name] = schema
        for schema in known:
            self._learn(schema)
        self._writers = {
            schema.name: (MARKER + bytes.fromhex(schema.fingerprint), schema.parsed) for schema in self._newest.values()
        }
        for name in self._classes.keys() - self._writers.keys():
            raise SchemaError(f"no schema of {name}: add {name}.v1.avsc")

    @property
    def schemas(self) -> dict[str, str]:
        """Every schema known, as JSON by fingerprint."""
        return {reader.written.fingerprint: reader.written.json for reader in self._readers.values()}

    def add(self, fingerprint: str, json: str) -> None:
        """Learn the schema of older or newer bytes, as a journal keeps it. Raises `SchemaError`, also when
        the fingerprint is another's."""
        schema = Schema.parse(json)
        if schema.fingerprint != fingerprint:
            raise SchemaError(f"{schema.full_name} has the fingerprint {schema.fingerprint}, not {fingerprint}")
        if bytes.fromhex(fingerprint) not in self._readers:
            self._learn(schema)

    def encode(self, value: object) -> bytes:
        """The bytes of `value`. Raises `SchemaError` for a class that has no schema, and `TypeError` or
        `ValueError` for a value that does not fit its own."""
        writer = self._writers.get(type(value).__name__)
        if writer is None:
            raise SchemaError(f"no schema of {type(value).__name__}")
        header, parsed = writer
        out = BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, parsed, msgspec.to_builtins(value, builtin_types=AVRO_NATIVE))
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """The object that `data` holds, in the newest version of its class. Raises `Undecodable`."""
        reader = self._reader(data)
        if reader.class_ is None:
            raise Undecodable(f"no class for {reader.newest.full_name}")
        fields = _fields(reader, data)
        try:
            return msgspec.convert(fields, type=reader.class_)
        except Exception as error:
            raise Undecodable(f"not a {reader.newest.full_name}: {error!r}") from error

    def decode_to_builtins(self, data: bytes) -> tuple[Schema, dict[str, Any]]:
        """For readers that have no class: the newest schema of the record, and its fields ready for JSON,
        decimals as strings, times as ISO 8601 with `Z`. Raises `Undecodable`."""
        reader = self._reader(data)
        fields = _fields(reader, data)
        try:
            return reader.newest, msgspec.to_builtins(fields)
        except Exception as error:
            raise Undecodable(f"not a {reader.newest.full_name}: {error!r}") from error

    def schema_of(self, data: bytes) -> Schema:
        """The schema that `data` was written with. Raises `UnknownSchema`, or `Undecodable` without a header."""
        return self._reader(data).written

    def _learn(self, schema: Schema) -> None:
        newest = self._newest.setdefault(schema.full_name, schema)
        self._readers[bytes.fromhex(schema.fingerprint)] = _Reader(schema, newest, self._classes.get(schema.name))

    def _reader(self, data: bytes) -> _Reader:
        if len(data) < HEADER_BYTES or data[:2] != MARKER:
            raise Undecodable("not in Avro single-object encoding")
        reader = self._readers.get(data[2:HEADER_BYTES])
        if reader is None:
            raise UnknownSchema(data[2:HEADER_BYTES].hex())
        return reader


def _fields(reader: _Reader, data: bytes) -> dict[str, Any]:
    body = BytesIO(data)
    body.seek(HEADER_BYTES)
    newest = None if reader.newest is reader.written else reader.newest.parsed
    try:
        fields = fastavro.schemaless_reader(body, reader.written.parsed, newest)
    except Exception as error:
        raise Undecodable(f"not a {reader.written.full_name}: {error!r}") from error
    if body.tell() != len(data) or not isinstance(fields, dict):
        raise Undecodable(f"more than a {reader.written.full_name}")
    return fields

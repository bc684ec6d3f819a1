"""A commit's payload to bytes and back: Avro single-object encoding, of the schemas in `commit.v<n>.avsc`; and the
commits and derived events in rows of a database.

A commit is written in the oldest version that holds it: so who makes no use of what is new can go back, and workers of
both versions may run side by side.

The schemas are kept beside the commits (`Journal.schemas`), so that whoever has only the journal can read it.
A new version gets a file of its own and an entry in `_READABLE`; older ones stay there for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from fastavro.types import Schema

from schemas.avro_bytes import long
from streams.journal.port import Commit, RecordedEvent, SliceHead, StoredEvent

_MARKER = b"\xc3\x01"
_HEADER = len(_MARKER) + 8


def _load(file: str) -> tuple[str, bytes, Schema]:
    """The text of a schema, the header of what is written with it, and the parsed schema."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    schema = fastavro.parse_schema(json.loads(text))
    return text, _MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")), schema


_VERSIONS = [_load(f"commit.v{version}.avsc") for version in (3, 4)]
_WITHOUT_PRINCIPALS, _WITH_PRINCIPALS = (header for _, header, _ in _VERSIONS)
_READABLE = {header: schema for _, header, schema in _VERSIONS}

COMMIT_SCHEMAS = {header[len(_MARKER) :].hex(): text for text, header, _ in _VERSIONS}
"""The schemas of commits, as for `Journal.save_schemas`."""


class UnreadableCommit(Exception):
    """A commit that this version of the program cannot read, or that nobody can."""


def _sized(value: bytes) -> tuple[bytes, bytes]:
    """The length of a text or of bytes, and these."""
    return long(len(value)), value


def encode_payload(slices: Mapping[int, SliceHead], events: Sequence[RecordedEvent], is_seal: bool = False) -> bytes:
    """The payload of a commit. The same slices, in the same order, and events give the same bytes.

    Written here field by field, since every row of every commit goes this way and the library takes three times as
    long; a test holds the bytes against those of the library.
    """
    has_principals = any(event.principal for event in events)
    parts = [_WITH_PRINCIPALS if has_principals else _WITHOUT_PRINCIPALS]
    if slices:
        parts.append(long(len(slices)))
    for slice, head in slices.items():
        parts += (long(slice), long(head.offset), long(head.eventful_nr))
    parts += (long(0), b"\x01" if is_seal else b"\x00")
    if events:
        parts.append(long(len(events)))
    for event in events:
        parts += _sized(event.aggregate_id.encode())
        parts.append(long(event.sequence))
        parts += _sized(event.type.encode())
        parts += _sized(event.data)
        parts += _sized(event.command_id.encode())
        parts += _sized(event.correlation_id.encode())
        parts += _sized(event.traceparent.encode())
        parts += _sized(event.command.encode())
        if has_principals:
            parts += _sized(event.principal.encode())
    parts.append(long(0))
    return b"".join(parts)


def decode_payload(payload: bytes) -> tuple[dict[int, SliceHead], tuple[RecordedEvent, ...], bool]:
    """The slices and the events of a payload, and whether it is a seal. Raises `UnreadableCommit`."""
    header = payload[:_HEADER]
    schema = _READABLE.get(header)
    if schema is None:
        raise UnreadableCommit(
            f"a commit starts with {header.hex()}, which is no schema known here: update this program"
        )
    try:
        record: Any = fastavro.schemaless_reader(BytesIO(payload[_HEADER:]), schema, None)
        slices = {it["slice"]: SliceHead(it["offset"], it["eventful_nr"]) for it in record["slices"]}
        return slices, tuple(RecordedEvent(**event) for event in record["events"]), record["is_seal"]
    except Exception as error:  # whatever the reader stumbles over in bytes that are not what their header says
        raise UnreadableCommit(f"a commit's bytes are damaged: {error!r}") from error


def commit_from(log: str, row: Sequence[Any], recorded_at: datetime) -> Commit:
    """A commit from the columns of its row: nr, epoch, owner, topic id, derived_nr, time, payload.

    Raises `UnreadableCommit`.
    """
    nr, epoch, owner, topic_id, derived_nr, _, payload = row
    slices, events, is_seal = decode_payload(payload)
    return Commit(
        log=log,
        nr=nr,
        epoch=epoch,
        owner=owner,
        topic_id=topic_id,
        slices=slices,
        derived_nr=derived_nr,
        recorded_at=recorded_at,
        events=events,
        is_seal=is_seal,
    )


def event_from(aggregate_id: str, row: Sequence[Any], recorded_at: datetime) -> StoredEvent:
    """A derived event from the columns of its row: sequence, nr, index, type, data, command id, correlation id,
    traceparent, command, principal, time. Cassandra has null for an empty text."""
    sequence, nr, index, type, data, command_id, correlation_id, traceparent, command, principal, _ = row
    event = RecordedEvent(
        aggregate_id,
        sequence,
        type or "",
        data or b"",
        command_id,
        correlation_id=correlation_id or "",
        traceparent=traceparent or "",
        command=command or "",
        principal=principal or "",
    )
    return StoredEvent(event, nr, index, recorded_at)

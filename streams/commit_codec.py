"""A commit's events to bytes and back: Avro single-object encoding, of the schema in `commit.v2.avsc`.

The schema is kept beside the commits (`Journal.schemas`), so that whoever has only the journal can read it.
A new version gets a file of its own and an entry in `_READABLE`; older ones stay there for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from fastavro.types import Schema

from streams.journal import RecordedEvent

_MARKER = b"\xc3\x01"
_HEADER = len(_MARKER) + 8


def _load(file: str) -> tuple[str, bytes, Schema]:
    """The text of a schema, the header of what is written with it, and the parsed schema."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    schema = fastavro.parse_schema(json.loads(text))
    return text, _MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")), schema


_FIRST = _load("commit.v1.avsc")
_TEXT, _WRITTEN_HEADER, _WRITTEN = _load("commit.v2.avsc")
_READABLE = {header: schema for _, header, schema in (_FIRST, (_TEXT, _WRITTEN_HEADER, _WRITTEN))}

COMMIT_SCHEMAS = {
    header[len(_MARKER) :].hex(): text for text, header, _ in (_FIRST, (_TEXT, _WRITTEN_HEADER, _WRITTEN))
}
"""The schemas of commits, as for `Journal.save_schemas`."""


class UnreadableCommit(Exception):
    """A commit that this version of the program cannot read, or that nobody can."""


def encode_events(events: Iterable[RecordedEvent]) -> bytes:
    """The payload of a commit. The same events give the same bytes."""
    out = BytesIO()
    out.write(_WRITTEN_HEADER)
    fastavro.schemaless_writer(
        out,
        _WRITTEN,
        {
            "events": [
                {
                    "aggregate_id": event.aggregate_id,
                    "sequence": event.sequence,
                    "type": event.type,
                    "data": event.data,
                    "command_id": event.command_id,
                    "correlation_id": event.correlation_id,
                    "traceparent": event.traceparent,
                    "command": event.command,
                }
                for event in events
            ]
        },
    )
    return out.getvalue()


def decode_events(payload: bytes) -> tuple[RecordedEvent, ...]:
    """The events of a payload. Raises `UnreadableCommit`."""
    header = payload[:_HEADER]
    schema = _READABLE.get(header)
    if schema is None:
        raise UnreadableCommit(
            f"a commit starts with {header.hex()}, which is no schema known here: update this program"
        )
    try:
        record: Any = fastavro.schemaless_reader(BytesIO(payload[_HEADER:]), schema, None)
        return tuple(RecordedEvent(**event) for event in record["events"])
    except Exception as error:  # whatever the reader stumbles over in bytes that are not what their header says
        raise UnreadableCommit(f"a commit's bytes are damaged: {error!r}") from error

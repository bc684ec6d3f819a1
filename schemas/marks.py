"""Marks: which fields of a record are personal, and whose they are.

    {"name": "email", "type": "bytes", "doc": "..", "personal": {"subject": "#id"}}

The subject `#id` is the aggregate itself; any other is the field of the same record that names the person. A field of
an event is of the type `bytes`, or null or bytes, since it has the sealed form; text that an older version wrote there
is read by Avro's rules, and stays what it was. One of a command is of the type `string`, or null or string: a command
says it in the clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from schemas.registry import Schema

PERSONAL = "personal"
ITSELF = "#id"
"""The subject that is the aggregate itself."""
SEALED_TYPES = ("bytes", ["null", "bytes"], ["bytes", "null"])
CLEAR_TYPES = ("string", ["null", "string"], ["string", "null"])


@lru_cache(maxsize=4096)
def marks_of(schema: Schema) -> Mapping[str, str]:
    """The subject of each personal field of a record. What is no right mark has the empty subject."""
    return {field["name"]: _subject(field[PERSONAL]) for field in fields_of(schema) if PERSONAL in field}


def fields_of(schema: Schema) -> list[dict[str, Any]]:
    """The fields of a record, as its file has them."""
    fields: list[dict[str, Any]] = msgspec.json.decode(schema.json)["fields"]
    return fields


def mark_texts(schema: Schema) -> tuple[str, ...]:
    """The marks in the form in which they are locked: `field=subject`."""
    return tuple(sorted(f"{name}={subject}" for name, subject in marks_of(schema).items()))


def aggregate_type(schema: Schema) -> str:
    """The aggregate type of a record: the last part of its namespace."""
    return schema.namespace.rpartition(".")[2]


def _subject(mark: Any) -> str:
    subject = mark.get("subject") if isinstance(mark, dict) and set(mark) == {"subject"} else None
    return subject if isinstance(subject, str) else ""

"""The events of an aggregate for people: as they were written, and as they read today."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from aggregates.principal import parts_of
from schemas.codec import Codec, Undecodable, UnknownSchema
from schemas.sealing import Place
from streams.journal.event_decoding import learn_schemas, place_of
from streams.journal.port import FIRST_PAGE, LAST_SEQUENCE, Aggregates, StoredEvent, StoredSchemas, next_page
from streams.journal.position import position_text
from streams.moments import in_utc

MOST_AT_ONCE = 1_000
"""Events of one piece."""


async def pieces(
    journal: Aggregates, type: str, aggregate_id: str, after: int = 0, upto: int = LAST_SEQUENCE
) -> AsyncGenerator[list[StoredEvent], None]:
    """The events of an aggregate behind one sequence and up to another, in pieces of some megabytes at most.

    Raises `Unavailable`.
    """
    size, count, most = 0, 0, FIRST_PAGE
    while after < upto:
        end = min(after + most, upto)
        rows = [row for row in await journal.events(type, aggregate_id, after + 1, end) if row.event.is_event]
        if rows:
            yield rows
        if not rows or rows[-1].event.sequence < end:  # they are dense
            return
        after = end
        size, count = size + sum(100 + len(row.event.data) for row in rows), count + len(rows)
        most = min(next_page(size, count), MOST_AT_ONCE)


def entries(codec: Codec, stream: str, stored: Sequence[StoredEvent]) -> Iterator[dict[str, Any]]:
    """Stored events ready for JSON: each as it was written, by the schema that it names, and where that is not the
    newest schema, also as it `reads_as` today. For data that cannot be read the reason is shown."""
    for row in stored:
        yield {
            "sequence": row.event.sequence,
            "time": in_utc(row.recorded_at),
            "type": row.event.type,
            "position": position_text(stream, row.nr, row.index),
            "command_id": row.event.command_id,
            "correlation_id": row.event.correlation_id,
            **_principal(row.event.principal),
            **_told(codec, row.event.data, place_of(row.event)),
        }


def _principal(text: str) -> dict[str, str]:
    """Who has sent the command, where that is known, and for a process on whose behalf."""
    who, origin = parts_of(text)
    return {name: value for name, value in (("principal", who), ("on_behalf_of", origin)) if value}


def _told(codec: Codec, data: bytes, place: Place) -> dict[str, Any]:
    try:
        schema, fields = codec.decode_as_written(data, place)
    except Undecodable as error:
        return {"schema": None, "data": {"unreadable": str(error)}}
    entry: dict[str, Any] = {"schema": f"{schema.full_name}:{schema.version}", "data": fields}
    try:
        today = codec.decode_to_builtins(data, place)
    except Undecodable as error:
        return {**entry, "reads_as": {"unreadable": str(error)}}
    if [schema] != [newest for newest, _ in today]:
        entry["reads_as"] = [{"type": newest.name, "data": fields} for newest, fields in today]
    return entry


async def learn_for(codec: Codec, journal: StoredSchemas, stored: Sequence[StoredEvent]) -> None:
    """Have the codec learn the schemas of the journal when an event needs one of them. Raises `Unavailable`."""
    for row in stored:
        try:
            codec.schema_of(row.event.data)
        except UnknownSchema:
            await learn_schemas(codec, journal)
            return
        except Undecodable:
            continue

"""The read edge: events of a journal become events of today's code."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from schemas.codec import Codec, Undecodable, UnknownSchema
from schemas.registry import SchemaError
from schemas.sealing import Place, with_keys
from streams.journal.port import RecordedEvent, StoredSchemas

log = logging.getLogger(__name__)


class NotReadableYet(Exception):
    """This worker cannot read an event that another worker has written, so it must not go on: a newer version can."""


async def decode_event(
    codec: Codec, journal: StoredSchemas, data: bytes, place: Place | None = None, closed: bool = False
) -> tuple[Any, ...]:
    """The events that an event of the journal stands for today. Schemas that are not here are read from the journal,
    and keys of persons are fetched, unless what is sealed is to stay `closed`.

    Raises `NotReadableYet`, and `Unavailable`.
    """
    decode = partial(codec.decode, data, place, closed)
    try:
        try:
            return await with_keys(codec.sealer, decode)
        except UnknownSchema:
            await learn_schemas(codec, journal)
            return await with_keys(codec.sealer, decode)
    except Undecodable as error:
        raise NotReadableYet(
            f"an event that this version cannot read ({error}): deploy the version that knows it"
        ) from None


def place_of(event: RecordedEvent) -> Place:
    """The place that what is sealed in an event is bound to."""
    return Place(event.aggregate_id, event.sequence)


async def learn_schemas(codec: Codec, journal: StoredSchemas) -> None:
    """Have the codec learn the schemas that a journal keeps. Raises `Unavailable`."""
    for fingerprint, schema in (await journal.schemas()).items():
        try:
            codec.add(fingerprint, schema)
        except SchemaError as error:
            log.warning("schema %s of the journal: %s", fingerprint, error)

"""An aggregate as the journal has it: its snapshot, and the events after it."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import groupby
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec
from schemas.sealing import with_keys
from streams.deciding.cache import Aggregate
from streams.deciding.quarantine import NOTES, is_note
from streams.journal.event_decoding import NotReadableYet, decode_event, place_of
from streams.journal.port import Aggregates, RecordedEvent, Unavailable
from streams.journal.snapshots import form_of

log = logging.getLogger(__name__)


class EvolveFailed(Exception):
    """The domain raised over an event that it has once decided itself."""


async def load_aggregate(
    journal: Aggregates, decider: Decider[Any, Any, Any], codec: Codec, aggregate_id: str, window: int
) -> Aggregate:
    """An aggregate as the derived tables have it: the snapshot, if this code can use it, and the events after it.

    Raises `Unavailable`, `NotReadableYet` when there is an event or a note that this code does not know, and
    `EvolveFailed`.
    """
    began = time.monotonic()
    aggregate = Aggregate(decider.initial)
    snapshot = await journal.snapshot(decider.type, aggregate_id)
    if snapshot is not None and snapshot.version == decider.state_version:
        try:
            form = form_of(decider, codec.sealer)
            await with_keys(codec.sealer, partial(aggregate.restore, snapshot, form))
        except Unavailable:
            raise
        except Exception as error:  # a state may raise what it likes, as it is made
            log.warning("%s %s: its snapshot cannot be read, its events are: %s", decider.type, aggregate_id, error)
            aggregate = Aggregate(decider.initial)
    stored = await journal.events(decider.type, aggregate_id, aggregate.sequence)
    base_sequence, base_nr = aggregate.sequence, aggregate.nr
    new = (row for row in stored if row.event.sequence > base_sequence or (not row.event.is_event and row.nr > base_nr))
    for (nr, _), rows in groupby(new, key=lambda row: (row.nr, row.event.command_id)):
        effect: list[RecordedEvent] = []
        notes: list[RecordedEvent] = []
        for row in rows:
            (notes if is_note(row.event) else effect).append(row.event)
            if row.event.is_event:
                events = await decode_event(codec, journal, row.event.data, place_of(row.event))
                try:
                    aggregate.state = decider.fold(events, aggregate.state)
                except Exception as bug:
                    raise EvolveFailed(f"{decider.type} {aggregate_id}: event {row.event.sequence}: {bug!r}") from bug
        if effect:
            aggregate.remember(effect, nr, window)
        for note in notes:
            if note.type not in NOTES:
                raise NotReadableYet(
                    f"a note {note.type} that this version cannot read: deploy the version that knows it"
                )
            aggregate.note(note, nr)
    if codec.sealer is not None:
        aggregate.open_until = began + codec.sealer.lease
    return aggregate

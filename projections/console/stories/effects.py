"""The commands that an event has caused: what process managers do with it, asked again. They are pure, and the ids of
what they send are made of the event's position, so the answer is what was sent, as far as the code is the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aggregates.process_manager import ForeignEvent
from aggregates.timer import FireTimer, TimerScheduled, timer
from projections.console.stories.story import FIRED, Effect
from schemas.codec import Undecodable
from streams.aggregate_type import AggregateType
from streams.journal.event_decoding import learn_schemas, place_of
from streams.journal.port import RecordedEvent, StoredSchemas
from streams.moments import in_utc


async def effects_of(
    contexts: Mapping[str, AggregateType], journal: StoredSchemas, type: str, position: str, event: RecordedEvent
) -> list[Effect]:
    """The commands that the event of a type at a position has caused. Raises `Undecodable` where this code cannot read
    the event, and `Unavailable`."""
    codec = contexts[type].events
    try:
        codec.decode_to_builtins(event.data, place_of(event))
    except Undecodable:
        await learn_schemas(codec, journal)
    return [*_sent(contexts[type], position, event), *_heard(contexts, type, position, event)]


def _sent(context: AggregateType, position: str, event: RecordedEvent) -> Iterator[Effect]:
    """What the process manager sends whose event it is; a timer that is scheduled is fired."""
    if context.process is None:
        return
    parts = context.events.decode(event.data, place_of(event), closed=True)
    sends = [send for part in parts for send in context.process.sends(event.aggregate_id, part)]
    for number, send in enumerate(sends):
        yield Effect(send.to, send.id, send.command, send.command_id or f"{position}#{number}")
    for part in parts:
        if context.decider.type == timer.type and isinstance(part, TimerScheduled):
            due = in_utc(part.due)
            yield Effect(timer.type, event.aggregate_id, FireTimer.__name__, f"{FIRED}{position}", due)


def _heard(contexts: Mapping[str, AggregateType], type: str, position: str, event: RecordedEvent) -> Iterator[Effect]:
    """What it means to the process managers that hear it."""
    hearers = [
        (name, it.process) for name, it in contexts.items() if it.process is not None and type in it.process.hears
    ]
    for name, process in hearers:
        reactions = [
            reaction
            for schema, fields in contexts[type].events.decode_to_builtins(event.data, place_of(event))
            if schema.name in process.hears[type]
            for reaction in process.hear(ForeignEvent(type, event.aggregate_id, schema.name, fields))
        ]
        for number, reaction in enumerate(reactions):
            id = f"{position}#{number}" if number else position
            yield Effect(name, reaction.process, reaction.command.__class__.__name__, id)

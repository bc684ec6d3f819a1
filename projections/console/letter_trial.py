"""A dead letter decided over what its aggregate is now, of which nothing is kept; and sent again."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from projections.console.dry_run import decided_now
from schemas.sealing import Sealer
from streams.cli.dead_letters import control_headers, letter_command_id, letter_reason, retry_headers, retry_topic
from streams.deciding.cache import Aggregate
from streams.deciding.command_handler import FORGED, CommandHandler
from streams.deciding.decided_group import Verdict
from streams.deciding.messages import RETRY_OF, Envelope, Error, Failure, Message, Status, read_envelope
from streams.deciding.personal_commands import open_kept
from streams.kafka.client import ProducerRecord
from streams.kafka.topics import commands_topic
from streams.principals.signature import named
from streams.slices import partition_of

CUT = "it was too large for a dead letter and was cut: its sender is to send it again"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What would be said to a dead letter now: its place, its aggregate, the reply and the types of the events.
    `sequence` is that of the last event which the aggregate has."""

    place: str
    id: str
    sequence: int
    status: Status
    events: Sequence[str] = ()
    error: Error | None = None


class NotSent(msgspec.Struct, frozen=True):
    """A dead letter that is not sent again, and why."""

    place: str
    reason: str


def place_of(record: Any) -> str:
    """As the command line takes it."""
    return f"{record.partition}:{record.offset}"


async def open_letter(record: Any, type: str, sealer: Sealer | None) -> None:
    """Let a letter say again what its command said, in place. Raises `CannotOpen`, and what the stores of keys
    raise."""
    record.value = await open_kept(sealer, type, record.key, record.value, [*control_headers(record).items()])


def envelope_of(record: Any) -> Envelope:
    """The command of a dead letter as its owner would read it now. Whom its headers name is believed. Raises
    `Failure`."""
    if "dl_cut" in control_headers(record):
        raise Failure("Cut", CUT)
    headers = [(name, value) for name, value in retry_headers(record) if name != RETRY_OF]
    message = Message(record.partition, record.offset, record.key, record.value, headers, time.time())
    envelope = read_envelope(message, letter_command_id(record))
    with contextlib.suppress(ValueError):  # it names nobody
        envelope.principal = named(envelope.said) if envelope.said else None
    return envelope


def tried(handler: CommandHandler, record: Any, envelope: Envelope, aggregate: Aggregate) -> Tried:
    """What an aggregate would say to the command of a dead letter. An accepted one changes the aggregate."""
    sequence = aggregate.sequence
    if (reason := letter_reason(record))["type"] == FORGED:  # by whom it was signed is for its owner to see
        return not_tried(record, envelope.aggregate_id, Failure(FORGED, reason["message"]))
    verdict = decided_now(handler, aggregate, envelope)
    return _said(record, envelope.aggregate_id, sequence, verdict)


def _said(record: Any, id: str, sequence: int, verdict: Verdict) -> Tried:
    assert verdict.reply is not None
    return Tried(
        place=place_of(record),
        id=id,
        sequence=sequence,
        status=verdict.reply.status,
        events=[row.type for row in verdict.rows if row.is_event],
        error=verdict.reply.error,
    )


def not_tried(record: Any, id: str, failure: Failure) -> Tried:
    """The same of one that no aggregate would be asked."""
    return Tried(place=place_of(record), id=id, sequence=0, status="failed", error=Error(failure.type, failure.message))


class Again:
    """Dead letters on their way back to where they came from: by topic and partition the records, in the order in which
    they came; and those that cannot be sent."""

    def __init__(self, type: str, namespace: str, partitions: int, sent_to: Collection[str]) -> None:
        self._own = commands_topic(namespace, type)
        self._namespace = namespace
        self._partitions = partitions
        self._sent_to = sent_to
        self.records: Mapping[tuple[str, int], list[ProducerRecord]] = defaultdict(list)
        self.sent: list[str] = []
        self.refused: list[NotSent] = []

    def add(self, letters: Iterable[Any]) -> None:
        """Have these sent."""
        for record in letters:
            topic = retry_topic(record, self._namespace, self._own)
            if "dl_cut" in control_headers(record):
                self.refused.append(NotSent(place_of(record), CUT))
            elif topic not in self._sent_to:
                self.refused.append(NotSent(place_of(record), f"this app sends nothing to {topic}"))
            else:
                partition = record.partition if record.key is None else partition_of(record.key, self._partitions)
                self.records[topic, partition].append((record.key, record.value, retry_headers(record)))
                self.sent.append(place_of(record))

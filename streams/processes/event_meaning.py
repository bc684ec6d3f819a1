"""From an event of another aggregate to the commands that it means to a process manager."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from aggregates.principal import Principal
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction
from schemas.codec import Codec, Undecodable
from schemas.registry import SchemaError, Schemas
from schemas.sealing import Place, Sealer, opened_fields
from schemas.wire_format import from_wire
from streams.deciding.decided_group import where_raised
from streams.deciding.messages import command_headers
from streams.journal.event_decoding import NotReadableYet
from streams.journal.position import stream_name
from streams.kafka.client import ProducerRecord
from streams.kafka.published_through import published_place
from streams.notices import say_error
from streams.observability.event_traces import Sending, SentBatch, seconds_of
from streams.observability.traces import HEADER, sampled
from streams.principals.signature import SigningKeys
from streams.processes.process_signature import ProcessSignature, principal_of
from streams.slices import partition_of

log = logging.getLogger(__name__)

Routed = tuple[int, ProducerRecord]
"""A command as a record, and its partition of the commands topic."""


class _Cause(NamedTuple):
    """Of an event what the commands say that it means."""

    event_id: str
    correlation_id: str
    traceparent: str
    principal: Principal | None
    hop: str
    time: str


def _sending(cause: _Cause, command: str, traced: SentBatch | None) -> Sending | None:
    """The span of the sending of a command; None for one of a trace that nobody keeps."""
    start = sampled(cause.traceparent) if traced is not None else None
    if traced is None or start is None:
        return None
    hop = sampled(cause.hop)
    by = hop if hop is not None and hop.trace_id == start.trace_id else start
    return traced.begin(cause.traceparent, by, seconds_of(cause.time, time.time()), command)


class EventMeaning:
    """The commands that the events of one aggregate type, `source`, mean to a process manager.

    Former names of events are known, as far as the schemas here declare them. An event of any other name is skipped
    unread, so that event types that are new in its context hold nothing up. Raises `SchemaError` when an event that the
    manager hears has no schema.
    """

    def __init__(
        self,
        manager: ProcessManager[Any, Any, Any],
        source: str,
        schemas: Schemas,
        keys: SigningKeys | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self._manager = manager
        self._signature = ProcessSignature(manager.type, keys)
        self._source = source
        self._heard = frozenset(manager.hears[source])
        for name in sorted(self._heard - {schema.name for schema in schemas}):
            raise SchemaError(
                f"{manager.type} hears {name} of {source}, and {schemas.folder} has no schema of it: copy all its "
                f"versions, {name}.v1.avsc and those that follow, from the context that writes it"
            )
        self._codec = Codec(schemas, {}, schemas.upcasters)
        self._sealer = sealer
        former = {
            alias.rpartition(".")[2] for schema in schemas if schema.name in self._heard for alias in schema.aliases
        }
        self._logged: dict[tuple[str, int], int] = {}
        """By partition the last offset that was logged as no event of ours."""
        self._read = self._heard | former | {upcaster.name for upcaster in schemas.upcasters}

    def hear(self, record: Any, partitions: int, source: str, traced: SentBatch | None = None) -> list[Routed]:
        """The commands that an event means, each with its partition among `partitions`, as a part of those that are
        `traced` together. What is personal in it is `Known` or `Erased`. Raises `NotReadableYet`, and `KeysNeeded`.

        A record that is no event of this source's journal is passed over, so that others who may write to the topic
        cannot hold it up. `source` of the command's headers is the process manager's.
        """
        headers = {name: value for name, value in record.headers if value is not None}
        if headers.get("ce_type", b"").decode(errors="replace") not in self._read:
            return []
        try:
            id, cause = self._identity(record, headers)
            place = Place(id, int(headers["ce_sequence"])) if self._sealer is not None else None
            parts = self._codec.decode_to_builtins(from_wire(record.value, headers), place)
        except Undecodable as error:
            raise NotReadableYet(f"{error}: deploy the version that knows it") from None
        except Exception as error:
            self._pass_over(record, error)
            return []
        if self._sealer is not None:
            parts = [(schema, opened_fields(fields, self._sealer)) for schema, fields in parts]
        try:
            reactions = [
                reaction
                for schema, fields in parts
                if schema.name in self._heard
                for reaction in self._manager.hear(ForeignEvent(self._source, id, schema.name, fields))
            ]
            return [
                self._command(reaction, number, cause, partitions, source, traced)
                for number, reaction in enumerate(reactions)
            ]
        except Exception as bug:
            if self._sealer is None:
                log.exception("%s %r: what it means to %s", self._source, id, self._manager.type)
                raise NotReadableYet(f"{headers['ce_type'].decode()} of {id!r}: {bug!r}") from None
            # What it says may be personal.
            log.error("%s %r: what it means to %s: %s", self._source, id, self._manager.type, where_raised(bug))
            raise NotReadableYet(f"{headers['ce_type'].decode()} of {id!r}: {type(bug).__name__}") from None

    def _command(
        self,
        reaction: Reaction[Any],
        number: int,
        cause: _Cause,
        partitions: int,
        source: str,
        traced: SentBatch | None,
    ) -> Routed:
        id = f"{cause.event_id}#{number}" if number else cause.event_id
        name, data = type(reaction.command).__name__, msgspec.json.encode(reaction.command)
        sending = _sending(cause, name, traced)
        headers = command_headers(
            id,
            name,
            source,
            correlation_id=cause.correlation_id,
            causation_id=cause.event_id,
            traceparent=cause.traceparent if sending is None else sending.traceparent,
        )
        if sending is not None:
            headers += sending.headers
        headers += self._signature.headers(self._manager.type, reaction.process, id, name, data, cause.principal)
        key = reaction.process.encode()
        return partition_of(key, partitions), (key, data, headers)

    def _identity(self, record: Any, headers: Mapping[str, bytes]) -> tuple[str, _Cause]:
        """The aggregate id, and what the event says of itself. Raises `ValueError`."""
        if not record.key or not record.value:
            raise ValueError("it has no key, or no value")
        event_id = headers.get("ce_id", b"").decode()
        stream = stream_name(self._source, record.partition)
        if published_place(headers, stream) is None:
            raise ValueError(f"its ce_id {event_id[:100]!r} is not its ce_position, or no position of {stream}")
        traceparent = headers.get("ce_traceparent", b"").decode()
        principal = principal_of(headers)
        hop, moment = (headers.get(name, b"").decode(errors="replace") for name in (HEADER, "ce_time"))
        correlation_id = headers.get("ce_correlationid", b"").decode()
        cause = _Cause(event_id, correlation_id, traceparent or hop, principal, hop, moment)
        return record.key.decode(), cause

    def _pass_over(self, record: Any, error: Exception) -> None:
        place = record.topic, record.partition
        if self._logged.get(place, -1) < record.offset:
            self._logged[place] = record.offset
            text = "%s-%d: offset %d is no event of ours, and is passed over: %s"
            say_error(log, "strangers-record", "{}-{}".format(*place), text, *place, record.offset, error)

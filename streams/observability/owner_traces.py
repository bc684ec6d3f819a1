"""The spans of an owner's work: one for each command of a trace that is kept, and those of the commit that they share.

Queue, loading, deciding, the conditional write and the replies are told apart. They are the same for all commands of a
group, so they are spans of the commit; a command has their seconds as attributes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from streams.deciding.decided_group import DecidedGroup
from streams.observability.owner_metrics import ACCEPTED, REPEATED, WAITING
from streams.observability.traces import SAMPLED, SpanRef, of_command, sampled
from streams.observability.tracing import MOST_LINKS, Attributes, Kind, Span, Tracer, parent_of

OF_COMMIT = 5
"""The spans of a commit: itself, and its stages."""


class Stages(NamedTuple):
    """When the stages of a group ended, as `time.monotonic` says: it was decided, its dead letters were out and the
    write began, it was written, its replies were on their way."""

    decided: float
    writes: float
    written: float
    replied: float


class _Told(NamedTuple):
    """What a span of a command is made of."""

    traceparent: str
    hop: str
    aggregate_id: str
    id: str
    command: str
    slice: int
    offset: int
    sent: float
    outcome: str
    position: str
    error: str


@dataclass(frozen=True, slots=True)
class _Group:
    """What the spans of a group are made of; times in seconds since 1970."""

    type: str
    log: str
    topic: str
    nr: int
    commands: int
    events: int
    size: int
    began: float
    loaded: float
    decided: float
    writes: float
    written: float
    replied: float


class OwnerTraces:
    """Of all logs of a type in this worker, whose commands come from `topic`."""

    def __init__(self, tracer: Tracer, type: str, topic: str) -> None:
        self._tracer = tracer
        self._type = type
        self._topic = topic

    def committed(self, group: DecidedGroup, stages: Stages) -> None:
        """A group is committed. Of one without a command of a trace that is kept nothing more is looked at than the
        last character of what names the trace."""
        kept = [verdict for verdict in group.verdicts if verdict.envelope.traceparent[-1:] in SAMPLED]
        if not kept:
            return
        told = [
            _Told(
                (envelope := verdict.envelope).traceparent,
                envelope.hop,
                envelope.aggregate_id,
                envelope.id,
                envelope.type,
                envelope.partition,
                envelope.offset,
                envelope.message.timestamp if envelope.message is not None else -1.0,
                _outcome(None if (reply := verdict.reply) is None else reply.status, bool(verdict.rows)),
                reply.position if reply is not None and verdict.rows else "",
                reply.error.type if reply is not None and reply.error is not None else "",
            )
            for verdict in kept
        ]
        to_wall = time.time() - time.monotonic()
        decided, writes, written, replied = (moment + to_wall for moment in stages)
        loaded = decided - group.decide_seconds
        shared = _Group(
            type=self._type,
            log=group.log,
            topic=self._topic,
            nr=group.nr,
            commands=len(group.verdicts),
            events=sum(len(verdict.rows) for verdict in group.verdicts),
            size=group.size,
            began=loaded - group.load_seconds,
            loaded=loaded,
            decided=decided,
            writes=writes,
            written=written,
            replied=replied,
        )
        self._tracer.put(len(told) + OF_COMMIT, partial(_spans, shared, told))


def _outcome(status: str | None, has_rows: bool) -> str:
    if status is None:
        return WAITING
    return REPEATED if status == ACCEPTED and not has_rows else status


def _spans(group: _Group, told: Sequence[_Told]) -> Iterator[Span]:
    commit: SpanRef | None = None
    refs: list[SpanRef] = []
    shared = _shared(group)
    for one in told:
        start = sampled(one.traceparent)
        if start is None:  # it only looked like one
            continue
        # What goes on from the events of a command knows the span by what the journal has; of any other command there
        # may be several.
        ref = of_command(start, group.type, one.aggregate_id, one.id) if one.position else start.child()
        parent, links = parent_of(start, sampled(one.hop))
        if commit is None:
            commit = ref.child()
        else:
            links = (*links, commit)
        refs.append(ref)
        yield _of_command(group, one, ref, parent, links, shared)
    if commit is not None:
        yield from _of_commit(group, commit, refs)


def _shared(group: _Group) -> Attributes:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": group.topic,
        "sourced.aggregate.type": group.type,
        "sourced.log": group.log,
        "sourced.commit": group.nr,
        "sourced.load_seconds": group.loaded - group.began,
        "sourced.decide_seconds": group.decided - group.loaded,
        "sourced.write_seconds": group.written - group.writes,
        "sourced.reply_seconds": group.replied - group.written,
    }


def _of_command(
    group: _Group, one: _Told, ref: SpanRef, parent: str, links: Sequence[SpanRef], shared: Attributes
) -> Span:
    sent = one.sent if one.sent >= 0 else group.began
    attributes: dict[str, str | int | float] = {
        "messaging.destination.partition.id": str(one.slice),
        "messaging.kafka.offset": one.offset,
        "sourced.command": one.command,
        "sourced.outcome": one.outcome,
        "sourced.queue_seconds": max(group.began - sent, 0.0),
    }
    if one.position:
        attributes["sourced.position"] = one.position
    if one.error:
        attributes["error.type"] = one.error
    return Span(
        ref,
        parent,
        f"process {group.topic}",
        Kind.CONSUMER,
        min(sent, group.began),
        group.replied,
        attributes,
        shared,
        links,
        one.error if one.outcome == "failed" else "",
    )


def _of_commit(group: _Group, commit: SpanRef, commands: Sequence[SpanRef]) -> Iterable[Span]:
    """The commit stands in the trace of the first of its commands, and is linked to them all."""
    attributes: Attributes = {
        "sourced.log": group.log,
        "sourced.commit": group.nr,
        "sourced.commands": group.commands,
        "sourced.events": group.events,
        "sourced.bytes": group.size,
    }
    links = commands[:MOST_LINKS]
    name = f"commit {group.type}"
    yield Span(commit, commands[0].span_id, name, Kind.INTERNAL, group.began, group.replied, attributes, links=links)
    for stage, kind, began, ended in (
        ("load", Kind.CLIENT, group.began, group.loaded),
        ("decide", Kind.INTERNAL, group.loaded, group.decided),
        ("write", Kind.CLIENT, group.writes, group.written),
        ("reply", Kind.PRODUCER, group.written, group.replied),
    ):
        yield Span(commit.child(), commit.span_id, f"{stage} {group.type}", kind, began, ended)

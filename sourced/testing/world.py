"""A whole system as a value that takes steps: aggregates, what is on its way between them, timers and a clock.

It follows the engine step by step, with the engine's own handler of commands. Each aggregate has a queue of commands,
first in, first out, as its key has in a partition. A process manager reads the events of each aggregate that it hears
in their order, and sends what its own events cause in their order. A step takes one message of one of these channels;
which one is next is free, so each may be late by as much as one likes, as when a worker stands still.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from aggregates.principal import Principal, process
from aggregates.process_manager import ForeignEvent, ProcessManager, Send
from aggregates.timer import FireTimer, timer
from sourced.testing.channels import Channel, DueTimer, Happened, Inbox, Reader, Waiting
from sourced.testing.wiring import WINDOW, Served, Wiring
from streams.deciding.cache import Aggregate
from streams.deciding.decided_group import DecidedGroup
from streams.deciding.messages import JSON, Envelope, Reply
from streams.journal.port import RecordedEvent, SliceHead

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When every world begins."""
CLOCK = "the clock"

Ref = tuple[str, str]
"""An aggregate: its type and its id."""


class CommandFailed(AssertionError):
    """A command became a dead letter: the domain raised, or said what cannot be kept or read."""


class NotTheSameState(AssertionError):
    """The events of an aggregate give another state when they are read again."""


@dataclass(eq=False)
class World:
    """What there is, and what is under way. `story` gets a line for each step, where it is a list."""

    wiring: Wiring
    story: list[str] | None = None
    now: datetime = START
    events: dict[Ref, list[Happened]] = field(default_factory=lambda: defaultdict(list))
    journal: list[Happened] = field(default_factory=list)
    replies: dict[str, Reply] = field(default_factory=dict)
    timers: dict[str, DueTimer] = field(default_factory=dict)
    """The pending ones by id."""
    outside: dict[str, Send] = field(default_factory=dict)
    """The commands to types that are not there, by command id."""
    channels: dict[str, Channel] = field(default_factory=dict)
    _aggregates: dict[Ref, Aggregate] = field(default_factory=dict)
    _rows: dict[Ref, list[tuple[int, list[RecordedEvent]]]] = field(default_factory=lambda: defaultdict(list))
    _nr: int = 0
    _tickets: int = 0

    # -- steps -----------------------------------------------------------------------------------------

    def ready(self) -> list[Channel]:
        """The channels in which something waits, that which waits longest first."""
        waiting = [(ticket, channel.name) for channel in self.channels.values() if (ticket := channel.ticket)]
        return [self.channels[name] for _, name in sorted(waiting)]

    def run(self, channel: Channel) -> None:
        """Take a step."""
        if self.story is None:
            channel.run()
            return
        said = len(self.story)
        self.story.append(channel.name)  # also where it raises
        result = channel.run()
        self.story[said] = f"{channel.name}: {result}"

    @property
    def next_due(self) -> datetime | None:
        """When the next timer is due that is not yet."""
        due = (timer.due[0] for timer in self.timers.values() if timer.due is not None)
        return min((moment for moment in due if moment > self.now), default=None)

    def _ticket(self) -> int:
        """The number of one more message."""
        self._tickets += 1
        return self._tickets

    def crash(self, type: str, back: int) -> str:
        """The workers of a type end. The next ones read their aggregates from the journal, and do again what was not
        yet said to be done: up to `back` events of each aggregate are heard and sent for once more, and due timers are
        asked again. Raises `NotTheSameState`."""
        for ref in [ref for ref in self._aggregates if ref[0] == type]:
            self._aggregates[ref] = self._read_again(ref)
        for channel in list(self.channels.values()):
            if isinstance(channel, Reader | DueTimer) and channel.name.split(" ")[0] == type:
                channel.again(back, False)
        return f"the workers of {type} crash"

    def check_states(self) -> None:
        """Raise `NotTheSameState` where events that are read again do not give the state that is in memory."""
        for ref in self._aggregates:
            self._read_again(ref)

    # -- commands --------------------------------------------------------------------------------------

    def put(
        self,
        type: str,
        id: str,
        command: str,
        data: bytes,
        command_id: str,
        by: Principal | None = None,
        correlation_id: str = "",
        expecting: str = "",
        forgotten: bool = False,
    ) -> str:
        """A command comes to the queue of its aggregate."""
        envelope = Envelope(
            id=command_id,
            type=command,
            aggregate_id=id,
            data=data,
            content_type=JSON,
            partition=0,
            offset=self._tickets,
            time=self.now,
            correlation_id=correlation_id,
            expected_sequence=expecting,
            principal=by,
        )
        name = f"{type} {id}"
        inbox = self.channels.get(name)
        if inbox is None:
            decide = partial(self._decide, (type, id))
            inbox = self.channels[name] = Inbox(name, decide, self._ticket)
        assert isinstance(inbox, Inbox)
        inbox.waiting.append(Waiting(envelope, self._ticket(), forgotten))
        return f"{command} to {type} {id}"

    def _decide(self, ref: Ref, waiting: Waiting) -> str:
        """Decide a command, and write what it causes. Returns what became of it. Raises `CommandFailed`."""
        type, id = ref
        served, envelope = self.wiring.types[type], waiting.envelope
        aggregate = self.aggregate(ref)
        if waiting.forgotten:
            aggregate.outcomes.pop(envelope.id, None)
        self._nr += 1
        group = DecidedGroup(f"{type}@0", type, served.handler.limits, self._nr, {0: SliceHead()}, self.now)
        verdict = served.handler.decide(envelope, aggregate, group)
        if verdict.failure is not None:
            what = f"{envelope.type} to {type} {id} fails with {verdict.failure}"
            raise CommandFailed(f"{what}\n{verdict.failure.trace}" if verdict.failure.trace else what)
        assert verdict.reply is not None
        self.replies[envelope.id] = verdict.reply
        if verdict.rows:
            self._write(served, ref, verdict.rows)
        return f"{envelope.type}: {_outcome(verdict.reply, verdict.rows)}"

    def aggregate(self, ref: Ref) -> Aggregate:
        """An aggregate as its owner has it in memory."""
        if ref not in self._aggregates:
            self._aggregates[ref] = Aggregate(self.wiring.types[ref[0]].decider.initial)
        return self._aggregates[ref]

    def _write(self, served: Served, ref: Ref, rows: list[RecordedEvent]) -> None:
        self._rows[ref].append((self._nr, rows))
        for index, row in enumerate(rows):
            if row.is_event:
                parts = served.codec.decode(row.data)
                happened = Happened(*ref, self._nr, index, row, parts, self.now, self._ticket(), served)
                self.events[ref].append(happened)
                self.journal.append(happened)
                self._tell(served, happened)
        if ref[0] == timer.type:
            self._follow_timer(ref[1])

    def _tell(self, served: Served, happened: Happened) -> None:
        """Bring an event to those that it concerns."""
        type, id = happened.type, happened.id
        for hearer in map(self.wiring.types.__getitem__, self.wiring.hearers[type]):
            assert hearer.process is not None
            if not {name for name, _ in happened.fields}.isdisjoint(hearer.process.hears[type]):
                self._reader(f"{hearer.type} hears {type} {id}", _Hearer(self, hearer.process).take).append(happened)
        process = served.process
        if process is not None:
            happened.sends = [send for part in happened.parts for send in process.sends(id, part)]
            if happened.sends:
                self._reader(f"{type} {id} sends", _Sender(self, process).take).append(happened)

    def _reader(self, name: str, take: Callable[[Happened, bool], str]) -> list[Happened]:
        reader = self.channels.get(name)
        if reader is None:
            reader = self.channels[name] = Reader(name, take)
        assert isinstance(reader, Reader)
        return reader.events

    def _follow_timer(self, id: str) -> None:
        state, name = self.aggregate((timer.type, id)).state, f"timer {id} is due"
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = DueTimer(name, lambda: self.now, partial(self._ask, id))
        assert isinstance(channel, DueTimer)
        if state.status == "pending":
            channel.due, self.timers[id] = (state.last.due, self._ticket()), channel
        else:
            channel.due = None
            self.timers.pop(id, None)

    def _ask(self, id: str, due: datetime) -> str:
        fire = FireTimer(due)
        return self.put(timer.type, id, type(fire).__name__, msgspec.json.encode(fire), f"fire {id} {due}")

    def _read_again(self, ref: Ref) -> Aggregate:
        served = self.wiring.types[ref[0]]
        before = text_of(self._aggregates[ref].state)  # as it is now: what is changed in place changes there, too
        aggregate = Aggregate(served.decider.initial)
        for nr, rows in self._rows[ref]:
            for row in rows:
                if row.is_event:
                    aggregate.state = served.decider.fold(served.codec.decode(row.data), aggregate.state)
            aggregate.remember(list(rows), nr, WINDOW)
        if before is not None and before != text_of(aggregate.state):
            raise NotTheSameState(
                f"{ref[0]} {ref[1]}: its state in memory is {before}, and read again from its events it is "
                f"{text_of(aggregate.state)}: does evolve, or decide, change a state in place?"
            )
        return aggregate


def text_of(state: Any) -> str | None:
    """What a state holds, as a snapshot would; None for one that JSON cannot hold."""
    try:
        return msgspec.json.encode(state, order="deterministic").decode()
    except Exception:  # a state may raise what it likes
        return None


@dataclass(frozen=True, slots=True)
class _Hearer:
    world: World
    manager: ProcessManager[Any, Any, Any]

    def take(self, happened: Happened, forgotten: bool) -> str:
        """Hear an event: what it means becomes commands to processes."""
        manager = self.manager
        reactions = [
            reaction
            for name, fields in happened.fields
            if name in manager.hears[happened.type]
            for reaction in manager.hear(ForeignEvent(happened.type, happened.id, name, fields))
        ]
        who = process(manager.type, Principal.parse(happened.row.principal))
        put = [
            self.world.put(
                manager.type,
                reaction.process,
                type(reaction.command).__name__,
                msgspec.json.encode(reaction.command),
                f"{happened.event_id}#{number}" if number else happened.event_id,
                who,
                happened.row.correlation_id,
                forgotten=forgotten,
            )
            for number, reaction in enumerate(reactions)
        ]
        return _said(happened, put)


@dataclass(frozen=True, slots=True)
class _Sender:
    world: World
    manager: ProcessManager[Any, Any, Any]

    def take(self, happened: Happened, forgotten: bool) -> str:
        """Send what an event of a process causes."""
        world, put = self.world, []
        who = process(self.manager.type, Principal.parse(happened.row.principal))
        for number, send in enumerate(happened.sends):
            id = send.command_id or f"{happened.event_id}#{number}"
            if send.to in world.wiring.types:
                data = msgspec.json.encode(send.data)
                of = who, happened.row.correlation_id
                put.append(world.put(send.to, send.id, send.command, data, id, *of, forgotten=forgotten))
            else:
                world.outside[id] = send
                put.append(f"{send.command} to {send.to} {send.id}, which is elsewhere")
        return _said(happened, put)


def _said(happened: Happened, put: list[str]) -> str:
    return f"{happened.row.type}, {' and '.join(put) if put else 'nothing'}"


def _outcome(reply: Reply, rows: list[RecordedEvent]) -> str:
    if reply.error is not None:
        return f"rejected, {reply.error.type}"
    if not rows:
        return "was accepted before, nothing"
    return " and ".join(reply.events) if reply.events else "nothing"

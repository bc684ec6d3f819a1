"""A domain whose values change on their way into the journal and back, and a handler of it over a journal in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aggregates.decider import Decider
from schemas.codec import Codec
from schemas.formats import AVRO, Format
from schemas.registry import Schema
from streams.deciding.cache import Cache, encode_snapshots
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup, Verdict
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import JSON, Envelope
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead
from streams.limits import Limits

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass(frozen=True)
class SetAt:
    at: datetime


@dataclass(frozen=True)
class SetAmount:
    amount: Decimal
    note: str | None = None


@dataclass(frozen=True)
class Tell:
    pass


@dataclass(frozen=True)
class Repeat:
    """`times` events."""

    times: int


@dataclass(frozen=True)
class Mark:
    """The time, by default that of the command."""

    at: datetime | None = None
    time_field = "at"


@dataclass(frozen=True)
class AtSet:
    at: datetime


@dataclass(frozen=True)
class AmountSet:
    amount: Decimal


@dataclass(frozen=True)
class Told:
    text: str
    number: int = 0


@dataclass(frozen=True)
class State:
    at: datetime | None = None
    amount: Decimal = Decimal(0)
    told: tuple[str, ...] = ()


Command = SetAt | SetAmount | Tell | Repeat | Mark
Event = AtSet | AmountSet | Told


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case SetAt(at) | Mark(at):
            assert at is not None
            return [] if at == state.at else [AtSet(at)]
        case SetAmount(amount):
            return [AmountSet(amount)]
        case Tell():
            return [Told(f"{state.at} {state.amount}")]
        case Repeat(times):
            return [Told("again", number) for number in range(times)]


def evolve(state: State, event: Event) -> State:
    match event:
        case AtSet(at):
            return replace(state, at=at)
        case AmountSet(amount):
            return replace(state, amount=amount)
        case Told(text):
            return replace(state, told=(*state.told, text))


moment = Decider("moment", State(), decide, evolve)


def schema(name: str, **types: Any) -> Schema:
    fields = [{"name": field, "type": type_} for field, type_ in types.items()]
    return Schema.parse(json.dumps({"type": "record", "name": name, "namespace": "moment", "fields": fields}), 1)


TIME = {"type": "long", "logicalType": "timestamp-millis"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}
EVENTS = [schema("AtSet", at=TIME), schema("AmountSet", amount=MONEY), schema("Told", text="string", number="int")]
COMMANDS = [
    schema("SetAt", at=TIME),
    schema("SetAmount", amount=MONEY, note=["null", "string"]),
    schema("Tell"),
    schema("Repeat", times="long"),
    schema("Mark", at=["null", TIME]),
]


@dataclass
class Desk:
    """Decides the commands of one moment, commit by commit; `restart` forgets what is in memory."""

    format: Format = AVRO
    limits: Limits = Limits()  # noqa: RUF009  (frozen)
    decider: Decider[Any, Any, Any] = moment
    nr: int = 0
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def __post_init__(self) -> None:
        self.events = Codec(EVENTS, self.decider.events, format=self.format)
        self.commands = Codec(COMMANDS, self.decider.commands)
        self.restart()

    def restart(self) -> None:
        self.handler = GroupHandler(
            CommandHandler(
                decider=self.decider,
                events=self.events,
                commands=self.commands,
                window=1_000,
                limits=self.limits,
            ),
            journal=self.journal,
            cache=Cache(10**9),
            log="moment@0",
            slices=1,
        )

    def envelope(self, type: str, data: Any = None, id: str = "", **fields: Any) -> Envelope:
        data = data if isinstance(data, bytes) else json.dumps(data or {}).encode()
        values = {
            "content_type": JSON,
            "partition": 0,
            "offset": self.nr,
            "time": NOW.replace(minute=self.nr % 60),
            **fields,
        }
        return Envelope(id or f"c{self.nr}/{type}", type, "1", data, **values)

    async def decide(self, *envelopes: Envelope, every: int = 10**9) -> list[Verdict]:
        """The verdicts on a group, which is committed and indexed; with `every` events a snapshot is kept."""
        self.nr += 1
        heads = {0: SliceHead(self.nr, self.nr - 1)}
        group = DecidedGroup("moment@0", "moment", self.limits, self.nr, heads, NOW)
        await self.handler.load([envelope.aggregate_id for envelope in envelopes])
        for envelope in envelopes:
            self.handler._commands.decide(envelope, self.handler.touched[envelope.aggregate_id], group)
        commit = Commit("moment@0", self.nr, 1, "o", "t", group.slices, self.nr - 1, NOW, group.events)
        due = [
            aggregate.capture(id, self.decider)
            for id, aggregate in self.handler.touched.items()
            if aggregate.wants_snapshot(every)
        ]
        await self.journal.append(commit)
        self.handler.settle(self.nr - 1)
        await self.journal.derive([commit])
        await self.journal.save_snapshots("moment", encode_snapshots(due))
        return group.verdicts

    async def told(self, type: str, data: Any = None, id: str = "", **fields: Any) -> tuple[str, Sequence[str]]:
        """Status and events, or the error's type, of one command."""
        [verdict] = await self.decide(self.envelope(type, data, id, **fields))
        assert verdict.reply is not None
        error = verdict.reply.error
        return verdict.reply.status, (error.type,) if error else verdict.reply.events

    async def state(self) -> Any:
        await self.handler.load(["1"])
        return self.handler.touched["1"].state

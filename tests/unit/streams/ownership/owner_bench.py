"""Owners of orders over one journal in memory, and what they have sent: the rig of the tests of owners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aggregates.shop.order import order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Envelope, Failure, Message, command_headers
from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import (
    LAST_SEQUENCE,
    Commit,
    Snapshot,
    StoredEvent,
    Unavailable,
    log_name,
)
from streams.limits import Limits
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from tests.command_log import Topic
from tests.newer_code import of_tomorrow
from tests.owners import RunningOwner

SCHEMAS = list(Schemas.load("shop", "order"))
EVENTS = Codec([s for s in SCHEMAS if s.name not in order.commands], order.events)
COMMANDS = Codec([s for s in SCHEMAS if s.name in order.commands], order.commands)
OPEN = {"user_id": "17850", "kind": "sale", "country": "France"}
LINE = {"sku": "85123A", "description": "HOLDER", "quantity": 6, "unit_price": "2.55"}


@dataclass
class Sent(Replies):
    """Keeps what an owner sends, in order."""

    log: list[tuple[str, Any]] = field(default_factory=list)

    async def dead_letters(self, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        self.log.extend(("dead letter", (letter, failure.type)) for letter, failure in letters)

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        self.log.extend(("reply", json.loads(value)) for _, _, value in replies)

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        self.log.append(("hint", (seat, commit.nr)))

    @property
    def replied(self) -> list[Any]:
        return [reply for kind, reply in self.log if kind == "reply"]


class Moody(MemoryJournal):
    """The journal in memory, whose appends may do as a test says, and where newer code has written some aggregates."""

    on_append: Callable[[Commit], Awaitable[None]] | None = None

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.newer: set[str] = set()

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        found = await super().events(type, aggregate_id, from_sequence, to_sequence)
        return of_tomorrow(found) if aggregate_id in self.newer else found

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        if self.on_append is not None:
            await self.on_append(commit)
        await super().append(commit, snapshots)


class Waiting(WaitingLog):
    """Keeps why an owner waits, and an empty reason where it goes on. What it says of slices is among the troubles."""

    def __init__(self, name: str, supervisor: Supervisor, reasons: list[str]) -> None:
        super().__init__(name, supervisor, asyncio.Event())
        self.reasons = reasons

    def begin(self, error: Exception, reason: str = "") -> None:
        self.reasons.append(reason)

    def end(self) -> None:
        self.reasons.append("")


ONE_SLICE = LogSpan(number=0, seat=0, slices=(0,))


class Bench:
    """Owners of `order@0` over one store, each with what it sent, and a topic that hands out offsets.

    It is the only log, with the only slice, unless a test says otherwise.
    """

    def __init__(self, slices: int = 1, span: LogSpan = ONE_SLICE) -> None:
        self.slices = slices
        self.span = span
        self.store = MemoryStore()
        self.topic = Topic(slices=slices)
        self.offset = 0
        self.waits: list[str] = []
        self.owners: list[RunningOwner] = []
        self.supervisor = Supervisor()
        self.waiting = Waiting(log_name("order", span.number), self.supervisor, self.waits)

    advice = ""
    """What an owner knows of why somebody sends to a wrong partition."""

    @property
    def lost(self) -> list[RunningOwner]:
        """Those that are lost."""
        return [owner for owner in self.owners if owner.lost is not None]

    async def owner(
        self, topic_id: str = "t1", cache: int = 1_000_000, every: int = 100, group_bytes: int = 10_000
    ) -> tuple[RunningOwner, Moody, Sent]:
        """One that has taken over, and serves."""
        owner, journal, sent = await self.new_owner(topic_id, cache, every, group_bytes)
        await owner.take_over()
        owner.resume()
        return owner, journal, sent

    async def new_owner(
        self, topic_id: str = "t1", cache: int = 1_000_000, every: int = 100, group_bytes: int = 10_000
    ) -> tuple[RunningOwner, Moody, Sent]:
        """One that has not taken over yet."""
        journal, sent = Moody(self.store), Sent()
        await journal.create()
        await journal.open()
        handler = GroupHandler(
            CommandHandler(
                decider=order,
                events=EVENTS,
                commands=COMMANDS,
                window=1_000,
                limits=Limits(group_commands=50, group_bytes=group_bytes, group_linger=0.001, snapshot_every=every),
            ),
            journal=journal,
            cache=Cache(cache),
            log=log_name("order", self.span.number),
            slices=self.slices,
            advice=lambda: self.advice,
        )
        owner = RunningOwner(
            span=self.span,
            topic_id=topic_id,
            identity=f"owner {len(self.owners)}",
            journal=journal,
            handler=handler,
            replies=sent,
            commands=self.topic,
            waiting=self.waiting,
        )
        self.owners.append(owner)
        return owner, journal, sent

    def command(
        self, type: str, data: Any = None, order: str = "1", id: str = "", offset: int | None = None
    ) -> Message:
        at = self.offset if offset is None else offset
        self.offset = max(self.offset, at + 1)
        headers = command_headers(id or f"c{at}", type, "/test", "replies")
        value = json.dumps(data or {}).encode()
        return Message(0, at, order.encode(), value, headers, 1.0)

    async def close(self) -> None:
        for owner in self.owners:
            await owner.close()


async def stuck(bench: Bench) -> tuple[RunningOwner, Sent]:
    """An owner in the middle of a group, whose journal is down."""
    owner, journal, sent = await bench.owner()
    tried = asyncio.Event()

    async def down(commit: Commit) -> None:
        tried.set()
        raise Unavailable("down")

    journal.on_append = down
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await tried.wait()
    return owner, sent

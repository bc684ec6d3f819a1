"""Orders written to a journal by real owners, in two logs of two slices, so that there is something to verify."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from aggregates.decider import Decider
from aggregates.shop.order import order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Envelope, Failure, Message, command_headers
from streams.journal.layout import first_layout
from streams.journal.port import Commit, Journal, RecordedEvent, SliceHead, StoredEvent, log_name
from streams.journal.position import position_text, stream_name
from streams.limits import Limits
from streams.ownership.replies import Replies
from streams.slices import slice_of
from streams.verification.findings import Finding
from streams.verification.verification import Verification
from tests.command_log import Topic
from tests.owners import RunningOwner

LOGS, WINDOW, EVERY = 2, 10, 4
LAYOUT = first_layout(4, LOGS)

_SCHEMAS = list(Schemas.load("shop", "order"))
EVENTS = Codec([schema for schema in _SCHEMAS if schema.name not in order.commands], order.events)
_COMMANDS = Codec([schema for schema in _SCHEMAS if schema.name in order.commands], order.commands)

OPEN = {"user_id": "17850", "kind": "sale", "country": "France"}
LINE = {"sku": "85123A", "description": "HOLDER", "quantity": 6, "unit_price": "2.55"}


class Nobody(Replies):
    """Messages that nobody reads."""

    def __init__(self) -> None:
        pass

    async def dead_letters(self, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        raise AssertionError("no command of these fails")

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        pass

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        pass


@dataclass
class Orders:
    """The orders of a type of its own, in `journal`."""

    journal: Journal
    decider: Decider[Any, Any, Any] = field(
        default_factory=lambda: dataclasses.replace(order, type=f"o{uuid.uuid4().hex[:8]}")
    )
    offsets: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(LAYOUT.slices), 0))
    """Of the next command, by slice."""

    @property
    def type(self) -> str:
        return self.decider.type

    def key(self, log: int, number: int = 0) -> str:
        """The order of that number in a log; its first slice has every other one of them."""
        slice = LAYOUT.log(log).slices[number % 2]
        keys = (key for n in itertools.count() if slice_of(key := f"o/{n}", LAYOUT.slices) == slice)
        return next(itertools.islice(keys, number // 2, None))

    def name(self, log: int) -> str:
        """The name of a log."""
        return log_name(self.type, log)

    def place(self, row: StoredEvent) -> str:
        """The position of a row."""
        slice = slice_of(row.event.aggregate_id, LAYOUT.slices)
        return position_text(stream_name(self.type, slice), row.nr, row.index)

    async def repaired(self, found: list[Finding]) -> list[Finding]:
        """What disagrees after all that can be repaired was."""
        for disagreement in found:
            if disagreement.repair is not None:
                assert await disagreement.repair()
        return await self.verify()

    async def log(self, log: int) -> list[Commit]:
        """All commits of a log."""
        found: list[Commit] = []
        while read := await self.journal.commits(self.name(log), len(found), 1000):
            found += read
        return found

    async def owner(self, log: int, name: str = "a") -> RunningOwner:
        """One that serves the log; whoever did before is fenced."""
        await self.journal.change_layout(self.type, LAYOUT)
        handler = GroupHandler(
            CommandHandler(
                decider=self.decider,
                events=EVENTS,
                commands=_COMMANDS,
                window=WINDOW,
                limits=Limits(group_commands=5, group_linger=0.001, snapshot_every=EVERY),
            ),
            journal=self.journal,
            cache=Cache(1_000_000),
            log=self.name(log),
            slices=LAYOUT.slices,
        )
        owner = RunningOwner(
            span=LAYOUT.log(log),
            topic_id="t1",
            identity=name,
            journal=self.journal,
            handler=handler,
            replies=Nobody(),
            commands=Topic(),
        )
        await owner.take_over()
        self.offsets.update(owner.covered)
        owner.resume()
        return owner

    async def send(self, owner: RunningOwner, key: str, type: str, data: Any = None) -> None:
        """Give the owner a command."""
        slice = slice_of(key, LAYOUT.slices)
        offset = self.offsets[slice]
        self.offsets[slice] += 1
        headers = command_headers(f"{slice}-{offset}", type, "/test")
        value = json.dumps(data or {}).encode()
        await owner.deliver(slice, [Message(slice, offset, key.encode(), value, headers, 1.0)])

    async def settled(self, owner: RunningOwner) -> None:
        """Wait until commits cover all that the owner was given."""
        async with asyncio.timeout(10):
            while any(owner.covered[slice] < self.offsets[slice] for slice in owner.slices):
                assert owner.lost is None, owner.why_lost
                await asyncio.sleep(0.002)

    async def write(self) -> None:
        """In each log: three orders of eight events and a command without one, by two owners in turn, snapshots;
        all of it is derived, and the head says so."""
        for log in range(LOGS):
            keys = [self.key(log, number) for number in range(3)]
            for name in ("a", "b"):
                owner = await self.owner(log, name)
                commands = [("OpenOrder", OPEN)] if name == "a" else []
                commands += [("AddLine", {**LINE, "sku": f"{name}{number}"}) for number in range(3)]
                commands += [("PlaceOrder", None), ("PlaceOrder", None)] if name == "b" else []
                for command in commands:
                    for key in keys:
                        await self.send(owner, key, *command)
                await self.settled(owner)
                await owner.close()
            owner = await self.owner(log, "c")
            for _ in range(2):  # each commit says what was derived before it
                await self.send(owner, keys[0], "AddLine", LINE)  # rejected, so there is nothing to write
                await self.settled(owner)
                async with asyncio.timeout(10):
                    while owner.head is None or owner.derivation.derived_nr < owner.head.nr:
                        await asyncio.sleep(0.005)
            await owner.close()
        await self.journal.save_schemas(EVENTS.schemas)

    def verification(self, only: int | None = None) -> Verification:
        return Verification(self.journal, self.decider, EVENTS, WINDOW, only=only)

    async def verify(self, only: int | None = None) -> list[Finding]:
        """All that disagrees."""
        return [found async for found in self.verification(only).run()]


def _order_of_a_type_of_its_own() -> Decider[Any, Any, Any]:
    return dataclasses.replace(order, type=f"o{uuid.uuid4().hex[:8]}")


def next_commit(head: Commit, *events: RecordedEvent, offset: int = 0, **changes: Any) -> Commit:
    """What its owner would append next, with one more command of its first slice, but for the changes. `offset` is that
    of the command, where it is another than the next."""
    nr = head.nr + 1
    slices = dict(head.slices)
    first = min(slices)
    slices[first] = SliceHead(offset or slices[first].offset + 1, slices[first].eventful_nr)
    for event in events:
        if event.is_event and (slice := slice_of(event.aggregate_id, LAYOUT.slices)) in slices:
            slices[slice] = SliceHead(slices[slice].offset, nr)
    return replace(replace(head, nr=nr, slices=slices, events=events), **changes)

"""Owners of `ledger@0` over the journal in memory, and what they send: for tests of what one partition does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.deciding.cache import Aggregate, Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.loading import load_aggregate
from streams.deciding.messages import RETRY_OF, Envelope, Failure, Message, command_headers
from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Snapshot, Unavailable
from streams.limits import Limits
from streams.ownership.replies import Replies
from streams.principals.key_ring import KeyRing
from tests.command_log import Topic
from tests.fragile.ledger import codecs, ledger
from tests.owners import RunningOwner

LOG = "ledger@0"
SPAN = LogSpan(number=0, seat=0, slices=(0,))


@dataclass
class Outbox(Replies):
    """Keeps what it is given, in order."""

    letters: list[tuple[Envelope, Failure]] = field(default_factory=list)
    replied: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[tuple[int, int]] = field(default_factory=list)

    async def dead_letters(self, letters: Sequence[tuple[Envelope, Failure]]) -> None:
        self.letters.extend(letters)

    async def drop(self, places: Sequence[tuple[int, int]]) -> None:
        self.dropped.extend(places)

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        self.replied.extend(json.loads(value) for _, _, value in replies)

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        pass

    def to(self, id: str) -> list[str]:
        """What became of a command, each time that it was answered: the status, or the error's type."""
        return [
            reply["error"]["type"] if reply["error"] else reply["status"]
            for reply in self.replied
            if reply["command_id"] == id
        ]


class Moody(MemoryJournal):
    """The journal in memory, whose appends may do as a test says, and whose derived rows may not be written."""

    on_append: Callable[[Commit], Awaitable[None]] | None = None
    derives = True

    async def append(self, commit: Commit, snapshots: Sequence[Snapshot] = ()) -> None:
        if self.on_append is not None:
            await self.on_append(commit)
        await super().append(commit, snapshots)

    async def derive(self, commits: Sequence[Commit]) -> None:
        if not self.derives:
            raise Unavailable("no derived rows")
        await super().derive(commits)


class Ledgers:
    """A command topic of one partition, and one owner of it after another.

    `mended` says whether the bug is gone; `decided` and `evolving` are called by the domain, and may raise.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.cache = 1_000_000
        self.mended = False
        self.decided: Callable[[], object] = lambda: None
        self.evolving: Callable[[], object] = lambda: None
        self.outbox = Outbox()
        self.store = MemoryStore()
        self.topic_id = "t1"
        self.topic: list[Message] = []
        self.keys = KeyRing()
        self.decider = ledger(self._is_mended, lambda: self.evolving())
        self._codecs = codecs(self.decider)

    def _is_mended(self) -> bool:
        self.decided()
        return self.mended

    async def take_over(self) -> None:
        """A new owner with a cold cache takes the partition; the old one is left as it is, like a zombie."""
        self.journal = Moody(self.store)
        await self.journal.create()
        events, commands = self._codecs
        handler = GroupHandler(
            CommandHandler(
                decider=self.decider,
                events=events,
                commands=commands,
                window=1_000,
                limits=self.limits,
                keys=self.keys,
            ),
            journal=self.journal,
            cache=Cache(self.cache),
            log=LOG,
            slices=1,
        )
        self.owner = RunningOwner(
            span=SPAN,
            topic_id=self.topic_id,
            identity="me",
            journal=self.journal,
            handler=handler,
            replies=self.outbox,
            commands=Topic(self.topic_id),
        )
        await self.owner.take_over()
        self.owner.resume()

    async def crash(self) -> None:
        """The owner is gone at once, whatever it was about; another takes over."""
        await self.owner.suspend(0)
        await self.owner.close(0)
        await self.take_over()

    def write(self, ledger: str, type: str, id: str = "", retry: bool = False, deadline: str = "", **data: Any) -> str:
        """Put a command into the topic; its id."""
        id = id or f"c{len(self.topic)}"
        headers = command_headers(id, type, "/test", "replies", deadline=deadline)
        if retry:
            headers.append((RETRY_OF, b"0:0"))
        self.topic.append(Message(0, len(self.topic), ledger.encode(), json.dumps(data).encode(), headers, 1.0))
        return id

    def again(self, id: str) -> str:
        """Put a command into the topic as `dead-letters retry` does; its id."""
        message = next(m for m in self.topic if dict(m.headers)["ce_id"].decode() == id)
        headers = [*message.headers, (RETRY_OF, b"0:0")]
        self.topic.append(Message(0, len(self.topic), message.key, message.value, headers, 1.0))
        return id

    def become(self, id: str, type: str) -> None:
        """Make a command another, as if the domain, once mended, took it so."""
        for offset, message in enumerate(self.topic):
            headers = dict(message.headers)
            if headers["ce_id"].decode() == id:
                changed = list({**headers, "ce_type": type.encode()}.items())
                self.topic[offset] = msgspec.structs.replace(message, headers=changed)

    async def feed(self) -> None:
        """Hand the owner all that it has not had."""
        while (offset := self.owner.next_offsets[0]) < len(self.topic):
            await self.owner.deliver(0, [self.topic[offset]])

    async def poisoned(self, *waiting: int, ledger: str = "a") -> None:
        """A ledger with 1 in it, in quarantine for `poison`, which posts 2; posts of `waiting` wait."""
        self.write(ledger, "Post", amount=1)
        self.write(ledger, "PostBadly", "poison", amount=2)
        for amount in waiting:
            self.write(ledger, "Post", f"w{amount}", amount=amount)
        await self.settled()

    async def covered(self) -> None:
        """Return when the journal covers all of the topic."""
        await self.feed()
        async with asyncio.timeout(10):
            while self.owner.covered.get(0, 0) < len(self.topic):
                await asyncio.sleep(0.001)

    async def settled(self) -> None:
        """Return when the journal covers all of the topic, and its derived rows are there."""
        await self.covered()
        assert self.owner.head is not None
        async with asyncio.timeout(10):
            while self.owner.derivation.derived_nr < self.owner.head.nr:
                await asyncio.sleep(0.001)

    async def loaded(self, ledger: str) -> Aggregate:
        """A ledger as the journal has it."""
        return await load_aggregate(self.journal, self.decider, self._codecs[0], ledger, 1_000)

    async def posted(self, ledger: str) -> tuple[int, ...]:
        """The amounts in a ledger, in their order."""
        return (await self.loaded(ledger)).state.posted  # type: ignore[no-any-return]

    async def waiting(self, ledger: str) -> list[str]:
        """The ids of the commands that wait."""
        quarantine = (await self.loaded(ledger)).quarantine
        return [waiting.id for waiting in quarantine.waiting] if quarantine is not None else []

    @property
    def log(self) -> list[Commit]:
        return self.store.log[LOG]

    async def close(self) -> None:
        await self.owner.close()


Make = Callable[[Limits], Awaitable[Ledgers]]
"""Makes ledgers that are served."""

"""Command workers, wired as `command_app` wires them; what `ServedType` does is called as it stands there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from streams.concurrency.tasks import cancel
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message
from streams.journal.layout import LogSpan
from streams.journal.port import log_name
from streams.kafka.command_reader import KafkaCommandReader
from streams.kafka.command_slices import CommandSlices
from streams.kafka.topic_metadata import TopicMetadata
from streams.limits import Limits
from streams.ownership.assignment import Assignment
from streams.ownership.layout_watch import LayoutWatch
from streams.ownership.owner import Owner
from streams.ownership.replies import Replies
from streams.ownership.waiting import WaitingLog
from streams.principals.key_ring import ContextKeys, KeyRing, encode_keys
from streams.served_type import ServedType
from tests.simulation.account import COMMANDS, EVENTS, TYPE, account
from tests.simulation.client import TYPE_KEY
from tests.simulation.commands import SimulatedCommandReader
from tests.simulation.group import Consumer
from tests.simulation.kafka import SimulatedBroker
from tests.simulation.kept import WatchedSupervisor
from tests.simulation.stuck import JournalOfVersion
from tests.simulation.topics import (
    COMMANDS_TOPIC,
    COMMITS_TOPIC,
    DEAD_LETTERS_TOPIC,
    EVENTS_TOPIC,
    HINT_KEY,
    LOGS_TOPIC,
)

if TYPE_CHECKING:
    from streams.kafka.client import KafkaClient
    from tests.simulation.world import World


START_AGAIN_SECONDS = 1.0


@cache
def _handler(window: int, limits: Limits) -> CommandHandler:
    """One of these for all owners, as `ServedType` has it: it keeps nothing of what it decides."""
    keys = KeyRing()
    keys.take(SimpleNamespace(key=b"k1", value=encode_keys(ContextKeys({TYPE: TYPE_KEY.hex()}))))
    return CommandHandler(decider=account, events=EVENTS, commands=COMMANDS, window=window, limits=limits, keys=keys)


class WatchedReplies(Replies):
    """The worker's replies; whoever watches sees the replies as the owner hands them over."""

    def __init__(self, world: World, broker: KafkaClient) -> None:
        super().__init__(broker, COMMITS_TOPIC, COMMANDS_TOPIC, DEAD_LETTERS_TOPIC, lambda: HINT_KEY)
        self._world = world

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        self._world.checks.replied(replies)
        await super().replies(replies)


class WatchedOwner(Owner):
    """An owner whose queue is watched."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(**options)
        self._world = world

    async def deliver(self, slice: int, messages: Iterable[Message]) -> None:
        await super().deliver(slice, self._watched(messages))

    def _watched(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            yield message
            self._world.checks.bounds(self)


class CommandWorker:
    """Owns the logs whose seats its group gives it, and answers."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._journal = world.journal()
        self._broker = SimulatedBroker(world, world.shape.partitions)
        self._replies = WatchedReplies(world, self._broker)
        self._owners = 0
        self._supervisor = WatchedSupervisor(world)
        self.ownership = Assignment(TYPE, self, self._supervisor)
        self.layout = LayoutWatch(self._journal, TYPE, self._broker, LOGS_TOPIC)
        self._seats: list[int] = []
        self._consumer = Consumer(
            world, world.command_group, name, (LOGS_TOPIC,), self._revoke, self._assign, receiver=self.layout
        )
        self.stopping = asyncio.Event()

    async def main(self) -> None:
        """Serve until told to stop."""
        await self._start()
        if self.stopping.is_set():
            return
        following = self._supervisor.keep("the layout", self._follow_layout)
        serving = asyncio.create_task(self._consumer.run())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        await self.ownership.leave()
        await self._consumer.leave()
        await cancel(following)
        await self.ownership.close()
        serving.cancel()

    async def _start(self) -> None:
        """A worker that fails at its start ends, and whoever runs it starts it again."""
        while not self.stopping.is_set():
            try:
                await self.layout.reader.look()
                return
            except Exception as error:
                self._world.note("not started", self._name, repr(error))
                await asyncio.sleep(START_AGAIN_SECONDS)

    async def _assign(self, seats: list[int]) -> None:
        """As `ServedType.assign`."""
        self._seats = seats
        await self.ownership.assign(seats, self.layout.reader.layout)

    async def _revoke(self) -> None:
        side: Any = self
        await ServedType.revoke(side)

    async def _follow_layout(self) -> None:
        side: Any = self
        await ServedType.follow_layout(side)

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        await self.layout.note_seal(span, nr)

    def new_owner(self, span: LogSpan, parents: Sequence[LogSpan], topic_id: str, waiting: WaitingLog) -> Owner:
        shape = self._world.shape
        handler = GroupHandler(
            _handler(shape.dedupe_window, shape.limits),
            journal=JournalOfVersion(self._world, self._name),  # type: ignore[arg-type]
            cache=Cache(shape.cache_weight),
            log=log_name(TYPE, span.number),
            slices=shape.partitions,
        )
        self._owners += 1
        return WatchedOwner(
            self._world,
            span=span,
            parents=parents,
            topic_id=topic_id,
            identity=f"{self._name}/{self._owners}",
            journal=self._journal,
            handler=handler,
            replies=self._replies,
            commands=CommandSlices(self._broker, COMMANDS_TOPIC, span.slices, EVENTS_TOPIC),
            waiting=waiting,
        )

    def new_reader(self, slices: Sequence[int]) -> KafkaCommandReader:
        return SimulatedCommandReader(self._world, slices)

    async def describe(self) -> TopicMetadata | None:
        return (await self._broker.describe([COMMANDS_TOPIC])).get(COMMANDS_TOPIC)

    async def confirmed(self) -> None:
        await self._consumer.confirmed()

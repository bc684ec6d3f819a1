"""The topics `timer-commands` and `order-commands`, a journal, a clock, and one owner of timers after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aggregates.timer import timer
from streams.aggregate_type import AggregateType
from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, command_headers
from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Snapshot
from streams.kafka.client import ProducerRecord
from streams.kafka.topic_metadata import TopicMetadata
from streams.limits import Limits
from streams.moments import in_utc
from streams.observability.event_traces import SendTraces
from streams.observability.instruments import Instruments
from streams.observability.traces import HEADER
from streams.ownership.replies import Replies
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.process_signature import ProcessSignature
from streams.processes.timer_watch import PAGE_TYPE, TimerWatch
from streams.settings import Settings
from streams.slices import partition_of
from tests.command_log import Topic
from tests.kept_spans import KeptSpans
from tests.owners import RunningOwner
from tests.unit.until import until

SLICES = 4
CONTEXT = AggregateType("timers", timer, Settings(journal_url="memory://", partitions=SLICES), "engine")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SPAN = LogSpan(number=0, seat=0, slices=tuple(range(SLICES)))


class NoReplies(Replies):
    """Nobody waits for a reply."""

    def __init__(self) -> None:
        pass

    async def dead_letters(self, letters: Sequence[Any]) -> None:
        raise AssertionError(letters)

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        pass

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        pass


class World:
    """The topics `timer-commands` and `order-commands`, a journal, a clock, and one owner after the other."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = MemoryJournal(self.store)
        self.watched = MemoryJournal(self.store)
        """The journal as the watch sees it."""
        self.supervisor = Supervisor()
        self.instruments = Instruments()
        self.now = NOON
        self.commands: list[Message] = []
        """All that were sent, and in `topic` those of each slice."""
        self.topic: list[list[Message]] = [[] for _ in range(SLICES)]
        self.fire_ids: list[str] = []
        """Of each `FireTimer` that was sent."""
        self.sent: list[tuple[str, str, str]] = []
        """Order, command id and correlation id of each command that a timer has sent."""
        self.traces: list[tuple[str, str, str]] = []
        """Command, `ce_traceparent` and `traceparent` of each command that was sent here."""
        self.spans: KeptSpans | None = None
        self.holds_back = False
        """Whether `FireTimer` stays on Kafka, unread."""
        self.owners: list[RunningOwner] = []

    # -- Kafka -------------------------------------------------------------------------------------

    async def existing(self, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
        return {name: TopicMetadata("id", 1) for name in topics}

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        await asyncio.sleep(0)
        for key, value, headers in records:
            assert partition == partition_of(key or b"", SLICES if topic == "timer-commands" else 1)
            texts = {name: text.decode() for name, text in headers}
            self.traces.append((texts["ce_type"], texts.get("ce_traceparent", ""), texts.get(HEADER, "")))
            if topic == "order-commands":
                self.sent.append(((key or b"").decode(), texts["ce_id"], texts["ce_correlationid"]))
            else:
                self.fire_ids.append(texts["ce_id"])
                self.put((key or b"").decode(), value or b"", list(headers))
        if topic == "timer-commands" and not self.holds_back:
            await self.read()
        return len(self.commands) - 1

    def put(self, id: str, data: bytes, headers: list[tuple[str, bytes]]) -> None:
        slice = partition_of(id.encode(), SLICES)
        offset = len(self.topic[slice])
        self.commands.append(Message(slice, offset, id.encode(), data, headers, self.now.timestamp()))
        self.topic[slice].append(self.commands[-1])

    def lose(self, number: int) -> None:
        """So many commands, the last ones, are lost."""
        for _ in range(number):
            self.topic[self.commands.pop().partition].pop()

    async def read(self) -> None:
        """The owner reads what it has not read."""
        owner = self.owners[-1]
        for slice, messages in enumerate(self.topic):
            await owner.deliver(slice, messages[owner.next_offsets[slice] :])

    @property
    def pages(self) -> list[Snapshot]:
        return [page for (type, _), page in self.store.snapshots.items() if type == PAGE_TYPE]

    # -- owners ------------------------------------------------------------------------------------

    async def take_over(self) -> RunningOwner:
        """A new owner, who knows nothing of the one before."""
        broker: Any = self
        dispatcher = CommandDispatcher(
            sends=timer.sends,
            codec=CONTEXT.events,
            journal=self.journal,
            broker=broker,
            namespace="",
            source="/timers",
            slices=SLICES,
            dead_letters_topic="timer-dead-letters",
            signature=ProcessSignature("timer"),
        )
        commands = CommandHandler(
            decider=timer.decider,
            events=CONTEXT.events,
            commands=CONTEXT.commands,
            window=1_000,
            limits=Limits(group_linger=0.001),
            check=dispatcher.check,
        )
        owner = RunningOwner(
            span=SPAN,
            topic_id="t1",
            identity=f"owner {len(self.owners)}",
            journal=self.journal,
            handler=GroupHandler(commands, journal=self.journal, cache=Cache(1_000_000), log="timer@0", slices=SLICES),
            replies=NoReplies(),
            commands=Topic(),
            dispatch=dispatcher.dispatch,
            follower=TimerWatch(
                CONTEXT,
                SPAN,
                self.watched,
                broker,
                self.supervisor,
                self.instruments,
                traces=SendTraces(self.spans, "timer") if self.spans is not None else None,
                now=lambda: self.now,
            ),
        )
        self.owners.append(owner)
        await owner.take_over()
        owner.resume()
        await self.read()
        return owner

    def kill(self) -> None:
        """The owner of now does nothing any more, and nothing of it is written down."""
        owner = self.owners[-1]
        owner._follower.lost()
        for task in (owner.running, owner._deriving):
            if task is not None:
                task.cancel()

    async def schedule(self, traceparent: str = "", **dues: datetime) -> None:
        """Timers of these ids, which cancel the orders of the same ids; decided on return."""
        for id, due in dues.items():
            fields = {"due": in_utc(due), "to": "order", "id": id, "command": "CancelOrder"}
            await self.tell(id, "ScheduleTimer", fields, traceparent)
        await self.decided()

    async def tell(self, id: str, command: str, fields: Any, traceparent: str = "") -> None:
        headers = command_headers(
            f"c{len(self.commands)}", command, "/test", correlation_id="placing", traceparent=traceparent
        )
        self.put(id, json.dumps(fields).encode(), headers)
        await self.read()

    async def decided(self) -> None:
        await until(lambda: sum(self.owners[-1].covered.values()) == len(self.commands))

    async def orders(self, *expected: str) -> None:
        """Exactly these orders have got a command, of one id each, and none follows."""
        await until(lambda: {order for order, _, _ in self.sent} == set(expected))
        await self.quiet()
        assert sorted(expected) == sorted(order for order, _, _ in set(self.sent))

    async def quiet(self) -> None:
        """Time enough for a watch to do what it is about to do."""
        await asyncio.sleep(0.05)

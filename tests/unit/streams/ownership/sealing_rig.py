"""Workers that own logs over one journal in memory and one topic of commands, and logs that are split and merged."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aggregates.shop.order import order
from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import command_headers
from streams.journal.layout import Layout, LogSpan
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Unavailable, log_name
from streams.kafka.topic_metadata import TopicMetadata
from streams.limits import Limits
from streams.ownership.assignment import Assignment
from streams.ownership.layout_watch import LayoutWatch
from streams.ownership.owner import Owner
from streams.ownership.waiting import WaitingLog
from streams.slices import slice_of
from tests.command_log import Topic
from tests.contract.orders import _COMMANDS, EVENTS, LINE, OPEN, WINDOW, Nobody

SLICES, LOGS, SECONDS = 4, 2, 20.0
KEYS = {slice: [f"o{n}" for n in range(200) if slice_of(f"o{n}", SLICES) == slice][:3] for slice in range(SLICES)}


class Commands:
    """The command topic, which grows while it is read."""

    def __init__(self) -> None:
        self.records: dict[int, list[Any]] = {slice: [] for slice in range(SLICES)}
        self.grown = asyncio.Condition()
        self.number = itertools.count()

    async def send(self, key: str, type: str, data: Any) -> None:
        """One more command."""
        slice, number = slice_of(key, SLICES), next(self.number)
        value = json.dumps(data).encode()
        headers = command_headers(f"c{number}", type, "/test")
        self.records[slice].append(_Record(len(self.records[slice]), key.encode(), value, headers, slice))
        async with self.grown:
            self.grown.notify_all()


class _Record:
    timestamp = 1_000

    def __init__(self, offset: int, key: bytes, value: bytes, headers: Sequence[Any], partition: int) -> None:
        self.offset, self.key, self.value, self.headers, self.partition = offset, key, value, headers, partition


class Reader:
    """Reads slices of it."""

    def __init__(self, commands: Commands, slices: Iterable[int]) -> None:
        self._commands, self._slices = commands, list(slices)

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def run(self, start: Mapping[int, int], receiver: Any) -> None:
        at = dict(start)
        while True:
            for slice in self._slices:
                if records := self._commands.records[slice][at[slice] : at[slice] + 3]:
                    await receiver.deliver(slice, records)
                    at[slice] += len(records)
            if all(at[slice] == len(self._commands.records[slice]) for slice in self._slices):
                async with self._commands.grown:
                    await self._commands.grown.wait()
            await asyncio.sleep(0)


class Announcements:
    """What Kafka brings to the workers that have a seat."""

    def __init__(self) -> None:
        self.watches: list[LayoutWatch] = []
        self.seconds = 0.0
        """So long it takes."""

    async def publish(self, topic: str, seat: int, records: Sequence[Any]) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        for watch in self.watches:
            watch.look_soon()


class Worker:
    """One worker, with some seats."""

    def __init__(self, rig: Rig, name: str, journal: MemoryJournal | None = None) -> None:
        self.rig, self.name, self.journal = rig, name, journal or rig.journal
        self.seats: set[int] = set()
        self.supervisor = Supervisor()
        self.ownership = Assignment("order", self, self.supervisor)  # type: ignore[arg-type]
        self.watch = LayoutWatch(self.journal, "order", rig.announcements, "order-logs")  # type: ignore[arg-type]
        self.fails_to_note = 0
        self.sees_the_topic = True
        self.owners: list[Owner] = []

    async def start(self, *seats: int) -> None:
        """Begin with these seats."""
        self.seats = set(seats)
        self.rig.announcements.watches.append(self.watch)
        await self.ownership.assign(self.seats, await self.watch.reader.look())
        self._following = self.supervisor.keep("layout", lambda: self.watch.follow(self._follow))

    async def _follow(self, layout: Layout) -> None:
        await self.ownership.assign(self.seats, layout)

    async def stop(self) -> None:
        """Let go of everything."""
        self._following.cancel()
        await self.ownership.close()

    def new_owner(self, span: LogSpan, parents: Sequence[LogSpan], topic_id: str, waiting: WaitingLog) -> Owner:
        limits = Limits(group_commands=5, group_linger=0.0, snapshot_every=4)
        handler = GroupHandler(
            CommandHandler(decider=order, events=EVENTS, commands=_COMMANDS, window=WINDOW, limits=limits),
            journal=self.journal,
            cache=Cache(1_000_000),
            log=log_name("order", span.number),
            slices=SLICES,
        )
        owner = Owner(
            span=span,
            parents=parents,
            topic_id=topic_id,
            identity=f"{self.name}{len(self.owners)}",
            journal=self.journal,
            handler=handler,
            replies=Nobody(),
            commands=Topic(slices=SLICES),
            waiting=waiting,
        )
        self.owners.append(owner)
        return owner

    def new_reader(self, slices: Sequence[int]) -> Reader:
        return Reader(self.rig.commands, slices)

    async def describe(self) -> TopicMetadata | None:
        return TopicMetadata("t1", SLICES) if self.sees_the_topic else None

    async def confirmed(self) -> None:
        pass

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        if self.fails_to_note:
            self.fails_to_note -= 1
            raise Unavailable("the journal does not answer")
        await self.watch.note_seal(span, nr)


class Rig:
    """A type with orders of all slices, and workers."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = MemoryJournal(self.store)
        self.commands = Commands()
        self.announcements = Announcements()
        self.stack = AsyncExitStack()
        self._sending: asyncio.Task[None] | None = None

    async def worker(self, name: str, *seats: int) -> Worker:
        worker = Worker(self, name)
        await worker.start(*seats)
        self.stack.push_async_callback(worker.stop)
        return worker

    async def change(self, layout: Layout) -> None:
        """Plan it, and say so."""
        assert await self.journal.change_layout("order", layout) == layout
        await self.announcements.publish("order-logs", 0, [])

    def send_for_ever(self) -> None:
        """An order is opened for each key, and then lines are added to all in turn."""
        self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        keys = [key for keys in zip(*KEYS.values(), strict=True) for key in keys]
        for key in keys:
            await self.commands.send(key, "OpenOrder", OPEN)
        for number in itertools.count():
            for key in keys:
                await self.commands.send(key, "AddLine", {**LINE, "sku": f"s{number}"})
            await asyncio.sleep(0.002)

    async def sent(self) -> None:
        """Send no more, and wait until all is done."""
        assert self._sending is not None
        self._sending.cancel()
        await self.until(lambda: self.covered() == {s: len(its) - 1 for s, its in self.commands.records.items()})

    def covered(self) -> dict[int, int]:
        """The last offset that is done, by slice."""
        layout = self.store.layouts["order"]
        heads = {s: self.log(layout.of(s).number)[-1:] for s in range(SLICES)}
        return {s: found[0].slices[s].offset for s, found in heads.items() if found}

    def log(self, number: int) -> list[Commit]:
        return self.store.log[log_name("order", number)]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                await asyncio.sleep(0.002)

    def check(self) -> None:
        """Each command has had one effect; of each slice the numbers rise over all logs, and offsets do not go back."""
        layout = self.store.layouts["order"]
        for slice in range(SLICES):
            commits = [c for span in layout.spans(slice) for c in self.log(span.number)]
            assert all(one.nr < two.nr for one, two in itertools.pairwise(commits))
            offsets = [commit.slices[slice].offset for commit in commits]
            assert offsets == sorted(offsets)
            caused = [e.command_id for c in commits for e in c.events if slice_of(e.aggregate_id, SLICES) == slice]
            ids = [dict(record.headers)["ce_id"].decode() for record in self.commands.records[slice]]
            assert ids == caused, f"slice {slice}"
            for key in KEYS[slice]:
                sequences = [e.sequence for c in commits for e in c.events if e.aggregate_id == key]
                assert sequences == list(range(1, len(sequences) + 1))
        for span in layout.logs:
            commits = self.log(span.number)
            assert [c.nr for c in commits] == list(range(span.begins_after + 1, span.begins_after + 1 + len(commits)))
            assert [span.sealed] == [c.nr for c in commits if c.is_seal] or (span.is_open and not commits[-1].is_seal)
            if span.sealed is not None:
                assert commits[-1].nr == span.sealed

"""A load of commands, and what its clients have seen of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from tests.e2e.client import PARTITIONS, eventually, headers, partition_of
from tests.e2e.system import System

PACE = 600
"""Commands a second."""
TICK = 0.05
RESEND_SECONDS = 10.0

OPEN = {"user_id": "17850", "kind": "sale", "opened_at": "2010-12-01T08:26:00Z"}


class Sent(NamedTuple):
    """A command as it was sent, and is sent again while it has no reply."""

    key: str
    command: str
    data: dict[str, Any]


@dataclass
class Load:
    """Commands to many orders at an even pace, each with an id of its own and a reply to come."""

    system: System
    keys: list[str]
    sent: dict[str, Sent] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    """When each was sent for the first time, by the monotonic clock."""
    _number: itertools.count[int] = field(default_factory=itertools.count)
    _task: asyncio.Task[None] | None = None
    _began: float = 0.0
    _ended: float = 0.0

    async def open_orders(self) -> None:
        """So that each line finds its order."""
        ids = [await self._send(Sent(key, "OpenOrder", OPEN)) for key in self.keys]
        await self.system.producer.flush()
        await self.answered(ids)

    async def lines(self, count: int, pace: float = PACE) -> list[str]:
        """Send `count` lines, a few every 50 ms; their command ids."""
        ids, per_tick = [], max(1, round(pace * TICK))
        for number in range(count):
            ids.append(await self._line())
            if number % per_tick == 0:
                await asyncio.sleep(TICK)  # the pace; nothing is waited for
        await self.system.producer.flush()
        return ids

    def begin(self, pace: float) -> None:
        """Send lines until `end`."""

        async def run() -> None:
            while True:
                due = time.monotonic() + TICK
                for _ in range(max(1, round(pace * TICK))):
                    await self._line()
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        self._began = time.monotonic()
        self._task = asyncio.create_task(run())

    async def end(self) -> None:
        """Send no more."""
        assert self._task is not None
        self._ended = time.monotonic()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def served(self, seconds: float = 90) -> None:
        """Return when each partition has answered a command that is sent from now on."""
        inbox, before = await self.system.answers(), len(self.sent)

        def silent() -> set[int]:
            answered = {partition_of(self.sent[id].key) for id in self._after(before) if inbox.by_key[id]}
            return set(range(PARTITIONS)) - answered

        def what() -> str:
            return f"no replies from {silent()}\n" + "\n".join(w.tail() for w in self.system.workers if w.running)

        await eventually(lambda: not silent(), seconds, what)

    async def silent(self, seconds: float) -> None:
        """Return when there was no reply for so long."""
        inbox, loop = await self.system.answers(), asyncio.get_running_loop()
        seen, since = len(inbox.records), loop.time()

        def is_silent() -> bool:
            nonlocal seen, since
            if len(inbox.records) > seen:
                seen, since = len(inbox.records), loop.time()
            return loop.time() - since > seconds

        await eventually(is_silent, 60, "commands are answered without a quorum")

    def _after(self, number: int) -> list[str]:
        return list(itertools.islice(self.sent, number, None))

    async def _line(self) -> str:
        number = next(self._number)
        line = {"sku": f"{number % 50}", "description": "", "quantity": 1, "unit_price": "0.01"}
        return await self._send(Sent(self.keys[number % len(self.keys)], "AddLine", line))

    async def _send(self, it: Sent, id: str = "") -> str:
        id = id or uuid.uuid4().hex
        self.sent[id] = it
        self.moments.setdefault(id, time.monotonic())
        topic, reply_to = self.system.topic("order-commands"), self.system.topic("answers")
        try:
            future = await self.system.producer.send(
                topic, json.dumps(it.data).encode(), key=it.key.encode(), headers=headers(id, it.command, reply_to)
            )
            future.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
        except KafkaError:
            pass  # Kafka is down: `answered` sends it again, as it does with what got lost on the way
        return id

    async def answered(self, ids: list[str] | None = None, seconds: float = 90) -> None:
        """Return when each has a reply; the journal covers all by then, and what has no reply is sent again."""
        inbox, ids = await self.system.answers(), list(self.sent) if ids is None else ids
        await self.system.covered("orders", "order", seconds)
        deadline = time.monotonic() + seconds
        while missing := [id for id in ids if not inbox.by_key[id]]:
            assert time.monotonic() < deadline, f"{len(missing)} of {len(ids)} have no reply"
            for id in missing:
                await self._send(self.sent[id], id)
            await self.system.producer.flush()
            again = time.monotonic() + RESEND_SECONDS
            while time.monotonic() < again and not all(inbox.by_key[id] for id in missing):
                await asyncio.sleep(TICK)
        await self.system.covered("orders", "order", seconds)

    async def send(self, key: str, command: str, data: dict[str, Any]) -> str:
        """One more command, beside the lines; its id."""
        return await self._send(Sent(key, command, data))

    async def waits(self, since: float, until: float) -> dict[str, float]:
        """By key the longest time in seconds, of the commands sent between two moments, until the key was served again:
        until a reply to the command or, since a worker that is killed may take that with it, to a later one. Of the
        keys of lines: of others there may be no later command to tell by."""
        inbox, replied, keys = await self.system.answers(), dict[str, float](), set(self.keys)
        for moment, record in zip(inbox.times, inbox.records, strict=True):
            replied.setdefault(record.key.decode(), moment)
        served, longest = dict[str, float](), dict[str, float]()
        for id, sent in sorted(self.moments.items(), key=lambda item: item[1], reverse=True):
            if (key := self.sent[id].key) not in keys:
                continue
            served[key] = min(replied[id], served.get(key, replied[id]))
            if since <= sent <= until:
                longest[key] = max(longest.get(key, 0.0), served[key] - sent)
        return longest

    async def longest_pause(self) -> float:
        """The longest time in seconds, from `begin` to `end`, in which some partition gave no reply."""
        inbox = await self.system.answers()
        times: defaultdict[int, list[float]] = defaultdict(list)
        for moment, record in zip(inbox.times, inbox.records, strict=True):
            if self._began <= moment <= self._ended:
                times[partition_of(self.sent[record.key.decode()].key)].append(moment)
        ends = [[self._began, *times[p], self._ended] for p in range(PARTITIONS)]
        return max(after - before for moments in ends for before, after in itertools.pairwise(moments))

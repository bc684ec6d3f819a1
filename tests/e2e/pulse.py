"""A light, even load on every partition, and how long each command waits: what a change of hands costs its users."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka import TopicPartition

from tests.e2e.client import PARTITIONS, eventually, headers, keys_of
from tests.e2e.system import System
from tests.e2e.worker import Worker

BEAT_SECONDS = 0.05
QUIET_SECONDS = 1.0
GIVE_UP_SECONDS = 60.0


@dataclass
class Beat:
    """One command: when it was sent, and when its reply arrived (monotonic seconds)."""

    partition: int
    sent: float
    replied: float = 0.0


@dataclass(frozen=True)
class Change:
    """What a change of hands cost, in seconds.

    again   by partition of the worker that went: from the signal to the first reply of the next owner
    paused  by partition that stayed where it was: the longest that a command waited meanwhile
    late    how late the pulse itself was at most: on a machine that is too busy for it, it measures the machine
    """

    again: dict[int, float]
    paused: dict[int, float]
    late: float

    @property
    def worst(self) -> float:
        """Until the last partition of the worker that went was served again."""
        return max(self.again.values())

    @property
    def pause(self) -> float:
        """The longest that a command of the other partitions waited."""
        return max(self.paused.values(), default=0.0)


@dataclass
class Pulse:
    """A command to one order of each partition every 50 ms, and the replies as they arrive."""

    system: System
    beats: dict[str, Beat] = field(default_factory=dict)
    late: float = 0.0

    async def start(self) -> None:
        """Open the orders, and begin. There is a worker."""
        await self.system.answers()
        self._name = f"pulse-{uuid.uuid4().hex[:6]}"
        self._orders = {p: next(iter(keys_of(p, self._name))) for p in range(PARTITIONS)}
        for key in self._orders.values():
            opened = await self.system.ask("order", key, "OpenOrder", {"user_id": "1", "kind": "sale"}, seconds=30)
            assert "accepted" == opened["status"]
        self._replies = self.system.clients.consumer()
        await self._replies.start()
        self._replies.assign([TopicPartition(self.system.topic("answers"), p) for p in range(PARTITIONS)])
        await self._replies.seek_to_end()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]
        await self._answered_since(time.monotonic())

    async def stop(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._replies.stop()

    async def change_hands(self, goes: Worker, number: signal.Signals, *stay: Worker, restart: bool = False) -> Change:
        """Send a worker the signal that ends it; what happened until all was served again by those who stay.

        `restart`: it is started again at once, in its own folder, as a process supervisor does.
        """
        theirs = set(await self.system.partitions(goes) or ())
        assert theirs, goes.tail()
        signalled, self.late = time.monotonic(), 0.0
        goes.signal(number)
        await eventually(lambda: not goes.running, GIVE_UP_SECONDS, goes.tail)
        heirs = [*stay, self.system.start(goes.module, goes.folder)] if restart else stay
        longest = await self._longest(signalled, *heirs)
        # Who was killed answers nothing that comes later; who was stopped may, until another has taken over.
        owned = dict.fromkeys(theirs, signalled) if number == signal.SIGKILL else await self._since(*heirs)
        replies = {
            p: [b.replied for b in self.beats.values() if b.partition == p and b.sent > owned[p]] for p in theirs
        }
        return Change(
            again={p: min(filter(None, replied)) - signalled for p, replied in replies.items()},
            paused={p: beat.replied - beat.sent for p, beat in longest.items() if p not in theirs},
            late=self.late,
        )

    async def join(self, module: str, *present: Worker) -> Change:
        """Start a worker beside those present; what it cost until all was served by all of them."""
        began, self.late = time.monotonic(), 0.0
        longest = await self._longest(began, *present, self.system.start(module))
        return Change({}, {p: beat.replied - beat.sent for p, beat in longest.items()}, self.late)

    async def _since(self, *heirs: Worker) -> dict[int, float]:
        """When the owner of each partition took over."""
        clock = time.time() - time.monotonic()
        answers = [(await self.system.get(heir, "/owners"))[1] for heir in heirs]
        owned = [row for answer in answers for row in answer["owners"]]
        since = [(row["slices"], datetime.fromisoformat(row["since"]).timestamp() - clock) for row in owned]
        return {slice: moment for slices, moment in since for slice in slices}

    async def _longest(self, since: float, *heirs: Worker) -> dict[int, Beat]:
        """By partition the command that waited longest from this moment until all is served by the heirs."""
        await self.system.all_served(*heirs)
        await self._answered_since(time.monotonic())
        longest: dict[int, Beat] = {}
        for beat in self.beats.values():
            if beat.sent > since - QUIET_SECONDS and beat.replied > since:
                before = longest.setdefault(beat.partition, beat)
                if beat.replied - beat.sent > before.replied - before.sent:
                    longest[beat.partition] = beat
        return longest

    async def _answered_since(self, moment: float) -> None:
        """Return when each partition has answered a command sent after this moment."""
        await eventually(
            lambda: PARTITIONS == len({b.partition for b in self.beats.values() if b.replied and b.sent > moment}),
            GIVE_UP_SECONDS,
            lambda: "\n".join(worker.tail() for worker in self.system.workers if worker.running),
        )

    async def _send(self) -> None:
        topic, reply_to = self.system.topic("order-commands"), self.system.topic("answers")
        number = 0
        while True:
            for partition, key in self._orders.items():
                number += 1
                line = {"sku": f"{number % 50}", "description": "", "quantity": 1, "unit_price": "0.01"}
                id = f"{self._name}-{number}"
                self.beats[id] = Beat(partition, time.monotonic())
                await self.system.producer.send(
                    topic, json.dumps(line).encode(), key=key.encode(), headers=headers(id, "AddLine", reply_to)
                )
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self.late = max(self.late, time.monotonic() - due)

    async def _listen(self) -> None:
        async for record in self._replies:
            beat = self.beats.get(record.key.decode())
            if beat is not None and not beat.replied:
                beat.replied = time.monotonic()

"""Workers come and go under load: every command has one effect and one meaning of its reply."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.e2e.system import ORDERS, READY_SECONDS, STOP_SECONDS, System, Worker, eventually, headers

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS_OPEN = 200
COMMANDS = 3_000
PACE = 600
"""Commands a second."""

OPEN = {"user_id": "17850", "kind": "sale", "opened_at": "2010-12-01T08:26:00Z"}


@dataclass
class Load:
    """Commands to many orders at an even pace, each with an id of its own and a reply to come."""

    system: System
    keys: list[str]
    sent: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def open_orders(self) -> None:
        """So that each line finds its order."""
        ids = [await self._send(key, "OpenOrder", OPEN) for key in self.keys]
        await self.system.producer.flush()
        await self.answered(ids)

    async def lines(self, count: int, pace: float = PACE) -> list[str]:
        """Send `count` lines, a few every 50 ms; their command ids."""
        ids, per_tick = [], max(1, round(pace / 20))
        for number, key in zip(range(count), itertools.cycle(self.keys)):
            line = {"sku": f"{number % 50}", "description": "", "quantity": 1, "unit_price": "0.01"}
            ids.append(await self._send(key, "AddLine", line))
            if number % per_tick == 0:
                await asyncio.sleep(0.05)  # the pace; nothing is waited for
        await self.system.producer.flush()
        return ids

    async def _send(self, key: str, command: str, data: object, id: str = "") -> str:
        id = id or uuid.uuid4().hex
        self.sent[id] = key, json.dumps({"command": command, "data": data}).encode()
        topic, reply_to = self.system.topic("order-commands"), self.system.topic("answers")
        await self.system.producer.send(
            topic, json.dumps(data).encode(), key=key.encode(), headers=headers(id, command, reply_to)
        )
        return id

    async def answered(self, ids: list[str], seconds: float = 60) -> None:
        """Return when each has a reply; the journal covers all by then, and what a killed worker owes is sent again."""
        inbox = await self.system.answers()
        await self.system.covered("orders", "order", seconds)
        for id in ids:
            if not inbox.by_key[id]:
                key, sent = self.sent[id]
                await self._send(key, json.loads(sent)["command"], json.loads(sent)["data"], id)
        await self.system.producer.flush()
        await eventually(
            lambda: all(inbox.by_key[id] for id in ids),
            seconds,
            lambda: f"{sum(not inbox.by_key[id] for id in ids)} of {len(ids)} have no reply",
        )

    async def check(self) -> None:
        """Each command sent so far had one effect, and all its replies are the same bytes and say what it was."""
        inbox = await self.system.answers()
        effects = await self.system.check_log("orders", "order")
        assert dict.fromkeys(self.sent, 1) == effects
        for id in self.sent:
            assert 1 == len({record.value for record in inbox.by_key[id]})
            reply = await inbox.answer(id)
            assert (id, "accepted", 1) == (reply["command_id"], reply["status"], len(reply["events"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(system: System) -> Load:
    """Orders that are open, with two workers that serve them."""
    await system.all_served(system.start(ORDERS), system.start(ORDERS))
    load = Load(system, [f"load-{number}" for number in range(ORDERS_OPEN)])
    await load.open_orders()
    return load


@pytest_asyncio.fixture(loop_scope="module")
async def two(system: System, load: Load) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers that have all partitions between them."""
    running = [worker for worker in system.workers if worker.running]
    while len(running) < 2:
        running.append(system.start(ORDERS))
    await system.all_served(*running)
    one, other = running
    yield one, other


async def test_killed_worker_loses_nothing(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """kill -9 under load: the other worker takes over, and every command ends with one effect and one reply."""
    survivor, victim = two
    first = await load.lines(COMMANDS // 2)
    rest = asyncio.create_task(load.lines(COMMANDS // 2))
    inbox = await system.answers()
    before = len(inbox.records)
    await eventually(lambda: len(inbox.records) > before + 100, 20, "the load is not served")
    victim.signal(signal.SIGKILL)
    ids = first + await rest
    await system.all_served(survivor)
    await load.answered(ids)
    await load.check()


async def test_stopped_worker_hands_over(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """SIGTERM under load: the worker ends by itself with status 0, the other takes over, and no reply is missing."""
    survivor, leaver = two
    inbox = await system.answers()
    loading = asyncio.create_task(load.lines(COMMANDS // 2))
    before = len(inbox.records)
    await eventually(lambda: len(inbox.records) > before + 100, 20, "the load is not served")
    leaver.signal(signal.SIGTERM)
    await eventually(lambda: not leaver.running, STOP_SECONDS, leaver.tail)
    assert 0 == leaver.process.returncode
    ids = await loading
    await system.all_served(survivor)
    await eventually(lambda: all(inbox.by_key[id] for id in ids), 60, "a reply is missing, though nobody was killed")
    await load.check()


async def test_joining_worker_takes_its_share(system: System, load: Load, two: tuple[Worker, Worker]) -> None:
    """A worker that joins under load gets half of the partitions; every command ends with one effect and one reply."""
    stays, leaver = two
    leaver.signal(signal.SIGTERM)
    await system.all_served(stays)
    inbox = await system.answers()
    joiner = system.start(ORDERS)
    ids: list[str] = []
    deadline = time.monotonic() + READY_SECONDS
    while not await system.partitions(joiner):
        assert time.monotonic() < deadline, joiner.tail()
        ids += await load.lines(100)
    ids += await load.lines(COMMANDS // 2)
    await system.all_served(stays, joiner)
    assert [2, 2] == [len(await system.partitions(worker) or ()) for worker in (stays, joiner)]
    await eventually(lambda: all(inbox.by_key[id] for id in ids), 60, "a reply is missing, though nobody was killed")
    await load.check()

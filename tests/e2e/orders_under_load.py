"""Orders that get line after line, and readers who check every answer by itself and against what they have seen."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from aggregates.shop.order import order
from projections.applying.event_reader import EventReader
from projections.projection import Row
from projections.publishing.heads import Heads
from projections.publishing.type_logs import TypeLogs
from projections.shop.tables.orders import orders
from streams.aggregate_type import AggregateType
from streams.concurrency.tasks import cancel
from streams.journal.slice_log import LayoutReader
from streams.settings import Settings
from tests.e2e.client import PARTITIONS, headers, keys_of
from tests.e2e.system import System
from tests.e2e.worker import Worker

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
TICK = 0.05


@dataclass
class Writers:
    """Some orders in each partition; the n-th line of an order has the stock code `s<n>`."""

    system: System
    prefix: str
    per_partition: int = 3
    written: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.keys = [
            key
            for partition in range(PARTITIONS)
            for key in itertools.islice(keys_of(partition, self.prefix), self.per_partition)
        ]

    async def open(self) -> None:
        """Open the orders."""
        replies = [self.system.ask("order", key, "OpenOrder", OPEN, seconds=30) for key in self.keys]
        assert {"accepted"} == {reply["status"] for reply in await asyncio.gather(*replies)}

    async def write(self, lines: int) -> None:
        """So many lines, spread over the orders."""
        for key in itertools.islice(itertools.cycle(self.keys), lines):
            await self._line(key)
        await self.system.producer.flush()

    @contextlib.asynccontextmanager
    async def writing(self, pace: int) -> AsyncIterator[None]:
        """So many lines a second meanwhile; in the end all of them are on the topic."""

        async def run() -> None:
            for number, key in enumerate(itertools.cycle(self.keys)):
                await self._line(key)
                if number % max(1, round(pace * TICK)) == 0:
                    await asyncio.sleep(TICK)

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            await cancel(task)
        await self.system.producer.flush()

    async def _line(self, key: str) -> None:
        number = self.written[key]
        self.written[key] += 1
        data = {"sku": f"s{number}", "description": "", "quantity": 1, "unit_price": "0.50"}
        id = f"{key}-{number}"
        topic = self.system.topic("order-commands")
        await self.system.producer.send(
            topic, json.dumps(data).encode(), key=key.encode(), headers=headers(id, "AddLine")
        )


@dataclass
class Reader:
    """Asks all the time, now this worker, now that; each answer must be right, and none older than one seen before."""

    system: System
    keys: list[str]
    workers: list[Worker]
    asked: int = 0
    refused: int = 0
    versions: list[int] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Reader:
        self._random = random.Random(7)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop; what was wrong with an answer is raised here."""
        await cancel(self._task)

    async def _run(self) -> None:
        while True:
            await self._ask(self._random.choice(self.workers), self._random.choice(self.keys))
            await asyncio.sleep(0.002)

    async def _ask(self, worker: Worker, key: str) -> None:
        self.asked += 1
        try:
            status, row, _ = await self.system.get(worker, f"/orders/{key}")
        except aiohttp.ClientError:  # it has just ended
            self.refused += 1
            return
        if status != 200:
            assert status == 503, (status, row)
            self.refused += 1
            return
        check_lines(row)
        assert row["sequence"] >= self._seen.get(key, 0), f"{key} has gone back to {row}"
        self._seen[key] = row["sequence"]
        if (version := row.get("version", 1)) not in self.versions[-1:]:
            self.versions.append(version)


def check_lines(row: Row) -> None:
    """A row is as its sequence says."""
    assert [f"s{number}" for number in range(row["sequence"] - 1)] == [line["sku"] for line in row["lines"]]
    assert f"{(row['sequence'] - 1) * 0.5:.2f}" == row["total"]


async def folded(system: System) -> dict[str, Row]:
    """All rows of orders as the journal says, folded in the plainest way."""
    settings = Settings.from_environment(system.environment())
    context = AggregateType("orders", order, settings, "shop")
    journal = context.journal()
    await journal.open()
    rows: dict[str, Any] = {}
    try:
        known = LayoutReader(journal, "order")
        await known.look()
        logs = TypeLogs(journal, "order", known, Heads({"order": journal}, {"order": known}))
        reader = EventReader(context.events, journal, logs)
        for partition in range(PARTITIONS):
            stream = f"order-{partition}"
            async for events in reader.from_log(stream, (0, -1), ((await reader.head(stream))[0] + 1, 0)):
                for event in events:
                    key = event.origin.aggregate_id
                    row = rows.get(key)
                    for part in event.parts:
                        row = orders.evolve(row, key, part)
                    rows[key] = {**(row or {}), "position": event.origin.position, "sequence": event.origin.sequence}
    finally:
        await journal.close()
    return rows

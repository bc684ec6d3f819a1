"""How late timers are, and what pending ones cost."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.moments import in_utc
from tests.bench.worker import say
from tests.e2e.client import eventually, headers
from tests.e2e.orders import OPEN
from tests.e2e.system import System
from tests.e2e.worker import PROJECTIONS, TIMERS, Worker

AHEAD = timedelta(seconds=10)
SPREAD_SECONDS = 30.0
FAR = timedelta(days=1)
IDLE_SECONDS = 20.0
SETTLE_SECONDS = 5.0
STEPS_MS = (10, 20, 50, 100, 200, 500, 1_000)

Figures = list[tuple[str, float]]


async def measure_timers(count: int, pending: int) -> Figures:
    """So many timers fire, spread over half a minute; and what the workers use while so many wait for tomorrow."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), f"cassandra://{os.environ.get('CASSANDRA', '127.0.0.1:9042')}/bench")
        await system.open()
        try:
            workers = [system.start(TIMERS), system.start(PROJECTIONS)]
            for worker in workers:
                await system.all_served(worker)
            figures = await _idle(system, workers, 0)
            figures += await _precision(system, count)
            first = datetime.now(UTC) + FAR
            await _schedule(system, {uuid.uuid4().hex: first + timedelta(seconds=n) for n in range(pending)})
            return figures + await _idle(system, workers, pending)
        finally:
            await system.close()


async def _schedule(system: System, dues: dict[str, datetime]) -> None:
    async def one(key: str, due: datetime) -> None:
        data = {"due": in_utc(due), "to": "order", "id": key, "command": "OpenOrder", "data": json.dumps(OPEN)}
        await system.send("timer", key, json.dumps(data).encode(), headers(uuid.uuid4().hex, "ScheduleTimer"))

    await asyncio.gather(*(one(key, due) for key, due in dues.items()))
    await system.covered("timers", "timer")
    projections = system.workers[-1]

    async def applied() -> bool:
        lag = await system.lag(projections)
        return lag is not None and lag["total"] == 0

    await eventually(applied, 60, projections.tail_app)


async def _precision(system: System, count: int) -> Figures:
    began = datetime.now(UTC) + AHEAD
    dues = {uuid.uuid4().hex: began + timedelta(seconds=SPREAD_SECONDS * number / count) for number in range(count)}
    await _schedule(system, dues)
    say(f"{count} timers scheduled, {(began - datetime.now(UTC)).total_seconds():.1f} s before the first")
    await asyncio.sleep((began - datetime.now(UTC)).total_seconds() + SPREAD_SECONDS)

    async def all_there() -> bool:
        return sum((await system.ends("order-commands")).values()) >= count

    await eventually(all_there, 30, "timers have not fired")
    records = await system.read("order-commands")
    # Kafka's own clock says when the command was there.
    late = [record.timestamp - dues[record.key.decode()].timestamp() * 1000 for record in records]
    assert count == len(late), f"{len(late)} commands of {count} timers"
    return _figures(late)


def _figures(late: Iterable[float]) -> Figures:
    ordered = sorted(late)
    count = len(ordered)
    figures = [
        (f"from due to the command on Kafka, ms, p{percent}", ordered[min(count * percent // 100, count - 1)])
        for percent in (50, 90, 99)
    ]
    figures += [("from due to the command on Kafka, ms, worst", ordered[-1]), ("earliest, ms", ordered[0])]
    before = 0
    for step in STEPS_MS:
        upto = sum(it <= step for it in ordered)
        figures.append((f"timers that were up to {step} ms late, and more than the step before", upto - before))
        before = upto
    return [*figures, (f"timers that were later than {STEPS_MS[-1]} ms", count - before)]


async def _idle(system: System, workers: list[Worker], pending: int) -> Figures:
    await asyncio.sleep(SETTLE_SECONDS)
    began, before = time.monotonic(), [_cpu_seconds(worker) for worker in workers]
    await asyncio.sleep(IDLE_SECONDS)
    seconds = time.monotonic() - began
    return [
        (f"{pending:,} pending: CPU of {worker.module}, ms per second", (_cpu_seconds(worker) - used) / seconds * 1000)
        for worker, used in zip(workers, before, strict=True)
    ]


def _cpu_seconds(worker: Worker) -> float:
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Durable timers on real servers: on time, with one effect, whoever is killed when they are due."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from projections.timers import time_text
from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.orders import LINE, OPEN, do
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, TIMERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATEST = 1.0
"""Seconds after its due time when a timer's command must be on Kafka."""
TAKEOVER_SECONDS = 30.0


@dataclass
class Running:
    """The workers: two of the projections, so that each is the other's heir."""

    orders: Worker
    timers: Worker
    one: Worker
    two: Worker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(system: System) -> Running:
    """All of them, at work."""
    workers = Running(*map(system.start, (ORDERS, TIMERS, PROJECTIONS, PROJECTIONS)))
    await asyncio.gather(
        system.all_served(workers.orders),
        system.all_served(workers.timers),
        system.all_served(workers.one, workers.two),
    )
    return workers


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def schedule(system: System, key: str, due: datetime, **changed: Any) -> dict[str, Any]:
    """A line is added to the order `key` then, by the timer of the same id; the reply."""
    fields = {"due": time_text(due), "to": "order", "id": key, "command": "AddLine", "data": json.dumps(LINE)}
    return await system.ask("timer", key, "ScheduleTimer", {**fields, **changed})


async def orders_with_timers(system: System, dues: dict[str, datetime]) -> None:
    """Orders that are open, each with its timer."""
    await do(system, dues, "OpenOrder", OPEN)
    for reply in await asyncio.gather(*(schedule(system, key, due) for key, due in dues.items())):
        assert ("accepted", ["TimerScheduled"]) == (reply["status"], reply["events"])


async def added(system: System, keys: Iterable[str]) -> Counter[str]:
    """How many lines each of these orders has got, by the journal."""
    wanted = set(keys)
    logs = (await system.commits("orders", "order")).values()
    events = [event for log in logs for commit in log for event in commit.events]
    return Counter(it.aggregate_id for it in events if it.aggregate_id in wanted and it.type == "LineAdded")


async def sent(system: System, keys: Iterable[str]) -> dict[str, list[float]]:
    """When the lines of each of these orders were asked for, in seconds of the broker's clock."""
    times: dict[str, list[float]] = {key: [] for key in keys}
    for record in await system.read("order-commands"):
        if record.key.decode() in times and dict(record.headers)["ce_type"] == b"AddLine":
            times[record.key.decode()].append(record.timestamp / 1000)
    return times


async def all_fired(system: System, keys: list[str], seconds: float) -> None:
    """Return when each of these timers has fired, and each order has its line."""

    async def fired() -> bool:
        return len(await added(system, keys)) == len(keys)

    await eventually(fired, seconds, lambda: "\n".join(worker.tail() for worker in system.workers if worker.running))


async def pending(system: System, worker: Worker) -> list[str]:
    status, body, _ = await system.get(worker, "/timers?limit=1000")
    assert 200 == status, body
    assert sorted(body["timers"], key=lambda row: row["due"]) == body["timers"]
    return [row["id"] for row in body["timers"]]


async def test_on_time_and_once(system: System, running: Running) -> None:
    """Each command is on Kafka at its due time or up to a second later, with one effect; meanwhile the timer is in the
    list of the pending ones, at any worker, and afterwards it is not."""
    first = in_seconds(4)
    dues = {f"on-time-{number:02}": first + timedelta(seconds=number / 10) for number in range(20)}
    assert set(range(PARTITIONS)) == set(map(partition_of, dues))
    await orders_with_timers(system, dues)
    for worker in (running.one, running.two):
        await eventually(lambda at=worker: listed(system, at, list(dues)), 3, "the timers are not in the list")
    listing = await system.run("-A", PROJECTIONS, "timers", "list", "--url", running.two.url)
    assert (0, True) == (listing.returncode, "on-time-19  " in listing.stdout), listing
    await all_fired(system, list(dues), 20)
    late = [time - dues[key].timestamp() for key, times in (await sent(system, dues)).items() for time in times]
    assert len(dues) == len(late)
    assert -0.002 <= min(late)
    assert LATEST > max(late), late
    assert dict.fromkeys(dues, 1) == await added(system, dues)
    await eventually(lambda: listed(system, running.one, []), 3, "timers that have fired are in the list")
    status, _, _ = await system.get(running.two, "/timers/on-time-00")
    assert 404 == status


async def listed(system: System, worker: Worker, keys: list[str]) -> bool:
    return await pending(system, worker) == keys


async def test_cancelled_and_moved(system: System, running: Running) -> None:
    """A timer that was cancelled in time never fires, one that was moved fires at its new time only, and one that has
    fired cannot be cancelled."""
    soon, later = in_seconds(2), in_seconds(3)
    await orders_with_timers(system, dict.fromkeys(["cancelled", "moved", "kept"], soon))
    assert "accepted" == (await system.ask("timer", "cancelled", "CancelTimer", {}))["status"]
    assert ["TimerScheduled"] == (await schedule(system, "moved", later))["events"]
    assert [] == (await schedule(system, "moved", later))["events"]
    await all_fired(system, ["moved", "kept"], 20)
    times = await sent(system, ["cancelled", "moved", "kept"])
    assert {"cancelled": 0, "moved": 1, "kept": 1} == {key: len(its) for key, its in times.items()}
    assert times["moved"][0] >= later.timestamp() - 0.002
    reply = await system.ask("timer", "kept", "CancelTimer", {})
    assert ("rejected", "TimerFired") == (reply["status"], reply["error"]["type"])


async def test_asked_twice(system: System, running: Running) -> None:
    """Whoever says once more that a time has come, the old one or another, changes nothing."""
    due = in_seconds(0)
    await orders_with_timers(system, {"twice": due})
    await all_fired(system, ["twice"], 20)
    for time in (due, due, in_seconds(60)):
        reply = await system.ask("timer", "twice", "FireTimer", {"due": time_text(time)})
        assert ("accepted", []) == (reply["status"], reply["events"])
    assert {"twice": 1} == {key: len(its) for key, its in (await sent(system, ["twice"])).items()}


async def test_killed_when_due(system: System, running: Running) -> None:
    """kill -9 of the timers worker and of a projections worker while timers are due: the other projections worker and a
    new timers worker go on, and every timer fires, with one effect."""
    first = in_seconds(3)
    dues = {f"killed-{number:02}": first + timedelta(seconds=number / 20) for number in range(40)}
    await orders_with_timers(system, dues)
    await asyncio.sleep((first - datetime.now(UTC)).total_seconds() + 0.5)
    running.timers.signal(signal.SIGKILL)
    running.one.signal(signal.SIGKILL)
    running.timers = system.start(TIMERS)
    await all_fired(system, list(dues), TAKEOVER_SECONDS)
    await system.all_served(running.timers)
    await eventually(lambda: listed(system, running.two, []), TAKEOVER_SECONDS, "timers have fired and are in the list")
    await system.covered("timers", "timer")
    await system.covered("orders", "order")
    assert dict.fromkeys(dues, 1) == await added(system, dues)
    assert all(min(times) >= dues[key].timestamp() - 0.002 for key, times in (await sent(system, dues)).items())

"""Durable timers on real servers: on time, with one effect, whoever is killed when they are due."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from streams.journal.port import RecordedEvent
from streams.moments import in_utc
from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.orders import LINE, OPEN, do
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, TIMERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

LATE = 1.0
"""Seconds after its due time when a timer's command is to be on Kafka, beside what a command takes on this machine."""
A_MOMENT = 0.002
"""Times are cut to the millisecond."""
TAKEOVER_SECONDS = 60.0

Times = dict[str, list[float]]


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
    fields = {"due": in_utc(due), "to": "order", "id": key, "command": "AddLine", "data": json.dumps(LINE)}
    return await system.ask("timer", key, "ScheduleTimer", {**fields, **changed})


async def schedule_all(system: System, dues: dict[str, datetime]) -> dict[str, str]:
    """A timer for each of these orders; the ids of the commands that did it."""
    replies = await asyncio.gather(*(schedule(system, key, due) for key, due in dues.items()))
    for reply in replies:
        assert ("accepted", ["TimerScheduled"]) == (reply["status"], reply["events"])
    return {reply["aggregate"]["id"]: reply["command_id"] for reply in replies}


async def added(system: System, keys: Iterable[str]) -> Counter[str]:
    """How many lines each of these orders has got, by the journal."""
    return Counter(it.aggregate_id for it in await lines(system, keys))


async def lines(system: System, keys: Iterable[str]) -> list[RecordedEvent]:
    """The lines of these orders, by the journal."""
    wanted = set(keys)
    logs = (await system.commits("orders", "order")).values()
    events = [event for log in logs for commit in log for event in commit.events]
    return [it for it in events if it.aggregate_id in wanted and it.type == "LineAdded"]


async def sent(system: System, keys: Iterable[str], type: str = "order", command: str = "AddLine") -> Times:
    """When each of these aggregates was sent a command, in seconds of the broker's clock."""
    times: Times = {key: [] for key in keys}
    for record in await system.read(f"{type}-commands"):
        if record.key.decode() in times and dict(record.headers)["ce_type"].decode() == command:
            times[record.key.decode()].append(record.timestamp / 1000)
    return times


async def all_fired(system: System, keys: list[str], seconds: float) -> None:
    """Return when each of these timers has fired, and each order has its line."""

    async def fired() -> bool:
        return len(await added(system, keys)) == len(keys)

    await eventually(fired, seconds, lambda: "\n".join(worker.tail() for worker in system.workers if worker.running))


async def slowest_command(system: System, until: asyncio.Task[None]) -> float:
    """The longest that a command to a timer and its reply have taken meanwhile: two of them lie on a timer's way."""
    slowest = 0.0
    while not until.done():
        began = time.monotonic()
        await system.ask("timer", "pulse", "CancelTimer", {}, seconds=30)
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.05)
    await until
    return slowest


async def pending(system: System, worker: Worker, limit: int = 1_000) -> list[str] | None:
    """The ids of the pending timers, a page after the other; None in the middle of a rebalance."""
    found: list[Any] = []
    after = ""
    while True:
        status, body, _ = await system.get(worker, f"/timers?limit={limit}{after}")
        if status == 503:
            return None
        assert 200 == status, body
        found += body["timers"]
        if body["next"] is None:
            assert sorted(found, key=lambda row: row["due"]) == found
            return [row["id"] for row in found]
        after = f"&after={quote(body['next'])}"


async def test_pending_ones_are_listed(system: System, running: Running) -> None:
    """A timer that is pending has a row and is in the list, by due time, at any worker; one that was cancelled not."""
    dues = {f"far-{number:02}": in_seconds(90_000 - number) for number in range(20)}
    by_due = [*reversed(dues)]
    scheduling = await schedule_all(system, dues)
    for worker in (running.one, running.two):
        await eventually(lambda at=worker: listed(system, at, by_due), 10, "the timers are not in the list")
        assert by_due == await pending(system, worker, limit=7)
    _, row, _ = await system.get(running.two, "/timers/far-00")
    expected = {"id": "far-00", "due": in_utc(dues["far-00"]), "to": "order", "to_id": "far-00"}
    expected |= {"command": "AddLine", "data": LINE, "command_id": None, "correlation_id": scheduling["far-00"]}
    assert expected == {name: row[name] for name in expected}
    listing = await system.run("-A", PROJECTIONS, "timers", "list", "--limit", "3", "--url", running.two.url)
    assert by_due[:3] == [line.split()[0] for line in listing.stdout.splitlines()[1:4]], listing
    status, body, _ = await system.get(running.one, "/timers?limit=0")
    assert (400, True) == (status, "limit" in body["detail"])
    replies = await asyncio.gather(*(system.ask("timer", key, "CancelTimer", {}) for key in dues))
    assert {"accepted"} == {reply["status"] for reply in replies}
    await eventually(lambda: listed(system, running.one, []), 10, "cancelled timers are in the list")
    assert 404 == (await system.get(running.two, "/timers/far-00"))[0]


async def test_on_time_and_once(system: System, running: Running) -> None:
    """Each command is on Kafka when it is due or a moment later, with one effect, in the trace of whoever scheduled it;
    and the timer is gone."""
    keys = [f"on-time-{number:02}" for number in range(20)]
    assert set(range(PARTITIONS)) == set(map(partition_of, keys))
    await do(system, keys, "OpenOrder", OPEN)
    dues = {key: in_seconds(2 + number / 10) for number, key in enumerate(keys)}
    scheduling = await schedule_all(system, dues)
    fired = asyncio.create_task(all_fired(system, keys, 30))
    slowest = await slowest_command(system, fired)
    scheduled, times = await sent(system, keys, "timer", "ScheduleTimer"), await sent(system, keys)
    assert {1} == set(map(len, times.values()))
    assert all(times[key][0] >= dues[key].timestamp() - A_MOMENT for key in keys)
    late = [times[key][0] - max(dues[key].timestamp(), scheduled[key][0]) for key in keys]
    assert LATE + 2 * slowest > max(late), (slowest, late)
    assert dict.fromkeys(keys, 1) == await added(system, keys)
    assert scheduling == {it.aggregate_id: it.correlation_id for it in await lines(system, keys)}
    await eventually(lambda: listed(system, running.one, []), 10, "timers that have fired are in the list")


async def listed(system: System, worker: Worker, keys: list[str]) -> bool:
    return await pending(system, worker) == keys


async def test_cancelled_and_moved(system: System, running: Running) -> None:
    """A timer that was cancelled in time never fires, one that was moved fires at its new time only, and one that has
    fired cannot be cancelled."""
    keys = ["cancelled", "moved", "kept"]
    await do(system, keys, "OpenOrder", OPEN)
    soon, later = in_seconds(4), in_seconds(5)
    await schedule_all(system, dict.fromkeys(keys, soon))
    assert "accepted" == (await system.ask("timer", "cancelled", "CancelTimer", {}))["status"]
    assert ["TimerScheduled"] == (await schedule(system, "moved", later))["events"]
    assert [] == (await schedule(system, "moved", later))["events"]
    await all_fired(system, ["moved", "kept"], 30)
    times = await sent(system, keys)
    assert {"cancelled": 0, "moved": 1, "kept": 1} == {key: len(its) for key, its in times.items()}
    assert times["moved"][0] >= later.timestamp() - A_MOMENT
    reply = await system.ask("timer", "kept", "CancelTimer", {})
    assert ("rejected", "TimerFired") == (reply["status"], reply["error"]["type"])


async def test_asked_twice(system: System, running: Running) -> None:
    """Whoever says once more that a time has come, the old one or another, changes nothing."""
    due = in_seconds(0)
    await do(system, ["twice"], "OpenOrder", OPEN)
    await schedule_all(system, {"twice": due})
    await all_fired(system, ["twice"], 30)
    for at in (due, due, in_seconds(60)):
        reply = await system.ask("timer", "twice", "FireTimer", {"due": in_utc(at)})
        assert ("accepted", []) == (reply["status"], reply["events"])
    assert {"twice": 1} == {key: len(its) for key, its in (await sent(system, ["twice"])).items()}


async def test_killed_when_due(system: System, running: Running) -> None:
    """kill -9 of the timers worker and of a projections worker while timers are due: the other projections worker and a
    new timers worker go on, and every timer fires, with one effect."""
    keys = [f"killed-{number:02}" for number in range(40)]
    await do(system, keys, "OpenOrder", OPEN)
    dues = {key: in_seconds(2 + number / 20) for number, key in enumerate(keys)}
    await schedule_all(system, dues)
    await asyncio.sleep((dues[keys[10]] - datetime.now(UTC)).total_seconds())
    running.timers.signal(signal.SIGKILL)
    running.one.signal(signal.SIGKILL)
    running.timers = system.start(TIMERS)
    await all_fired(system, keys, TAKEOVER_SECONDS)
    await eventually(lambda: listed(system, running.two, []), TAKEOVER_SECONDS, "timers have fired and are in the list")
    await system.covered("timers", "timer")
    await system.covered("orders", "order")
    assert dict.fromkeys(keys, 1) == await added(system, keys)
    assert all(min(times) >= dues[key].timestamp() - A_MOMENT for key, times in (await sent(system, keys)).items())


async def test_table_is_paused(system: System, running: Running) -> None:
    """While the projection `timers` is paused a timer fires all the same, in time: the table is only for looking at."""
    await do(system, ["paused"], "OpenOrder", OPEN)
    order = ("-A", PROJECTIONS, "projections")
    where = ("--reason", "timers fire without it", "--url", running.two.url)
    paused = await system.run(*order, "pause", "timers", *where)
    assert paused.returncode == 0, paused
    try:
        await schedule_all(system, {"paused": in_seconds(1)})
        await all_fired(system, ["paused"], 30)
    finally:
        await system.run(*order, "resume", "timers", "--url", running.two.url)

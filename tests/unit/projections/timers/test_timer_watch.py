"""The table of pending timers on a real disk, and who says that their time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from aggregates.timer import TimerCancelled, TimerFired, TimerScheduled
from projections.stores.local.queries import in_order
from projections.stores.local.store import rocksdb_table
from projections.stores.local.tables import LocalRows
from projections.stores.rows import Changes, Checkpoint, StoredRow
from projections.timers import watch
from projections.timers.projection import DUE, kept, time_text, timers
from projections.timers.watch import FIRST_REPEAT, LONGEST_REPEAT, LOOK_AGAIN, MOST_AT_ONCE, TimerWatch, due_timers
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.runtime.application import Application
from streams.settings import Settings
from tests.folded import published
from tests.specification import given

TABLE = "timers-1"
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Kafka:
    """Takes what is published, and counts it."""

    def __init__(self) -> None:
        self.ends: dict[tuple[str, int], int] = {}
        self.fired: list[tuple[int, str, str, str]] = []
        """Partition, timer, command id and due time of each `FireTimer`."""
        self.is_down = False
        self.refused = 0

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    async def publish(self, topic: str, partition: int, records: Sequence[Any], refuse: bool = False) -> int:
        await asyncio.sleep(0)
        if self.is_down and topic == "timer-commands":
            self.refused += 1
            raise ConnectionError("no broker")
        for key, value, headers in records if topic == "timer-commands" else ():
            assert "FireTimer" == dict(headers)["ce_type"].decode()
            data = msgspec.json.decode(value)
            assert b"placing" == dict(headers)["ce_correlationid"]
            self.fired.append((partition, key.decode(), dict(headers)["ce_id"].decode(), data["due"]))
        self.ends[topic, partition] = self.ends.get((topic, partition), 0) + len(records)
        return self.ends[topic, partition] - 1

    def take(self) -> list[str]:
        """The timers that were asked to fire since the last time."""
        asked, self.fired = [it[1] for it in self.fired], []
        return asked


class Watched:
    """A worker with partitions 0 and 1 of the table, and its clock."""

    def __init__(self, folder: Path) -> None:
        app = Application("test", "projections", Settings(partitions=2), datadir=str(folder))
        self.kafka: Any = Kafka()
        indexes: Any = {timers.name: kept.how}
        self.rows = LocalRows(rocksdb_table(app, "timer-rows", indexes), self.kafka)
        self.store = self.rows.store
        self.now = NOON
        self.nr = 0
        self.current = {TABLE}
        self.source: Any = SimpleNamespace(moved=asyncio.Condition(), partitions={})
        self.take_over()

    def take_over(self, *partitions: int) -> None:
        """A worker that has just got these partitions, both without any being named, and knows nothing of before."""
        for number in partitions or (0, 1):
            self.source.partitions[number] = SimpleNamespace(
                tables={table: SimpleNamespace(place=Checkpoint(self.nr)) for table in ("timers-0", TABLE, "times-1")},
                is_current=lambda table: table in self.current,
            )
        self.watch = TimerWatch(self.source, self.store, self.kafka, "timer-commands", "/projections", lambda: self.now)

    async def put(self, partition: int, **dues: datetime | None) -> None:
        """Timers are scheduled, or over (None), in one commit."""
        self.nr += 1
        rows = {
            key: StoredRow(
                f"timer-{partition}:{self.nr}:{index}",
                row=None if due is None else {"id": key, "due": time_text(due), "correlation_id": "placing"},
            )
            for index, (key, due) in enumerate(dues.items())
        }
        place = Checkpoint(self.nr, len(rows) - 1, self.nr)
        await self.rows.save(
            partition, {TABLE: Changes(place, rows, before=await self.rows.load(partition, TABLE, rows))}
        )
        self.source.partitions[partition].tables[TABLE].place = place
        async with self.source.moved:
            self.source.moved.notify_all()

    async def asked(self, later: timedelta = timedelta()) -> list[str]:
        """Whom it asks when it looks so much later."""
        self.now += later
        await self.watch.look()
        return self.kafka.take()  # type: ignore[no-any-return]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_rows() -> None:
    """A row for each timer that is pending, as it was scheduled last."""
    scheduled = TimerScheduled(NOON, "order", "1", "CancelOrder", '{"reason":"late"}', None)
    moved = TimerScheduled(NOON + SECOND, "user", "2", "DeactivateUser", "{}", "mine")
    row = {"id": "a", "due": "2026-11-26T12:00:01.000Z", "to": "user", "to_id": "2", "command": "DeactivateUser"}
    row |= {"data": {}, "command_id": "mine", "correlation_id": ""}  # type: ignore[dict-item]
    first = [published(scheduled, "a", 1), published(moved, "a", 2)]
    given(timers, *first).then_rows({"a": row})
    given(timers, *first, published(TimerCancelled(), "a", 3)).then_rows({})
    fired = TimerFired(NOON, "order", "1", "CancelOrder", '{"reason":"late"}', None)
    given(timers, published(scheduled, "a", 1), published(fired, "a", 2)).then_rows({})
    with pytest.raises(TypeError, match="no rule for str"):
        timers.evolve(None, "a", published("?"))


async def test_in_the_order_of_their_times(watched: Watched) -> None:
    """By due time, then by id, each once and where it is due now, from behind any of them."""
    await watched.put(0, b=NOON + SECOND, a=NOON + SECOND, c=NOON, d=NOON - timedelta(days=9_000), é=NOON)
    await watched.put(0, c=NOON + 2 * SECOND, d=None)
    order = [(time_text(NOON + after * SECOND), key) for after, key in ((0, "é"), (1, "a"), (1, "b"), (2, "c"))]
    assert order == list(in_order(watched.store, 0, TABLE, DUE))
    for number, at in enumerate(order, 1):
        assert order[number:] == list(in_order(watched.store, 0, TABLE, DUE, at))
    assert order[1:] == list(in_order(watched.store, 0, TABLE, DUE, (time_text(NOON + SECOND), "")))
    assert order == list(in_order(watched.store, 0, TABLE, DUE, ("2026", "")))
    assert [] == list(in_order(watched.store, 1, TABLE, DUE))


async def test_asks_when_it_is_due(watched: Watched) -> None:
    """Each timer is asked once when its time has come, and not before; it looks again when the next one is due."""
    await watched.put(0, a=NOON + SECOND, b=NOON + 2 * SECOND)
    await watched.put(1, c=NOON + SECOND)
    assert NOON + SECOND == await watched.watch.look()
    assert [] == await watched.asked(SECOND - timedelta(milliseconds=1))
    watched.now = NOON + SECOND
    assert NOON + 2 * SECOND == await watched.watch.look()
    due = time_text(NOON + SECOND)
    assert [(0, "a", "fire:timer-0:1:0", due), (1, "c", "fire:timer-1:2:0", due)] == sorted(watched.kafka.fired)
    watched.kafka.take()
    assert [] == await watched.asked()
    assert ["b"] == await watched.asked(SECOND)
    await watched.put(0, a=None, b=None)
    await watched.put(1, c=None)
    assert [] == await watched.asked(timedelta(days=1))
    assert watched.now + LOOK_AGAIN == await watched.watch.look()


async def test_moved_and_cancelled(watched: Watched) -> None:
    """A timer that is moved is asked at its new time, also when it was asked for the old one; its next round has a
    command id of its own."""
    await watched.put(0, a=NOON, b=NOON + SECOND)
    assert ["a"] == await watched.asked()
    await watched.put(0, a=NOON + SECOND, b=None)
    assert [] == await watched.asked()
    watched.now += SECOND
    await watched.watch.look()
    assert [(0, "a", "fire:timer-0:2:0", time_text(NOON + SECOND))] == watched.kafka.fired


async def test_asks_again(watched: Watched) -> None:
    """A timer that is still there is asked again after a minute, then after twice as long each time, up to an hour."""
    await watched.put(0, a=NOON)
    assert ["a"] == await watched.asked()
    pause, pauses = FIRST_REPEAT, []
    for _ in range(8):
        assert [] == await watched.asked(pause - SECOND)
        assert ["a"] == await watched.asked(SECOND)
        pauses.append(pause)
        pause = min(2 * pause, LONGEST_REPEAT)
    assert LONGEST_REPEAT == pauses[-1]


async def test_takeover(watched: Watched) -> None:
    """The next owner of a partition knows what is due from the table alone."""
    await watched.put(0, a=NOON)
    await watched.put(1, b=NOON)
    assert ["a", "b"] == sorted(await watched.asked())
    watched.take_over(0)
    assert ["a", "b"] == sorted(await watched.asked())
    del watched.source.partitions[1]
    await watched.put(0, c=NOON)
    assert ["c"] == await watched.asked()


async def test_only_what_is_up_to_date(watched: Watched) -> None:
    """A table that is being built shows timers that have long fired: it is left alone, and looked at again soon."""
    await watched.put(0, a=NOON)
    watched.current = {"times-1"}
    assert [] == await watched.asked()
    assert watched.now + SECOND == await watched.watch.look()
    watched.current = {TABLE}
    assert ["a"] == await watched.asked()


async def test_without_kafka(watched: Watched) -> None:
    """What could not be sent was not asked: it is asked when Kafka is back."""
    await watched.put(0, a=NOON)
    watched.kafka.is_down = True
    with pytest.raises(ConnectionError):
        await watched.asked()
    watched.kafka.is_down = False
    assert ["a"] == await watched.asked()


async def test_a_flood(watched: Watched) -> None:
    """Of one partition so many are asked at once, the oldest first, and the next ones when those have fired; none of
    them needs more memory than that."""
    keys = [f"t{number:04}" for number in range(MOST_AT_ONCE + 10)]
    await watched.put(0, **{key: NOON + number * timedelta(milliseconds=1) for number, key in enumerate(keys)})
    watched.now += timedelta(hours=1)
    assert keys[:MOST_AT_ONCE] == await watched.asked()
    assert [] == await watched.asked()
    await watched.put(0, **dict.fromkeys(keys[:4]))
    assert keys[MOST_AT_ONCE:][:4] == await watched.asked()
    to_ask, asked, _ = due_timers(watched.store, 0, TABLE, watched.now, {})
    assert MOST_AT_ONCE == len(to_ask) == len(asked)


async def test_runs(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running, it sleeps until the next timer is due or a new one comes, and goes on after an error."""
    monkeypatch.setattr(watch, "AFTER_ERROR_SECONDS", 0.05)
    watched.watch._now = lambda: datetime.now(UTC)
    due = datetime.now(UTC) + timedelta(seconds=0.3)
    await watched.put(0, a=NOON - timedelta(days=9_000), b=due)
    watched.kafka.is_down = True
    task = asyncio.create_task(watched.watch.run())
    try:
        async with asyncio.timeout(10):
            await until(lambda: watched.kafka.refused > 1)
            watched.kafka.is_down = False
            await until(lambda: len(watched.kafka.fired) == 2)
            assert due <= datetime.now(UTC) + timedelta(milliseconds=1)
            await watched.put(1, c=due)
            await until(lambda: len(watched.kafka.fired) == 3)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert ["a", "b", "c"] == watched.kafka.take()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)

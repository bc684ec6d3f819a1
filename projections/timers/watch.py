"""Says `FireTimer` when the time of a timer has come.

The pending timers are a table, in the order of their due times. The worker that has a partition of it looks what is
due, and sleeps until the next one is. What it remembers beside the table only keeps it from saying the same too often:
the next owner of the partition begins with nothing, and says some of it again, which has no second effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from projections.applying.partition import PartitionProcessor
from projections.applying.source import ProjectionGroup
from projections.stores.declaration import projection_name
from projections.stores.local.queries import in_order
from projections.stores.local.rocksdb import RocksDBStore
from projections.stores.rows import decode_stored
from projections.timers.projection import DUE, time_text, timers
from streams.deciding.messages import command_headers
from streams.journal.position import BEGINNING, Place
from streams.kafka.client import KafkaClient, ProducerRecord

log = logging.getLogger(__name__)

LONGEST_SLEEP = timedelta(seconds=1)
SHORTEST_SLEEP = 0.02
AFTER_ERROR_SECONDS = 1.0
SHARE = 4
"""So many times as long as looking takes it sleeps at least: a flood of timers leaves the worker to others."""
MOST_AT_ONCE = 1_000
"""Timers of one partition that were asked to fire and are still there. With so many no other one is asked: who fires
them is down or has enough to do."""
LOOK_AGAIN = timedelta(minutes=1)
"""A partition is looked at so often though nothing seems to have changed."""
FIRST_REPEAT, LONGEST_REPEAT = timedelta(minutes=1), timedelta(hours=1)
"""A timer that is still there is asked again after so long, and then after twice as long each time."""


AT_ONCE = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class AskedTimer:
    """A timer that was asked to fire: for which due time, when to ask it again, and the pause until then."""

    due: str
    again: datetime
    pause: timedelta


@dataclass
class PartitionLook:
    """What was seen of a partition: where its table was, what was asked and is still there, when to look again."""

    partition: PartitionProcessor
    table: str
    place: Place = BEGINNING
    asked: dict[str, AskedTimer] = field(default_factory=dict)
    until: datetime = AT_ONCE

    @property
    def now(self) -> Place:
        """Where the table is at this moment."""
        kept = self.partition.tables.get(self.table)
        return self.place if kept is None else kept.place.at


class TimerWatch:
    """Watches the partitions of the table of pending timers that this worker has. `topic` takes the commands."""

    def __init__(
        self,
        source: ProjectionGroup,
        store: RocksDBStore,
        broker: KafkaClient,
        topic: str,
        sender: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._store = store
        self._broker = broker
        self._topic = topic
        self._sender = sender
        self._now = now
        self._looks: dict[int, PartitionLook] = {}

    async def run(self) -> None:
        """Watch for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                until = min(await self.look(), self._now() + LONGEST_SLEEP)
            except Exception as error:
                log.warning("timers: they are late until this is over: %r", error)
                await asyncio.sleep(AFTER_ERROR_SECONDS)
                continue
            await asyncio.sleep(max(SHORTEST_SLEEP, SHARE * (loop.time() - began)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((until - self._now()).total_seconds()), self._source.moved:
                    await self._source.moved.wait_for(self._have_changed)

    async def look(self) -> datetime:
        """Ask what is due to fire; when to look again, unless something moves before. Raises `TableError`."""
        self._looks = {
            number: self._look_of(number, partition, table)
            for number, partition in self._source.partitions.items()
            if (table := current_table(partition)) is not None
        }
        await asyncio.gather(*(self._look_at(number, look) for number, look in self._looks.items()))
        return min((look.until for look in self._looks.values()), default=self._now() + LONGEST_SLEEP)

    def _have_changed(self) -> bool:
        """Whether timers have come or gone since they were looked at."""
        return any(look.place != look.now for look in self._looks.values())

    def _look_of(self, number: int, partition: PartitionProcessor, table: str) -> PartitionLook:
        look = self._looks.get(number)
        same = look is not None and look.partition is partition and look.table == table
        return look if look is not None and same else PartitionLook(partition, table)

    async def _look_at(self, number: int, look: PartitionLook) -> None:
        now, place = self._now(), look.now
        if place == look.place and now < look.until:
            return
        due, asked, until = due_timers(self._store, number, look.table, now, look.asked)
        if due:
            await self._broker.publish(self._topic, number, self._commands(number, look.table, due))
        look.place, look.asked, look.until = place, asked, until

    def _commands(self, partition: int, table: str, keys: Sequence[str]) -> list[ProducerRecord]:
        rows = self._store.get_many(partition, table, keys)
        found = ((key, decode_stored(rows[key])) for key in keys if key in rows)
        return [fire_timer(key, it.position, it.row, self._sender) for key, it in found if it.row is not None]


def current_table(partition: PartitionProcessor) -> str | None:
    """A table of the pending timers that is up to date, whether it answers queries or not. One that is behind shows
    timers which have long fired."""
    tables = (table for table in partition.tables if projection_name(table) == timers.name)
    return next((table for table in tables if partition.is_current(table)), None)


def due_timers(
    store: RocksDBStore, partition: int, table: str, now: datetime, before: Mapping[str, AskedTimer]
) -> tuple[list[str], dict[str, AskedTimer], datetime]:
    """The ids of timers to be asked now, all that are asked and still there, and when there will be more to ask.

    `before` are those that were asked. Each is left alone for a while, unless it was moved.
    """
    to_ask: list[str] = []
    asked: dict[str, AskedTimer] = {}
    until = now + LOOK_AGAIN
    now_text = time_text(now)
    for due, key in in_order(store, partition, table, DUE):
        if due > now_text:
            until = min(until, datetime.fromisoformat(due))
            break
        if len(asked) == MOST_AT_ONCE:
            break
        known = before.get(key)
        if known is None or known.due != due:
            known = AskedTimer(due, now + FIRST_REPEAT, FIRST_REPEAT)
            to_ask.append(key)
        elif known.again <= now:
            pause = min(2 * known.pause, LONGEST_REPEAT)
            known = AskedTimer(due, now + pause, pause)
            to_ask.append(key)
        asked[key] = known
        until = min(until, known.again)
    return to_ask, asked, until


def fire_timer(key: str, position: str, row: Mapping[str, str], sender: str) -> ProducerRecord:
    """The command to a timer as a record. Its id is made of the event that has scheduled it: it fires once for each. It
    goes on in the trace of whoever scheduled it."""
    id = f"fire:{position}"
    headers = command_headers(id, "FireTimer", sender, correlation_id=row["correlation_id"])
    return key.encode(), msgspec.json.encode({"due": row["due"]}), headers

"""Replies to commands that came over HTTP: a worker reads those of its partitions, and keeps them in a file.

A worker has the partitions of the topic whose tables it has, and reads also those of which it keeps copies of the
tables: when the worker that has one of these is gone, what became of its commands is here already. The file says where
to read on, and for a partition that it does not have the last day is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import (
    KnownCommand,
    LogEntry,
    PendingCommand,
    now_ms,
    read_entry,
)
from projections.gateway.pending_commands import PendingCommands
from projections.gateway.waiters import NotHere, ReplyWaiters
from projections.stores.local.sqlite_errors import is_damage
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Reply
from streams.kafka.client import KafkaClient, partition_of
from streams.kafka.client_factory import ClientFactory
from streams.kafka.records import AIOKafkaConsumer, UnreadableRecord
from streams.kafka.topics import DAY
from streams.runtime.log_lines import RateLimit

log = logging.getLogger(__name__)
seldom = logging.getLogger(f"{__name__}.seldom")
"""Logs once in a while what may be said of each record, of which others may write any number."""
seldom.addFilter(RateLimit())

FETCH_WAIT_MS = 5_000
"""How long a broker keeps a request that finds nothing. All partitions are in it, so a record that comes ends it."""
AT_ONCE = 500
"""Records that are written at once, while nothing else is done."""
POSITIONS_SECONDS = 0.5
"""Between two looks how far all partitions are read, whether something has come of them or not."""
PAUSE = 1.0
ERRORS = (KafkaError, TimeoutError)


class GatewayReplies:
    """Reads `topic`, which has `partitions`, into the file `commands`.

    `pending` are the commands without a reply, `waiters` the requests that wait for one. `is_note` tells the notes of
    workers of the read side from those of somebody else, who may write replies.
    """

    def __init__(
        self,
        broker: KafkaClient,
        commands: CommandLog,
        waiters: ReplyWaiters,
        *,
        clients: ClientFactory,
        topic: str,
        partitions: int,
        is_note: Callable[[Any], bool] = lambda record: True,
    ) -> None:
        self.pending = PendingCommands()
        self.waiters = waiters
        self.commands = commands
        self._broker = broker
        self._clients = clients
        self._topic = topic
        self._partitions = partitions
        self._is_note = is_note
        self._active: frozenset[int] = frozenset()
        """The partitions that this worker has."""
        self._standby: frozenset[int] = frozenset()
        """The partitions that it reads for the time when it has them."""
        self._read_to: dict[int, int] = {}
        """By partition the offset up to which the file has all."""
        self._ends: dict[int, int] = {}
        """The ends of the partitions when this worker began to read them."""
        self._moved = asyncio.Condition()
        """Notified when `_read_to` or `_active` has changed."""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the file, which is of the topic as it is now. Raises `sqlite3.Error`."""
        described = await until_it_answers(
            lambda: self._broker.describe([self._topic]), f"Kafka: finding {self._topic}", ERRORS
        )
        self.commands.open(described[self._topic].id)

    async def assign(self, active: Collection[int], standby: Collection[int]) -> None:
        """Have these partitions from now on, and read the others too; whatever does not answer, it goes on.

        Who waits for a command of another partition waits no longer.
        """
        before = self._active, self._standby
        self._active, self._standby = frozenset(active), frozenset(standby)
        if (self._active, self._standby) == before:
            return
        if self._task is not None:
            await cancel(self._task)
        self.waiters.keep(self.has)
        self.pending.keep(self.has)
        async with self._moved:
            self._read_to = {}
            self._moved.notify_all()
        if self._active or self._standby:
            self._task = asyncio.create_task(self._run(), name=f"reading {self._topic}")

    async def close(self) -> None:
        """Have no partition, and close the file."""
        await self.assign((), ())
        self.commands.close()

    def has(self, id: str) -> bool:
        """Whether the partition of a command is here."""
        return self._partition(id) in self._active

    def _partition(self, id: str) -> int:
        return partition_of(id.encode(), self._partitions)

    # -- what is known ------------------------------------------------------------------------------------------------

    async def find_for_sure(self, id: str) -> KnownCommand | None:
        """What is known of a command, after reading all records that were there at the call and may be about it.

        Raises `sqlite3.Error`, `KafkaError`, and `NotHere` when its partition moves away meanwhile.
        """
        known, partition = self.commands.find(id), self._partition(id)
        if known is None:
            end = await self._broker.end_offset(self._topic, partition)
            await self._until_read(partition, lambda: end)
            known = self.commands.find(id)
        if known is not None and known.reply is None:
            await self._until_read(partition, lambda: self._ends[partition])
            known = self.commands.find(id)
        return known

    async def _until_read(self, partition: int, end: Callable[[], int]) -> None:
        """Wait until a partition is read to its `end()`, which is called when it is being read."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    partition not in self._active or (partition in self._read_to and self._read_to[partition] >= end())
                )
            )
        if partition not in self._active:
            raise NotHere("the partition of the command has just moved")

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except sqlite3.Error as error:
                log.warning("%s: replies are not kept: %s", self._topic, error)
                self._read_to.clear()
                if is_damage(error):
                    self.commands.remove()
                self.commands.close()
            except Exception:
                log.exception("%s: reading replies", self._topic)
            await asyncio.sleep(PAUSE)

    async def _read(self) -> None:
        """Read for ever, from where the file says. Raises `sqlite3.Error`."""
        await self.open()
        self._add_pending(self.commands.pending())
        looked = 0.0
        async with self._consumer() as consumer:
            while True:
                await yield_if_due()
                batches = await until_it_answers(
                    lambda: consumer.getmany(timeout_ms=1_000, max_records=AT_ONCE),
                    f"Kafka: reading {self._topic}",
                    ERRORS,
                )
                # Where it reads on; now and then of all partitions, also behind the mark of a transaction.
                if is_due := time.monotonic() - looked > POSITIONS_SECONDS:
                    looked = time.monotonic()
                tps = consumer.assignment() if is_due else batches
                positions = {tp.partition: await consumer.position(tp) for tp in tps}
                self._keep(list(chain.from_iterable(batches.values())), positions)
                async with self._moved:
                    self._moved.notify_all()

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._clients.consumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await until_it_answers(consumer.start, f"Kafka: reading {self._topic}", ERRORS)
            tps = [TopicPartition(self._topic, partition) for partition in self._active | self._standby]
            consumer.assign(tps)
            starts = await until_it_answers(lambda: self._starts(consumer, tps), f"Kafka: {self._topic}", ERRORS)
            for tp, start in starts.items():
                consumer.seek(tp, start)
            async with self._moved:
                self._read_to = {tp.partition: start for tp, start in starts.items()}
                self._moved.notify_all()
            yield consumer
        finally:
            await consumer.stop()

    async def _starts(self, consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where to read on: where the file ends, but nothing that is older than a day, which the topic may hold yet."""
        stored = self.commands.offsets()
        ends = await consumer.end_offsets(tps)
        in_time = await consumer.offsets_for_times(dict.fromkeys(tps, now_ms() - DAY))
        starts = {}
        for tp in tps:
            first, next = in_time[tp], stored.get(tp.partition, 0)
            oldest = ends[tp] if first is None else first.offset
            starts[tp] = max(oldest, next if next <= ends[tp] else 0)
        self._ends = {tp.partition: end for tp, end in ends.items()}
        return starts

    def _keep(self, records: Iterable[Any], positions: Mapping[int, int]) -> None:
        """Write records to the file, and where to read on, and hand the replies among them to whoever waits for them.

        Raises `sqlite3.Error`.
        """
        self.pending.remove_before(now_ms() - DAY)
        read = [entry for record in records if (entry := read_record(record, self._is_note)) is not None]
        replies = [reply for _, reply in read if reply is not None]
        for reply in replies:  # also while the file cannot be written
            self.waiters.take(reply)
        offsets = {partition: at for partition, at in positions.items() if at != self._read_to.get(partition)}
        if offsets:
            self._add_pending(self.commands.write([entry for entry, _ in read], offsets, now_ms()))
            self._read_to.update(offsets)
        for reply in replies:
            self.pending.answered(reply)

    def _add_pending(self, commands: Iterable[PendingCommand]) -> None:
        for command in commands:
            if self.has(command.sent.command_id):
                self.pending.add(*command)


def read_record(
    record: Any, is_note: Callable[[Any], bool] = lambda record: True
) -> tuple[LogEntry, Reply | None] | None:
    """A record of the topic, with the reply if it is one; None for one that is neither a note nor a reply."""
    if isinstance(record, UnreadableRecord):  # that was said
        return None
    try:
        # A time that is still to come would keep what stands behind it from ever being too old.
        read = read_entry(record.value or b"", min(record.timestamp, now_ms()))
        if read[1] is None and not is_note(record):
            raise ValueError("a note that no worker of the read side has written")
        return read
    except Exception as error:  # whatever it is, the replies behind it are read
        seldom.warning(
            "%s-%d: offset %d is no reply, and is left out: %r", record.topic, record.partition, record.offset, error
        )
        return None

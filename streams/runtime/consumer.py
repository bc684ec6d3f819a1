"""Faust's Kafka consumer, where it must be held right: its place in the group, what it commits, what it reads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

import streams.kafka.records  # noqa: F401  (the net below what Faust reads)
from streams.runtime.partition_pump import ConsumerRecord, PartitionPump
from streams.security.refusals import TopicForbidden, group_forbidden, group_named

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0
FORBIDDEN_SECONDS = 1.0
"""Between two attempts to read what may not be read."""
READING = "reading what the group has shared out"
LOOK_AFTER_SECONDS = 1.0
CONFIRMED_SECONDS = 0.1
"""A heartbeat that is waited for is looked for this often."""
NO_MEMBER_SECONDS = 90.0
"""A rebalance keeps who joins waiting for 60 s at the most."""
FETCH_WAIT_MS = 100
"""How long the broker keeps a request that finds nothing."""
FULL_SECONDS = 0.02
"""While a partition is full, aiokafka is asked this often: it does not notice when what lies there is wanted again."""


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's thread around aiokafka, which has the broker keep a request that finds nothing for 1.5 s, and no setting
    for it. A partition that was full is not in the request that is on its way, and waits as long for its next one.
    Where only seats of logs are shared out there is nothing to read, and no hurry."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if transport.app.receivers or transport.app.tables:
            consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Shares out the partitions of Faust's topics, and stays in its group.

    Topics that have a receiver are read past Faust's streams, with what these do for each message (two tasks, an event,
    a queue, its acknowledgement). Faust still places the partitions, and its rebalances begin and end their reading.
    Commands and hints are not read here at all: see `streams.kafka.command_reader`, and `Application.place`. Nor is the
    changelog of a table that is recovered, whatever Faust asks for: aiokafka would fetch it all the same.
    """

    _heartbeat = 0.0
    """When the newest heartbeat was sent that the group's broker has answered well."""
    _group_error = ""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handover = PartitionPump(self._receive, self.crash)
        self._alone: set[TP] = set()
        """What is not fetched until the next rebalance."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # Before Faust recovers tables, which takes a while.
        self._note_heartbeats(self._thread._consumer._coordinator)
        self._alone = set()
        self._leave_alone({tp for tp in assigned if tp.topic in self.app.unread})
        await self.app.before_assigned(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        # Faust forgets acknowledged offsets before it commits, so what was done since the last commit would come again.
        await self.app.before_revoke()
        await self._handover.drop()
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if full := self._handover.full:
            timeout = FULL_SECONDS
            active_partitions = (self.assignment() if active_partitions is None else active_partitions) - full
            if not active_partitions:
                await self._some_are_free(timeout)
                return {}
        try:
            records = await super()._getmany(active_partitions, timeout)
        except TopicAuthorizationFailedError as error:
            self._say(READING, str(TopicForbidden.of(error, "read", "Read")))
            await self.sleep(FORBIDDEN_SECONDS)
            return {}
        except GroupAuthorizationFailedError:
            self._say(group_named(self.app.conf.id), group_forbidden(self.app.conf.id))
            self.rejoin()
            await self.sleep(FORBIDDEN_SECONDS)
            return {}
        self.app.supervisor.well(READING)
        for tp in [tp for tp in records if tp.topic in self.app.unread]:  # fetched before it was left alone
            del records[tp]
        if self.flow_active:
            for tp in [tp for tp in records if tp.topic in self.app.receivers]:
                self._hand_over(TP(*tp), records.pop(tp))
        return records

    def _say(self, what: str, trouble: str) -> None:
        """Say it once, and have health show it; Faust would end the worker."""
        if self.app.supervisor.trouble(what, trouble):
            log.error("Kafka: %s", trouble)

    async def _some_are_free(self, seconds: float) -> None:
        self._handover.freed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._handover.freed.wait()

    def _hand_over(self, tp: TP, records: Sequence[ConsumerRecord]) -> None:
        self._read_offset[tp] = max(self._read_offset[tp] or 0, records[-1].offset)
        self._handover.put(tp, records)

    async def _receive(self, tp: TP, records: Sequence[ConsumerRecord]) -> None:
        await self.app.receivers[tp.topic].receive(tp.partition, records)
        self.app.monitor.stream_inbound_time[tp] = (
            time.monotonic()
        )  # by which Faust tells whether a stream stands still

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in list(self._read_offset):  # what is assigned, and has a place to read from
            if tp.topic in self.app.receivers and (topics is None or tp in topics or tp.topic in topics):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        receiver = self.app.receivers.get(tp.topic)
        offset: int | None = super()._new_offset(tp) if receiver is None else receiver.covered(tp.partition)
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Faust counts the first message after a gap as part of it, and commits it before it is done.
        if offset_to - 1 >= offset_from:
            await super()._add_gap(tp, offset_from, offset_to - 1)

    def rest(self) -> None:
        """A rebalance is over, and the tables of this worker are recovered."""
        changelogs = self.app.tables.changelog_topics
        self._leave_alone({tp for tp in self.app.assignor.assigned_actives() if tp.topic in changelogs})

    def _leave_alone(self, tps: set[TP]) -> None:
        """Have aiokafka fetch nothing of these until the next rebalance."""
        thread = self._thread
        self._alone |= tps
        if thread._consumer is not None and thread.thread_loop is not None and tps:
            thread.thread_loop.call_soon_threadsafe(_pause, thread._consumer, tps)

    def verify_event_path(self, now: float, tp: TP) -> None:
        if tp not in self._alone:  # it would say that aiokafka does not fetch
            super().verify_event_path(now, tp)

    def rejoin(self) -> None:
        """Ask for a rebalance, in which Faust recovers the tables of this worker."""
        thread = self._thread
        consumer = thread._consumer
        if consumer is not None and thread.thread_loop is not None:
            thread.thread_loop.call_soon_threadsafe(consumer._coordinator.request_rejoin)

    @Service.task
    async def _stay_in_the_group(self) -> None:
        """Be a member for as long as the event loop turns, also while there is nothing to read or nothing may be read.

        aiokafka leaves the group for good when nobody has asked it for records for `max.poll.interval`; and Faust does
        not ask when no partition is assigned, nor do we while all are full. Where a worker is no member any more and
        does not become one, it ends, so that whoever keeps it running begins it again.
        """
        seconds = 0.0  # counted, not measured: a process that was stopped for a while is to have its time
        while not self.should_stop and not self.app.client_only:
            await self.sleep(LOOK_AFTER_SECONDS)
            consumer, loop = self._thread._consumer, self._thread.thread_loop
            if consumer is None or consumer._coordinator is None or loop is None or self.should_stop:
                continue
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(self._look_after, consumer)
            seconds = 0.0 if _is_member(consumer._coordinator) else seconds + LOOK_AFTER_SECONDS
            if seconds > NO_MEMBER_SECONDS:
                log.critical(
                    "Kafka answers, and this worker has been no member of the group %s for %.0f s: it ends",
                    self.app.conf.id,
                    NO_MEMBER_SECONDS,
                )
                logging.shutdown()
                os._exit(1)

    def _look_after(self, consumer: Any) -> None:
        """In aiokafka's thread: records were asked for just now, and what it has to say is heard, for it does nothing
        before that."""
        with consumer._subscription.fetch_context():
            pass
        try:
            consumer._coordinator.check_errors()
        except GroupAuthorizationFailedError:
            self._say(group_named(self.app.conf.id), group_forbidden(self.app.conf.id))
            consumer._coordinator.request_rejoin()  # aiokafka sends no more heartbeats after such an answer
        except KafkaError as error:
            if str(error) != self._group_error:
                log.error("the consumer group %s: %s", self.app.conf.id, error)
            self._group_error = str(error)

    def _note_heartbeats(self, coordinator: Any) -> None:
        """Have the coordinator say when the group took this worker for a member: aiokafka keeps that to itself."""
        beat = coordinator._do_heartbeat
        if getattr(beat, "noted", False):
            return

        async def heartbeat() -> bool:
            sent = time.monotonic()
            if good := bool(await beat()):
                self._heartbeat = sent
                self.app.supervisor.well(group_named(self.app.conf.id))
            return good

        heartbeat.noted = True  # type: ignore[attr-defined]
        coordinator._do_heartbeat = heartbeat

    async def confirmed(self) -> None:
        """Return when the group has answered a heartbeat sent from now on: this worker is a member, and what is
        assigned to it is its own. Waits while the group's broker cannot be reached."""
        now = time.monotonic()
        while True:
            await asyncio.sleep(CONFIRMED_SECONDS)
            if self._heartbeat > now:
                return

    async def leave(self) -> None:
        """Leave the consumer group now, before all that has still to be shut down; what was done is committed first."""
        consumer = self._thread._consumer
        if consumer is not None:
            await self.commit()
            with contextlib.suppress(TimeoutError):  # in the middle of a rebalance: it leaves when that is over
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._thread.call_thread(consumer._coordinator.close)

    @property
    def member_id(self) -> str:
        """The name that the consumer group knows this worker by."""
        return str(self._thread._consumer._coordinator.member_id)


def _is_member(coordinator: Any) -> bool:
    """Whether a member of the group is one for its broker too; so it is taken to be while no broker answers for it."""
    if coordinator._coordination_task.done():
        return False
    return coordinator.coordinator_id is None or coordinator.generation > 0


def _pause(consumer: Any, tps: set[TP]) -> None:
    consumer.pause(*(tp for tp in consumer.assignment() if tp in tps))  # it takes none of Faust's own kind


class Transport(driver.Transport):  # type: ignore[misc]
    """Kafka by aiokafka, with the consumer above."""

    Consumer: ClassVar[type] = Consumer

"""Replies and hints, sent in the background, a batch at a time for each partition, and bounded in all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from streams.notices import say_error, warn
from streams.security.refusals import TopicForbidden
from streams.security.reply_topics import ANYWHERE, ReplyTopics
from streams.slices import partition_of

log = logging.getLogger(__name__)

MAX_PENDING = 20_000
"""The most replies on their way to Kafka; owners wait when there are more."""
MAX_PENDING_BYTES = 64 * 1024 * 1024
MAX_HINTS = 16
"""The most hints of a log that wait."""
HINT_AGAIN_SECONDS = 1.0
MAX_REPLY_TOPICS = 1_000
"""The most reply topics whose partitions are known; the one without a reply for the longest time is looked up again."""
LOOKED_UP_AT_ONCE = 16
SAY_AGAIN_SECONDS = 60.0

ProducerRecord = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers of a record that is sent."""
Send = Callable[[str, int, Sequence[ProducerRecord]], Awaitable[object]]
Find = Callable[[str], Awaitable[int]]


class Sender:
    """A reply that cannot be sent is lost and logged: a client that still wants it asks again. Of the hints that cannot
    be sent the newest is sent again, until Kafka has one.

    `send` sends records of one partition in order. `find` returns the number of partitions of a reply topic, which it
    makes if it is missing. An error of either concerns that topic alone. `spawn` runs a task in the background.
    `allowed` are the topics to which replies may go.
    """

    def __init__(
        self,
        send: Send,
        find: Find,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        allowed: ReplyTopics = ANYWHERE,
    ) -> None:
        self._allowed = allowed
        self._send = send
        self._find = find
        self._spawn = spawn
        self._topics: OrderedDict[str, int] = OrderedDict()
        self._refused: set[str] = set()
        self._say_again: dict[str, float] = {}
        """By topic when it is said again that nothing may be sent there."""
        self._waiting: dict[str, list[ProducerRecord]] = {}
        self._queues: dict[tuple[str, int], list[ProducerRecord]] = {}
        self._drained = asyncio.Condition()
        self._is_ending = False
        self._lookups = asyncio.Semaphore(LOOKED_UP_AT_ONCE)
        self.pending = 0
        """Replies on their way, and `pending_bytes` of them."""
        self.pending_bytes = 0
        self.lost = 0
        """Replies that could not be sent, or may not."""

    async def reply(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """Send replies (topic, key, value) in the background; waits while too many are on their way.

        A topic that does not exist is made. Replies to one that is not allowed are dropped.
        """
        for topic, key, value in replies:
            name = key.encode()
            record: ProducerRecord = name, value, []
            partitions = self._topics.get(topic)
            if partitions is not None:
                self._topics.move_to_end(topic)
                self._put(topic, partitions, record)
            elif topic in self._waiting:
                self._waiting[topic].append(record)
            elif self._allowed.allow(topic):
                self._waiting[topic] = [record]
                self._spawn(self._look_up(topic))
            else:
                self._refuse(topic)
                continue
            self.pending += 1
            self.pending_bytes += len(name) + len(value)
        async with self._drained:
            await self._drained.wait_for(lambda: self.pending < MAX_PENDING and self.pending_bytes < MAX_PENDING_BYTES)

    def hint(self, topic: str, partition: int, value: bytes) -> None:
        """Send a commit hint in the background."""
        queue = self._queue(topic, partition, counted=False)
        if len(queue) >= MAX_HINTS:
            queue.clear()  # the newest names the newest commit
        queue.append((None, value, []))

    def _put(self, topic: str, partitions: int, record: ProducerRecord) -> None:
        self._queue(topic, partition_of(record[0] or b"", partitions), counted=True).append(record)

    def _refuse(self, topic: str) -> None:
        self.lost += 1
        if topic not in self._refused:
            if len(self._refused) >= MAX_REPLY_TOPICS:
                self._refused.clear()
            self._refused.add(topic)
            warn(log, "no-replies", topic, "no replies to %r: %s", topic, self._allowed.refusal(topic))

    async def _look_up(self, topic: str) -> None:
        partitions = None
        try:
            async with self._lookups:
                partitions = await self._find(topic)
        except Exception as error:
            warn(log, "no-replies", topic, "no replies to %r: %s", topic, error or repr(error))
        finally:
            waiting = self._waiting.pop(topic)
            if partitions is None:
                self.lost += len(waiting)
                await self._settled(waiting)
            else:
                self._topics[topic] = partitions
                if len(self._topics) > MAX_REPLY_TOPICS:
                    self._topics.popitem(last=False)
                for record in waiting:
                    self._put(topic, partitions, record)

    def _queue(self, topic: str, partition: int, counted: bool) -> list[ProducerRecord]:
        place = (topic, partition)
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = []
            self._spawn(self._pump(place, queue, counted))
        return queue

    async def _pump(self, place: tuple[str, int], queue: list[ProducerRecord], counted: bool) -> None:
        """Send the queue of one partition, a batch at a time: while one is on its way the next one grows."""
        try:
            await asyncio.sleep(0)
            while queue:
                records = queue.copy()
                queue.clear()
                try:
                    await self._send(*place, records)
                except Exception as error:
                    self._topics.pop(place[0], None)
                    self._say_lost(place[0], len(records), error)
                    self.lost += counted * len(records)
                    if not counted:
                        await self._hint_again(queue, records[-1])
                finally:
                    if counted:
                        await self._settled(records)
        finally:
            del self._queues[place]
            if counted and queue:
                await self._settled(queue)

    async def _hint_again(self, queue: list[ProducerRecord], hint: ProducerRecord) -> None:
        """Have a hint sent again that could not be, unless a newer one waits, or there is to be nothing sent."""
        await asyncio.sleep(HINT_AGAIN_SECONDS)
        if not queue and not self._is_ending:
            queue.append(hint)

    def end(self) -> None:
        """Send what waits, and nothing again."""
        self._is_ending = True

    def _say_lost(self, topic: str, count: int, error: Exception) -> None:
        """What may not be sent is said now and then: it is so for as long as nobody grants the right."""
        now = time.monotonic()
        if isinstance(error, TopicForbidden):
            if now < self._say_again.get(topic, 0.0):
                return
            self._say_again[topic] = now + SAY_AGAIN_SECONDS
            say_error(log, "replies-lost", topic, "messages to it are lost: %s", error)
        else:
            warn(log, "replies-lost", topic, "%d messages to %s are lost: %r", count, topic, error)

    async def _settled(self, records: Sequence[ProducerRecord]) -> None:
        self.pending -= len(records)
        self.pending_bytes -= sum([len(key or b"") + len(value or b"") for key, value, _ in records])
        async with self._drained:
            self._drained.notify_all()

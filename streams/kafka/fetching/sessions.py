"""Fetch sessions (KIP-227) for every consumer of this process: a request says what has changed since the one before.

aiokafka names all partitions in each request, and the broker answers for each of them. A consumer of a hundred
partitions, one of which has a record now and then, spends most of its time on that. In a session the broker remembers
what was asked, and answers for the partitions alone that have something: Java's consumer does the same.

A consumer to which nothing comes asks less and less often: a broker answers at once when there is something, but for a
partition that is not in the request, since its records wait here, or that is sought elsewhere meanwhile.

A session is given up whenever it is not certain what the broker knows: the next request names everything again.
Importing `streams.kafka.records` replaces aiokafka's `Fetcher` by the class below.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

SINCE_VERSION = 7
"""Of fetch requests."""
FIRST, LAST_EPOCH = 0, 2**31 - 1
NOT_FOUND = 70
"""The broker's error for a session that it has forgotten."""
NO_ERROR, OUT_OF_RANGE = 0, 1
"""Of a partition; the second one is met by reading from elsewhere."""
LONGEST_WAIT_MS = 500
"""So long a broker keeps a request that finds nothing, at the end of a quiet time."""
MOST_QUIET = 10
CANCEL_AGAIN_SECONDS = 0.1
METADATA_SECONDS = 0.1
"""Between two looks at where partitions are."""
NOTE_SECONDS = 1.0
"""How often it is noted that the partitions were asked for of which nothing came; Faust looks at that."""

Asked = tuple[int, int]
"""From which offset, and how many bytes at most."""
Wanted = Mapping[TopicPartition, Asked]


class FetchSession:
    """What one broker has been asked for by one consumer. There is one request on its way at a time."""

    def __init__(self) -> None:
        self.id = 0
        self.epoch = FIRST
        """Of the next request; the first one of a session names everything."""
        self.quiet = 0
        """How often in a row the same was asked for and nothing came."""
        self._known: Wanted = {}
        self.most = 0
        """The most partitions that a request has wanted since it began."""
        self.fails = False
        """Whether the broker has answered with an error for a partition."""

    def next_request(self, request: FetchRequest) -> SessionRequest:
        """A request for the same, as the session needs it."""
        wanted = {
            TopicPartition(topic, partition): (offset, most)
            for topic, partitions in request.topics
            for partition, offset, most in partitions
        }
        known = {} if self.epoch == FIRST else self._known
        self._known = wanted
        self.most = max(self.most, len(wanted))
        return SessionRequest(request, self, wanted, known)

    def answered(self, response: Any) -> None:
        """Go on behind an answer, if the session does."""
        self.fails = any(
            error_code not in (NO_ERROR, OUT_OF_RANGE)
            for _, partitions in response.topics
            for _, error_code, *_ in partitions
        )
        if response.API_VERSION < SINCE_VERSION:
            return
        if response.error_code or not response.session_id:
            self.give_up(0 if response.error_code in (0, NOT_FOUND) else self.id)
        else:
            self.id = response.session_id
            self.epoch = 1 if self.epoch == LAST_EPOCH else self.epoch + 1

    def give_up(self, id: int) -> None:
        """Begin another one, in the place of the one with this id, which the broker may have; 0 for none."""
        self.id, self.epoch, self.most = id, FIRST, 0


class SessionRequest(FetchRequest):  # type: ignore[misc]
    """A fetch request in a session: what is wanted, to a broker that knows what was wanted before. A broker of before
    sessions is asked for everything."""

    _max_wait_ms: int
    _topics: Any

    def __init__(self, whole: FetchRequest, session: FetchSession, wanted: Wanted, known: Wanted) -> None:
        super().__init__(
            whole._max_wait_ms,
            whole._min_bytes,
            whole._max_bytes,
            whole._isolation_level,
            whole.topics,
            rack_id=whole._rack_id,
        )
        self.session = session
        self._changed = {tp: asked for tp, asked in wanted.items() if known.get(tp) != asked}
        self._forgotten = [tp for tp in known if tp not in wanted]
        self.moved = [tp for tp in self._changed if tp in known]
        """The partitions that are read from elsewhere than before."""
        self.is_new = bool(self._changed or self._forgotten)
        """Whether something else is wanted than before."""
        self.leaves_some_out = len(wanted) < session.most
        """Whether some are not wanted that were, once in this session."""

    def wait(self, at_most: int) -> None:
        """Have the broker keep it longer while nothing comes, `at_most` so many milliseconds."""
        self._max_wait_ms = max(self._max_wait_ms, min(self._max_wait_ms << self.session.quiet, at_most))

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION < SINCE_VERSION:
            return super().build(request_struct_class)
        whole, self._topics = self._topics, _by_topic((tp, (tp.partition, *to)) for tp, to in self._changed.items())
        struct = super().build(request_struct_class)
        self._topics = whole
        struct.session_id, struct.session_epoch = self.session.id, self.session.epoch
        struct.forgotten_topics_data = _by_topic((tp, tp.partition) for tp in self._forgotten)
        return struct


def _by_topic(items: Iterable[tuple[TopicPartition, Any]]) -> list[tuple[str, list[Any]]]:
    topics: dict[str, list[Any]] = {}
    for tp, item in items:
        topics.setdefault(tp.topic, []).append(item)
    return list(topics.items())


class FetchingFailed(Exception):
    """A consumer fetches nothing any more, for a reason that no waiting mends: another one is to read on."""


class SessionFetcher(Fetcher):  # type: ignore[misc]
    """A fetcher that asks each broker in a session, from one assignment to the next.

    Whoever reads is told when fetching has failed, by `FetchingFailed`: aiokafka logs it, and lets him wait for ever.
    """

    def __init__(self, client: Any, *arguments: Any, **options: Any) -> None:
        self._sessions: defaultdict[int, FetchSession] = defaultdict(FetchSession)
        self._asked: Any = None
        """The assignment that the sessions are about: what aiokafka knows of a partition, it knows by assignment."""
        self._noted = 0.0
        super().__init__(_Client(client), *arguments, **options)
        self._fetch_task.add_done_callback(self._fetching_ended)

    def _fetching_ended(self, task: asyncio.Task[Any]) -> None:
        try:
            self._require_fetching()
        except FetchingFailed as failed:
            for waiter in [waiter for waiter in self._fetch_waiters if not waiter.done()]:
                waiter.set_exception(failed)

    def _require_fetching(self) -> None:
        task = self._fetch_task
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise FetchingFailed(f"reading from Kafka has failed: {error.__cause__!r}") from error

    async def next_record(self, partitions: Any) -> Any:
        self._require_fetching()
        return await super().next_record(partitions)

    async def fetched_records(self, partitions: Any, timeout: float = 0, max_records: int | None = None) -> Any:
        self._require_fetching()
        return await super().fetched_records(partitions, timeout, max_records)

    async def close(self) -> None:
        """As aiokafka's, but for two faults. A request that is cancelled while it waits to ask a failing broker again
        ended whoever closed, too, and the connections stayed. And a cancellation may be lost to a change of the
        assignment: it was waited for without end."""
        self._closed = True
        while not self._fetch_task.done():
            self._fetch_task.cancel()
            await asyncio.wait([self._fetch_task], timeout=CANCEL_AGAIN_SECONDS)
        if self._pending_tasks:
            for task in self._pending_tasks:
                task.cancel()
            await asyncio.wait(self._pending_tasks)
            self._pending_tasks.clear()
        self._client.stop_looking()
        with contextlib.suppress(KafkaError):  # by which fetching has failed: whoever reads has been told
            await super().close()

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: FetchRequest) -> Any:
        if assignment is not self._asked:
            self._asked = assignment
            for session in self._sessions.values():
                session.give_up(session.id)
        session = self._sessions[node_id]
        asked = session.next_request(request)
        if any(assignment.state_value(tp).highwater is None for tp in asked.moved):
            # Its first answer came too late for where it is read now, and the broker does not repeat what has no news.
            session.give_up(session.id)
            asked = session.next_request(request)
        if asked.is_new or self._records or asked.leaves_some_out:
            session.quiet = 0
        asked.wait(LONGEST_WAIT_MS)
        session.fails = False
        has_records = await super()._proc_fetch_request(assignment, node_id, asked)
        if session.fails and not has_records:
            await asyncio.sleep(self._retry_backoff)  # aiokafka asks again at once, many hundred times a second
        session.quiet = 0 if has_records else min(session.quiet + 1, MOST_QUIET)
        self._note_asked(assignment, request)
        return has_records

    def _note_asked(self, assignment: Any, request: FetchRequest) -> None:
        """Note now and then when all partitions were asked for."""
        now = time.time()
        if now - self._noted < NOTE_SECONDS or not assignment.active:
            return
        self._noted = now
        for topic, partitions in request.topics:
            for partition, *_ in partitions:
                assignment.state_value(TopicPartition(topic, partition)).timestamp = int(now * 1000)


class _Client:
    """A client of aiokafka that tells sessions what became of their requests, and looks for leaders with pauses: for as
    long as a partition has none, a fetcher has it look again at once, some hundred times a second."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._looking: asyncio.Task[Any] | None = None
        self._looked_at = float("-inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, SessionRequest):
            return await self._client.send(node_id, request, **options)
        session = request.session
        try:
            response = await self._client.send(node_id, request, **options)
        except BaseException:
            session.give_up(session.id)  # the broker may have had the request, and may not
            raise
        session.answered(response)
        return response

    def force_metadata_update(self) -> asyncio.Future[Any]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> Any:
        if (pause := self._looked_at + METADATA_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        self._looked_at = time.monotonic()
        return await self._client.force_metadata_update()

    def stop_looking(self) -> None:
        """It is closed: nobody waits for a look any more."""
        if self._looking is not None:
            self._looking.cancel()

"""The tailer: publishes a journal's commits as events, in order, without a gap, one task per stream.

The log of commits is dense, so reading nr + 1 until it is there can miss nothing. Hints only wake it. Where
to go on is what the events topic itself says: its last record carries the position it was published from;
where retention has removed that, a copy beside the journal does. A record sent twice has the same position.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from schemas.codec import Codec, Undecodable, content_type_of, fingerprint_of
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.journal.port import Commit, Journal, Published, RecordedEvent, Unavailable, stream_name
from streams.journal.position import BEGINNING, Position, position_text
from streams.kafka.client import KafkaClient, Record, RecordTooLarge
from streams.kafka.published_through import behind, published_place

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
COMMITS_AT_ONCE = 50
EVENTS_AT_ONCE = 2_000
"""About so many are read and published together: while they are made, nobody else in this worker has a turn."""
REMEMBER_SECONDS = 5.0
LOOK_AT_TOPIC_SECONDS = 30.0
"""Between two looks whether the topic still has what was published to it, while there is nothing to do."""
HOLE_SECONDS = 15.0
COMMIT_END = ("ce_commitend", b"1")
"""Marks the last event of a commit."""
LOOK_AGAIN_SECONDS = 10.0
"""Between two looks at a log that may not be the one that was published, or at what the topic takes."""
PREVIOUS = "ce_previous"
"""The position of the event before this one in its stream: who has not had that one misses something."""
NOTHING_BEFORE = 0, 0
"""The place of it for the first event."""

_ERRORS = (Unavailable, KafkaError, TimeoutError)

Wire = Callable[[str, list[Record]], Awaitable[list[Record]]]
"""What becomes of the records of a stream before they are sent."""


class Tail:
    """One stream, from its last published event onwards."""

    def __init__(
        self,
        stream: str,
        partition: int,
        topic: str,
        source: str,
        journal: Journal,
        broker: KafkaClient,
        codec: Codec,
        wire: Wire | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.stream = stream
        self.published = Published(0, -1)
        self.end = 0
        """The offset behind the last record of the events topic."""
        self._partition = partition
        self._topic = topic
        self._source = source.encode()
        self._journal = journal
        self._broker = broker
        self._codec = codec
        self._wire = wire
        self._supervisor = supervisor or Supervisor()
        self._wake = asyncio.Event()
        self._looked = self._looked_at_topic = 0.0
        self._doubted = False
        self._most = COMMITS_AT_ONCE
        self._remembered = 0.0
        self._hinted = 0
        self._newest: str | None = None
        """The position of the last event before those to be published next; None: it is not known."""
        self._moved = time.monotonic()

    def wake(self, nr: int = 0) -> None:
        """There may be something new: commit `nr`, as a hint says."""
        self._hinted = max(self._hinted, nr)
        self._doubted |= 0 < nr < self.published.nr
        self._wake.set()

    async def run(self) -> None:
        """Publish for ever. May be called again after it has raised."""
        await self._begin()
        while True:
            if self._doubted and time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
                await self._look_at_log()
            if await self._publish():
                self._moved = time.monotonic()
            else:
                await self._report_hole()
                await self._look_at_topic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            self._wake.clear()

    async def _begin(self) -> None:
        """Find the last published event, and wait for as long as it is not in the log: publishing on behind it would
        mix two histories."""
        name, said = f"tail {self.stream}", ""
        try:
            while True:
                self.published, reason = await until_it_answers(
                    self._find, f"{self.stream}: finding the last published event", _ERRORS
                )
                self._looked, self._doubted = time.monotonic(), False
                self._looked_at_topic = self._looked
                if not reason:
                    return
                self._supervisor.trouble(name, reason)
                if reason != said:
                    log.error("%s", reason)
                    said = reason
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            self._supervisor.well(name)

    async def _look_at_log(self) -> None:
        """A commit was said to be new that is not behind those published: the hint came late, or the log is another."""
        self._looked, self._doubted = time.monotonic(), False
        with contextlib.suppress(Unavailable):
            head = await self._journal.head(self.stream)
            if head is None or head.nr < self.published.nr:
                await self._begin()

    async def _look_at_topic(self) -> None:
        """A topic that ends before what was published to it was made again, or has lost its end: it gets that again.

        Mostly the tables bring it from the log; but where a late record of a former tail stands on a new topic,
        nothing there says that anything is missing behind it.
        """
        if (now := time.monotonic()) - self._looked_at_topic < LOOK_AT_TOPIC_SECONDS:
            return
        self._looked_at_topic = now
        with contextlib.suppress(KafkaError, TimeoutError):
            end = await self._broker.end_offset(self._topic, self._partition)
            if end < self.end:
                log.warning("%s: its events topic ends before offset %d, and had %d", self.stream, end, self.end)
                self.end = end
                await self._begin()

    async def _report_hole(self) -> None:
        """A commit that was acknowledged and cannot be read any more is for people to look at.

        Anybody may write a hint, so the log is asked first whether it has what was said to be there.
        """
        if self._hinted > self.published.nr and time.monotonic() - self._moved > HOLE_SECONDS:
            self._moved = time.monotonic()
            with contextlib.suppress(Unavailable):
                head = await self._journal.head(self.stream)
                if head is None or head.nr <= self.published.nr:
                    self._hinted = self.published.nr
                    return
            log.error(
                "%s: commit %d was written, but commit %d cannot be read: nothing is published behind it. "
                "Has the journal lost writes that it had acknowledged (commitlog_sync, replication)?",
                self.stream,
                self._hinted,
                self.published.nr + 1,
            )

    async def _find(self) -> tuple[Published, str]:
        """The last published event, and why the log is not the one that it is from; empty when it is."""
        record = await self._broker.last_record(self._topic, self._partition, self._is_published)
        if record is None:
            published = await self._journal.published(self.stream) or Published(0, -1)
            self._newest = position_text(self.stream, *NOTHING_BEFORE) if published.nr == 0 else None
        else:
            self.end = record.offset + 1
            published = Published(*(published_place(record.headers, self.stream) or BEGINNING))
        head = await self._journal.head(self.stream)
        nr = head.nr if head is not None else 0
        if nr < published.nr:
            return published, behind(Position(self.stream, published.nr, published.index), nr)
        if record is not None and not await self._has(published, dict(record.headers)):
            position = Position(self.stream, published.nr, published.index)
            return published, (
                f"{self._topic} has another event {position} than the journal: is JOURNAL_URL right, was the journal"
                ' restored? See "What belongs together" in docs/operations.md'
            )
        return published, ""

    def _is_published(self, record: Any) -> bool:
        """Whether this tail, here or elsewhere, has made a record; others may write to the topic too."""
        return published_place(record.headers, self.stream) is not None

    async def _send(self, records: Sequence[Record]) -> int:
        """The offset of the last of them. One that is too large for the topic is waited for: readers would miss it."""
        name, said = f"tail {self.stream}", ""
        try:
            while True:
                try:
                    return await self._broker.publish(self._topic, self._partition, records, refuse=True)
                except RecordTooLarge as error:
                    records, reason = records[error.sent :], f"{error}: nothing is published behind it"
                    self._supervisor.trouble(name, reason)
                    if reason != said:
                        log.error("%s: %s", self.stream, reason)
                        said = reason
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            if said:
                self._supervisor.well(name)

    async def _has(self, published: Published, headers: Mapping[str, bytes]) -> bool:
        """Whether the log has this very event, as far as it can be read."""
        commits = await self._journal.commits(self.stream, published.nr - 1, 1)
        if not commits or commits[0].nr != published.nr:
            return True
        events = commits[0].events
        event = events[published.index] if 0 <= published.index < len(events) else None
        told = headers.get("ce_subject"), headers.get("ce_causationid")
        return event is not None and told == (event.aggregate_id.encode(), event.command_id.encode())

    async def _publish(self) -> bool:
        at = self.published
        after = at.nr - 1 if at.index >= 0 else at.nr
        commits = await until_it_answers(
            lambda: self._journal.commits(self.stream, after, self._most), f"{self.stream}: reading", Unavailable
        )
        # The first one may be known already, and what counts is the next.
        self._most = max(2, min(COMMITS_AT_ONCE, EVENTS_AT_ONCE * len(commits) // max(_size(commits), 1)))
        records: list[Record] = []
        newest = self._newest
        for commit in commits:
            await yield_if_due()
            done = at.index if commit.nr == at.nr else -1
            for index, headers, event in event_headers(commit, self._source, self._codec, newest):
                newest = position_text(commit.stream, commit.nr, index)
                if index > done:
                    records.append((event.aggregate_id.encode(), event.data, headers))
        if records and self._wire is not None:
            records = await self._wire(self.stream, records)
        if records:
            self.end = await self._send(records) + 1
        if not commits or (len(commits) == 1 and commits[0].nr == at.nr):
            return False
        self._newest = newest
        # Everything up to this commit is out, whether its last event stands at index 0 or 99.
        self.published = Published(commits[-1].nr, -1)
        if time.monotonic() - self._remembered > REMEMBER_SECONDS:
            self._remembered = time.monotonic()
            with contextlib.suppress(Unavailable):
                await self._journal.save_published(self.stream, self.published)
        return True


def _size(commits: Sequence[Commit]) -> int:
    return sum(len(commit.events) for commit in commits)


def event_headers(
    commit: Commit, source: bytes, codec: Codec, newest: str | None = None, first: int = 0
) -> list[tuple[int, list[tuple[str, bytes]], RecordedEvent]]:
    """The events of a commit, each with its index and with the headers that it is published with.

    `newest` is the position of the last event before them, None when it is not known. `first` is the index of the first
    of them, where the commit is only a part.
    """
    found: list[tuple[int, list[tuple[str, bytes]], RecordedEvent]] = []
    previous = newest.encode() if newest is not None else None
    moment = commit.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
    for index, event in enumerate(commit.events, first):
        if not event.is_event:
            continue
        position = position_text(commit.stream, commit.nr, index).encode()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", position),
            ("ce_type", event.type.encode()),
            ("ce_source", source),
            ("ce_subject", event.aggregate_id.encode()),
            ("ce_time", moment),
            ("ce_sequence", b"%d" % event.sequence),
            ("ce_position", position),
            ("ce_correlationid", event.correlation_id.encode()),
            ("ce_causationid", event.command_id.encode()),
            ("ce_dataschema", _dataschema(codec, event.data)),
            ("content-type", content_type_of(event.data).encode()),
        ]
        if previous is not None:
            headers.append((PREVIOUS, previous))
        if event.traceparent:
            headers.append(("ce_traceparent", event.traceparent.encode()))
        found.append((index, headers, event))
        previous = position
    if found:
        # Who waits for a commit wants all of it, and one commit may come in several batches.
        found[-1][1].append(COMMIT_END)
    return found


def _dataschema(codec: Codec, data: bytes) -> bytes:
    try:
        schema = codec.schema_of(data)
    except Undecodable:
        # Written by a newer version: the fingerprint is enough to find the schema in the journal.
        with contextlib.suppress(Undecodable):
            return b"urn:avro:" + fingerprint_of(data).hex().encode()
        return b""
    return f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}".encode()


class Tailers:
    """The tails of one aggregate type in this worker: those of the hint partitions that Kafka gave it."""

    def __init__(
        self,
        type: str,
        topic: str,
        source: str,
        journal: Journal,
        broker: KafkaClient,
        codec: Codec,
        wire: Wire | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.tails: dict[int, Tail] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._type = type
        self._supervisor = supervisor or Supervisor()

        def make(partition: int) -> Tail:
            stream = stream_name(type, partition)
            return Tail(stream, partition, topic, source, journal, broker, codec, wire, supervisor)

        self._make = make

    def assign(self, partitions: set[int]) -> None:
        """Tail exactly these. Cheap to repeat."""
        for partition in self._tasks.keys() - partitions:
            self._tasks.pop(partition).cancel()
            del self.tails[partition]
        for partition in partitions - self._tasks.keys():
            self.tails[partition] = tail = self._make(partition)
            self._tasks[partition] = self._supervisor.keep(f"publishing {tail.stream}", tail.run)

    def wake(self, partition: int, hint: bytes | None) -> None:
        """A hint came; what it says need not be true."""
        if partition in self.tails:
            self.tails[partition].wake(int(hint) if hint and hint.isdigit() and len(hint) < 19 else 0)

    async def close(self) -> None:
        """Tail nothing any more."""
        tasks = list(self._tasks.values())
        self.assign(set())
        await asyncio.gather(*tasks, return_exceptions=True)

"""The tailer: publishes a journal's commits as events, in order, without a gap, one task per stream.

The log of commits is dense, so reading nr + 1 until it is there can miss nothing. Hints only wake the tail. Where it
goes on: `resume_point`. A record that is sent twice has the same position.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from aiokafka.errors import KafkaError

from projections.publishing.publication import Publication, event_headers
from projections.publishing.resume_point import find_resume_point
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.journal.port import Commit, Published, Unavailable, stream_name
from streams.journal.position import BEGINNING, position_text
from streams.kafka.client import ProducerRecord, RecordTooLarge

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
COMMITS_AT_ONCE = 50
EVENTS_AT_ONCE = 2_000
"""About so many are read and published together: while they are made, nobody else in this worker has a turn."""
REMEMBER_SECONDS = 5.0
LOOK_AT_TOPIC_SECONDS = 30.0
"""Between two looks whether the topic still has what was published to it, while there is nothing to do."""
HOLE_SECONDS = 15.0
MANY_STRANGE = 20
"""Others may write to the topic now and then, as a former tail does in a takeover: this often people are to look."""
LOOK_AGAIN_SECONDS = 10.0
"""Between two looks at a log that may not be the one that was published, or at what the topic takes."""

_ERRORS = (Unavailable, KafkaError, TimeoutError)


class Tail:
    """One stream, from its last published event onwards."""

    def __init__(self, publication: Publication, partition: int) -> None:
        self.stream = stream_name(publication.type, partition)
        self.published = Published(*BEGINNING)
        self.end = 0
        """The offset behind the last record of the events topic."""
        self._publication = publication
        self._partition = partition
        self._source = publication.source.encode()
        self._wake = asyncio.Event()
        self._looked = self._looked_at_topic = 0.0
        self._doubted = False
        self._most = COMMITS_AT_ONCE
        self._remembered = 0.0
        self._hinted = 0
        self._newest: str | None = None
        """The position of the last event before those to be published next; None: it is not known."""
        self._moved = time.monotonic()
        self._strange = 0
        """How often others have written between two batches of this tail, less the times that nobody has."""

    @property
    def limit(self) -> str:
        """What there is to say of others who write to the topic; empty for nothing."""
        if self._strange < MANY_STRANGE:
            return ""
        return (
            f"{self.stream}: others write to {self._publication.topic}, too: does a second app publish this type, as"
            " the projections do unless PUBLISH=off? Readers leave out what they have had"
        )

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
        try:
            while True:
                point = await until_it_answers(
                    lambda: find_resume_point(self._publication, self._partition),
                    f"{self.stream}: finding the last published event",
                    _ERRORS,
                )
                self.published, self._newest = point.published, None if point.newest is None else str(point.newest)
                self.end = self.end if point.end is None else point.end
                self._looked, self._doubted = time.monotonic(), False
                self._looked_at_topic = self._looked
                if not point.reason:
                    return
                await self._stand_still(point.reason)
        finally:
            self._publication.supervisor.well(f"tail {self.stream}")

    async def _stand_still(self, reason: str) -> None:
        """Show and say why, and wait until it is time to look again."""
        if self._publication.supervisor.trouble(f"tail {self.stream}", reason):
            log.error("%s", reason)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _look_at_log(self) -> None:
        """A commit was said to be new that is not behind those published: the hint came late, or the log is another."""
        self._looked, self._doubted = time.monotonic(), False
        with contextlib.suppress(Unavailable):
            head = await self._publication.journal.head(self.stream)
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
            end = await self._publication.broker.end_offset(self._publication.topic, self._partition)
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
                head = await self._publication.journal.head(self.stream)
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

    async def _send(self, records: Sequence[ProducerRecord]) -> int:
        """Send them, and return the offset of the last one. A record that is too large for the topic is waited for:
        readers would miss it."""
        publication = self._publication
        try:
            while True:
                try:
                    return await publication.broker.publish(publication.topic, self._partition, records, refuse=True)
                except RecordTooLarge as error:
                    records = records[error.sent :]
                    await self._stand_still(f"{self.stream}: {error}: nothing is published behind it")
        finally:
            publication.supervisor.well(f"tail {self.stream}")

    async def _publish(self) -> bool:
        at = self.published
        after = at.nr - 1 if at.index >= 0 else at.nr
        commits = await until_it_answers(
            lambda: self._publication.journal.commits(self.stream, after, self._most),
            f"{self.stream}: reading",
            Unavailable,
        )
        # The first one may be known already, and what counts is the next.
        self._most = max(2, min(COMMITS_AT_ONCE, EVENTS_AT_ONCE * len(commits) // max(_size(commits), 1)))
        records: list[ProducerRecord] = []
        newest = self._newest
        for commit in commits:
            await yield_if_due()
            done = at.index if commit.nr == at.nr else -1
            events = event_headers(commit, self._source, self._publication.codec, newest)
            records += [
                (event.aggregate_id.encode(), event.data, headers) for index, headers, event in events if index > done
            ]
            if events:
                newest = position_text(commit.stream, commit.nr, events[-1][0])
        if records and self._publication.framing is not None:
            records = await self._publication.framing(self.stream, records)
        if records:
            self._count_strange(self.end, await self._send(records) + 1, len(records))
        if not commits or (len(commits) == 1 and commits[0].nr == at.nr):
            return False
        self._newest = newest
        # Everything up to this commit is out, whether its last event stands at index 0 or 99.
        self.published = Published(commits[-1].nr, -1)
        if time.monotonic() - self._remembered > REMEMBER_SECONDS:
            self._remembered = time.monotonic()
            with contextlib.suppress(Unavailable):
                await self._publication.journal.save_published(self.stream, self.published)
        return True

    def _count_strange(self, before: int, end: int, sent: int) -> None:
        """Others have written what is between the former end of the topic and the present one, and was not sent."""
        said, self.end = self.limit, end
        others = bool(before) and end - before > sent
        self._strange = min(max(self._strange + (1 if others else -1), 0), 2 * MANY_STRANGE)
        if self.limit and not said:
            log.warning("%s", self.limit)


def _size(commits: Sequence[Commit]) -> int:
    return sum(len(commit.events) for commit in commits)

"""The tail of a log: publishes its commits as events, in order, without a gap, each slice to its partition.

The log of commits is dense, so reading nr + 1 until it is there can miss nothing. Hints only wake the tail, and may
bring what it would read next: see `streams.journal.commit_hint`. Where it goes on: `resume_point`. A record that is
sent twice has the same position.

The slices of a batch of commits are sent side by side, and the next batch is read when they are out: see `slice_tails`.
What one partition does not take keeps no other waiting for long. One number still says how far the log is: all slices
are out up to there, and whoever tails the log next goes on with each from where it is.

A log that goes on from others is published when these are to their ends, wherever their tails run; the tail of a log
ends behind its seal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence

from aiokafka.errors import KafkaError

from projections.publishing.hints.carried_commits import CarriedCommits
from projections.publishing.publication import Publication
from projections.publishing.resume_point import find_resume_point, with_leader
from projections.publishing.slice_tail import LOOK_AGAIN_SECONDS, SliceTail, stand_still
from projections.publishing.slice_tails import ERRORS, EVENTS_AT_ONCE, FIRST_COMMITS, SliceTails, next_most
from streams.concurrency.retry import until_it_answers
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Published, Unavailable, log_name
from streams.notices import say_error, warn

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the journal while commits come, or one is said to have come."""
CALM_POLL_SECONDS = 10.0
"""Between two looks when none has come for so long. Owners send a hint until Kafka has one, and so does whoever takes
over from an owner, so this is for hints that Kafka has lost."""
REMEMBER_SECONDS = 5.0
LOOK_AT_TOPIC_SECONDS = 30.0
"""Between two looks whether the topic still has what was published to it, while there is nothing to do."""
HOLE_SECONDS = 15.0
PATIENCE_SECONDS = 5.0
"""So long the logs before this one may take to be published, before it is a trouble."""
PARENT_SECONDS = 0.1
"""Between two looks whether the logs before this one are published."""


class Tail:
    """One log, from its last published events onwards."""

    def __init__(self, publication: Publication, span: LogSpan) -> None:
        self.log = log_name(publication.type, span.number)
        self.seat = span.seat
        self.carried = CarriedCommits()
        """What hints have brought."""
        self._publication = publication
        self._span = span
        self._wake = asyncio.Event()
        self._tails = SliceTails(publication, span, self._wake.set)
        self._looked = self._looked_at_topic = 0.0
        self._doubted = False
        self._look = True
        """Whether the journal is to be asked, whatever hints say."""
        self._most = FIRST_COMMITS
        self._remembered = 0.0
        self._kept = span.begins_after
        """What the copy beside the journal says, as far as this tail has said it."""
        self._hinted = 0
        self._moved = time.monotonic()
        self._said_limit = ""
        self._sealed = span.sealed

    @property
    def slices(self) -> Iterable[SliceTail]:
        """Those of the log."""
        return self._tails.slices.values()

    @property
    def published(self) -> int:
        """All slices have all events up to this commit."""
        return self._tails.published

    def published_of(self, slice: int) -> int:
        """One slice has all of its events up to this commit."""
        return self._tails.published_of(slice)

    @property
    def limit(self) -> str:
        """What there is to say of others who write to the topic; empty for nothing."""
        strange = [slice.stream for slice in self.slices if slice.has_strangers]
        if not strange:
            return ""
        return (
            f"{', '.join(strange)}: others write to {self._publication.topic}, too: does a second app publish this"
            " type, as the projections do unless PUBLISH=off? Readers leave out what they have had"
        )

    def wake(self, nr: int = 0) -> None:
        """There may be something new: commit `nr`, as a hint says."""
        self._hinted = max(self._hinted, nr)
        self._doubted |= 0 < nr < self._tails.read
        self._wake.set()

    def look_often(self) -> None:
        """A hint may have been missed: look now, and for a while as often as while commits come."""
        self._moved = time.monotonic()
        self._look = True
        self._wake.set()

    async def run(self) -> None:
        """Publish until the log has ended, if it ever does. May be called again after it has raised."""
        if await self._is_out(self._span):
            return
        await self._parents_are_out()
        try:
            await self._publish_all()
        finally:
            await self._tails.close()
        await until_it_answers(self._save, f"{self.log}: noting that it is published to its end", Unavailable)

    async def _publish_all(self) -> None:
        await self._begin()
        while self.published != self._sealed:
            if self._doubted and time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
                await self._look_at_log()
            self._wake.clear()
            if await self._publish():
                self._moved = time.monotonic()
                if self._look or self._tails.read < self._hinted:
                    continue
            else:
                await self._report_hole()
                await self._look_at_topic()
                await self._remember()
            try:
                async with asyncio.timeout(self._until_next_look()):  # `wait_for` may lose a cancellation to a hint
                    await self._wake.wait()
            except TimeoutError:
                self._look = True

    def _until_next_look(self) -> float:
        """Seconds until the journal is looked at, woken or not: all tails of a worker do so in the same moment, for it
        is the waking up that costs, here and there."""
        is_calm = self._hinted <= self._tails.read and time.monotonic() - self._moved > CALM_POLL_SECONDS
        step = CALM_POLL_SECONDS if is_calm and self._publication.hints else POLL_SECONDS
        return step - asyncio.get_running_loop().time() % step

    async def _parents_are_out(self) -> None:
        """Wait until the logs that this one goes on from are published: their events come first."""
        began = time.monotonic()
        try:
            for number in self._span.parents:
                parent = self._publication.layout.layout.log(number)
                while not await self._is_out(parent):
                    if time.monotonic() - began > PATIENCE_SECONDS:
                        reason = f"{self.log} is published when log {number} is, which has not come to its end yet"
                        self._publication.supervisor.trouble(f"tail {self.log}", reason)
                    await asyncio.sleep(PARENT_SECONDS)
        finally:  # also where another worker tails it from now on
            self._publication.supervisor.well(f"tail {self.log}")

    async def _is_out(self, span: LogSpan) -> bool:
        """Whether a log is published to its end, as the copy beside the journal says."""
        name = log_name(self._publication.type, span.number)
        action = f"{self.log}: how far {name} is published"
        copy = await until_it_answers(lambda: self._publication.journal.published(name), action, Unavailable)
        return copy is not None and span.sealed is not None and copy.nr >= span.sealed

    async def _begin(self) -> None:
        """Find the last published events, and wait for as long as they are not in the log: publishing on behind them
        would mix two histories."""
        await self._tails.close()
        try:
            while True:
                self.carried.begin(await self._end_of_hints())
                point = await until_it_answers(
                    lambda: find_resume_point(self._publication, self._span),
                    f"{self.log}: finding the last published events",
                    ERRORS,
                )
                self._sealed = point.nr if point.is_end else self._sealed
                self._tails.stand(point.nr)
                self._looked, self._doubted = time.monotonic(), False
                self._looked_at_topic = self._looked
                if not point.reason:
                    break
                await stand_still(self._publication, self.log, point.reason)
        finally:
            self._publication.supervisor.well(f"tail {self.log}")
        self._tails.resume(point)
        self._look = True

    async def _end_of_hints(self) -> int | None:
        """The offset of the next hint; None where the commits that hints bring do not count, or while Kafka does not
        say."""
        with contextlib.suppress(KafkaError, TimeoutError):
            if self._publication.hints:
                return (await self._publication.broker.end_offsets(self._publication.hints, [self.seat]))[self.seat]
        return None

    async def _look_at_log(self) -> None:
        """A commit was said to be new that is not behind those published: the hint came late, or the log is another."""
        self._looked, self._doubted = time.monotonic(), False
        with contextlib.suppress(Unavailable):
            if await self._newest() < self._tails.read:
                await self._begin()

    async def _newest(self) -> int:
        """The number of the newest commit of the log. Raises `Unavailable`."""
        head = await self._publication.journal.head(self.log, self._span.begins_after)
        return self._span.begins_after if head is None else head.nr

    async def _look_at_topic(self) -> None:
        """A topic that ends before what was published to it was made again, or has lost its end: it gets that again.

        Mostly the tables bring it from the log; but where a late record of a former tail stands on a new topic,
        nothing there says that anything is missing behind it.
        """
        keeping_up = self._tails.keeping_up
        if (now := time.monotonic()) - self._looked_at_topic < LOOK_AT_TOPIC_SECONDS or not keeping_up:
            return
        self._looked_at_topic = now
        broker, topic = self._publication.broker, self._publication.topic
        with contextlib.suppress(KafkaError, TimeoutError, Unavailable):
            looked_at = await with_leader(self._publication, keeping_up)
            ends = await broker.end_offsets(topic, looked_at)
            short = [slice for slice in self.slices if slice.slice in ends and ends[slice.slice] < slice.end]
            for slice in short:
                text = "%s: its events topic ends before offset %d, and had %d"
                warn(log, "events-lost", slice.stream, text, slice.stream, ends[slice.slice], slice.end)
                slice.end = ends[slice.slice]
            if short:
                await self._begin()

    async def _report_hole(self) -> None:
        """A commit that was acknowledged and cannot be read any more is for people to look at.

        Anybody may write a hint, so the log is asked first whether it has what was said to be there.
        """
        if self._hinted > self._tails.read and time.monotonic() - self._moved > HOLE_SECONDS:
            self._moved = time.monotonic()
            with contextlib.suppress(Unavailable):
                if await self._newest() <= self._tails.read:
                    self._hinted = self._tails.read
                    return
            say_error(
                log,
                "journal-hole",
                self.log,
                "%s: commit %d was written, but commit %d cannot be read: nothing is published behind it. "
                "Has the journal lost writes that it had acknowledged (commitlog_sync, replication)?",
                self.log,
                self._hinted,
                self._tails.read + 1,
            )

    async def _publish(self) -> bool:
        """Publish the next commits. Returns whether there were any.

        A tail that has come further by the journal than by hints waits for these: else it would stay ahead of them, and
        read again what each of them brings.
        """
        self._tails.check()
        commits = self.carried.take(EVENTS_AT_ONCE)
        if not commits and (self._look or self._hinted > self._tails.read):
            commits = await self._read()
        if not commits:
            return False
        await self._tails.publish(commits)
        if (limit := self.limit) != self._said_limit:
            if limit and not self._said_limit:
                log.warning("%s", limit)
            self._said_limit = limit
        if commits[-1].is_seal:
            self._sealed = commits[-1].nr
        else:
            await self._remember()
        return True

    async def _read(self) -> Sequence[Commit]:
        """The next commits in the journal, where there are any."""
        most = self._most
        commits = await until_it_answers(
            lambda: self._publication.journal.commits(self.log, self._tails.read, most),
            f"{self.log}: reading",
            Unavailable,
        )
        # There may be more; what is newer than any hint will be hinted.
        self._look = bool(commits) and (len(commits) == most or not self._hinted)
        if commits:
            self._most = next_most(commits)
            self.carried.follow(commits)
        return commits

    async def _remember(self) -> None:
        """Keep beside the journal now and then how far the log is published, and at last when there is no more."""
        if self.published != self._kept and time.monotonic() - self._remembered > REMEMBER_SECONDS:
            with contextlib.suppress(Unavailable):
                await self._save()

    async def _save(self) -> None:
        """Keep beside the journal how far the log is published."""
        self._remembered = time.monotonic()
        await self._publication.journal.save_published(self.log, Published(self.published, -1))
        self._kept = self.published

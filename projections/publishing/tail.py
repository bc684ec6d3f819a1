"""The tail of a log: publishes its commits as events, in order, without a gap, each slice to its partition.

The log of commits is dense, so reading nr + 1 until it is there can miss nothing. Hints only wake the tail, and may
bring what it would read next: see `streams.journal.commit_hint`. Where it goes on: `resume_point`. A record that is
sent twice has the same position.

The slices of a batch of commits are sent side by side, and the next batch is read when all of them are out. So what one
partition does not take holds up the log, by a trouble that `/health/ready` shows: nobody's events pass it by unnoticed,
one number says how far the log is, and one batch is all that is held in memory. An outage is mostly that of a broker,
which slices share; to let the others run ahead would bring readers little, and have to be read twice.

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
from projections.publishing.publication import Publication, events_by_slice
from projections.publishing.resume_point import find_resume_point
from projections.publishing.slice_tail import LOOK_AGAIN_SECONDS, SliceTail, stand_still
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import all_of
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Published, Unavailable, log_name, next_page

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
FIRST_COMMITS = 5
"""What a commit of a log holds is not known before it is read."""
COMMITS_AT_ONCE = 50
EVENTS_AT_ONCE = 2_000
"""About so many are read and published together: while they are made, nobody else in this worker has a turn."""
REMEMBER_SECONDS = 5.0
LOOK_AT_TOPIC_SECONDS = 30.0
"""Between two looks whether the topic still has what was published to it, while there is nothing to do."""
HOLE_SECONDS = 15.0
PATIENCE_SECONDS = 5.0
"""So long the logs before this one may take to be published, before it is a trouble."""
PARENT_SECONDS = 0.1
"""Between two looks whether the logs before this one are published."""

_ERRORS = (Unavailable, KafkaError, TimeoutError)


class Tail:
    """One log, from its last published events onwards."""

    def __init__(self, publication: Publication, span: LogSpan) -> None:
        self.log = log_name(publication.type, span.number)
        self.seat = span.seat
        self.published = span.begins_after
        """All slices have all events up to this commit."""
        self.carried = CarriedCommits()
        """What hints have brought."""
        self._publication = publication
        self._span = span
        self._all_slices = publication.layout.layout.slices
        self._slices = {slice: SliceTail(publication, slice) for slice in span.slices}
        self._wake = asyncio.Event()
        self._looked = self._looked_at_topic = 0.0
        self._doubted = False
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
        return self._slices.values()

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
        self._doubted |= 0 < nr < self.published
        self._wake.set()

    async def run(self) -> None:
        """Publish until the log has ended, if it ever does. May be called again after it has raised."""
        if await self._is_out(self._span):
            return
        await self._parents_are_out()
        await self._begin()
        while self.published != self._sealed:
            if self._doubted and time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
                await self._look_at_log()
            self._wake.clear()
            if await self._publish():
                self._moved = time.monotonic()
                if self.published != self._hinted:  # there may be more
                    continue
            else:
                await self._report_hole()
                await self._look_at_topic()
                await self._remember()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_until_next_look()):  # `wait_for` may lose a cancellation to a hint
                    await self._wake.wait()
        await until_it_answers(self._save, f"{self.log}: noting that it is published to its end", Unavailable)

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
        try:
            while True:
                self.carried.begin(await self._end_of_hints())
                point = await until_it_answers(
                    lambda: find_resume_point(self._publication, self._span),
                    f"{self.log}: finding the last published events",
                    _ERRORS,
                )
                self.published, self._sealed = point.nr, point.nr if point.is_end else self._sealed
                self._looked, self._doubted = time.monotonic(), False
                self._looked_at_topic = self._looked
                if not point.reason:
                    break
                await stand_still(self._publication, self.log, point.reason)
        finally:
            self._publication.supervisor.well(f"tail {self.log}")
        for number, slice in self._slices.items():
            slice.resume(point.slices[number])

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
            if await self._newest() < self.published:
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
        if (now := time.monotonic()) - self._looked_at_topic < LOOK_AT_TOPIC_SECONDS:
            return
        self._looked_at_topic = now
        broker, topic = self._publication.broker, self._publication.topic
        with contextlib.suppress(KafkaError, TimeoutError):
            ends = await broker.end_offsets(topic, self._slices)
            short = [slice for slice in self.slices if ends[slice.slice] < slice.end]
            for slice in short:
                log.warning(
                    "%s: its events topic ends before offset %d, and had %d",
                    slice.stream, ends[slice.slice], slice.end,
                )  # fmt: skip
                slice.end = ends[slice.slice]
            if short:
                await self._begin()

    async def _report_hole(self) -> None:
        """A commit that was acknowledged and cannot be read any more is for people to look at.

        Anybody may write a hint, so the log is asked first whether it has what was said to be there.
        """
        if self._hinted > self.published and time.monotonic() - self._moved > HOLE_SECONDS:
            self._moved = time.monotonic()
            with contextlib.suppress(Unavailable):
                if await self._newest() <= self.published:
                    self._hinted = self.published
                    return
            log.error(
                "%s: commit %d was written, but commit %d cannot be read: nothing is published behind it. "
                "Has the journal lost writes that it had acknowledged (commitlog_sync, replication)?",
                self.log,
                self._hinted,
                self.published + 1,
            )

    async def _publish(self) -> bool:
        """Publish the next commits. Returns whether there were any."""
        commits = self.carried.take(EVENTS_AT_ONCE) or await self._read()
        if not commits:
            return False
        for commit in commits:
            await yield_if_due()
            for slice, events in events_by_slice(commit, self._all_slices).items():
                self._slices[slice].add(commit, events)
        await all_of(slice.send() for slice in self.slices if slice.has_records)
        if (limit := self.limit) != self._said_limit:
            if limit and not self._said_limit:
                log.warning("%s", limit)
            self._said_limit = limit
        self.published = commits[-1].nr
        if commits[-1].is_seal:
            self._sealed = self.published
        else:
            await self._remember()
        return True

    async def _read(self) -> Sequence[Commit]:
        """The next commits in the journal, where there are any."""
        commits = await until_it_answers(
            lambda: self._publication.journal.commits(self.log, self.published, self._most),
            f"{self.log}: reading",
            Unavailable,
        )
        if commits:
            self._most = _next_most(commits)
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


def _until_next_look() -> float:
    """Seconds until a tail looks at the journal whether it was woken or not: all tails of a worker in the same moment,
    for it is the waking up that costs, here and there."""
    return POLL_SECONDS - asyncio.get_running_loop().time() % POLL_SECONDS


def _next_most(commits: Sequence[Commit]) -> int:
    """How many commits to read next, when these were the last ones: few where they are large, in events or in bytes."""
    events = sum(len(commit.events) for commit in commits)
    size = sum(len(event.data) for commit in commits for event in commit.events)
    most = EVENTS_AT_ONCE * len(commits) // max(events, 1)
    return max(1, min(COMMITS_AT_ONCE, most, next_page(size, len(commits))))

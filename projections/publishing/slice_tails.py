"""The slices of one log on their way out, side by side.

A batch of commits is sent when those before it are out. A slice of which Kafka takes nothing in some seconds, for want
of a leader or of enough replicas, or since a record is too large, is left behind. It keeps the events that it was about
to send, and no more; when Kafka takes these, it reads the log again from there, until it is where the others are. While
Kafka takes nothing of anybody, a batch is tried now and then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiokafka.errors import KafkaError

from projections.publishing.publication import Publication, events_by_slice, events_in, in_turns
from projections.publishing.resume_point import ResumePoint, find_resume_point
from projections.publishing.slice_tail import SliceTail, stand_still
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import end_all
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Unavailable, log_name, next_page

log = logging.getLogger(__name__)

ERRORS = (Unavailable, KafkaError, TimeoutError)
"""What a tail waits for."""
FIRST_COMMITS = 5
"""What a commit of a log holds is not known before it is read."""
COMMITS_AT_ONCE = 50
EVENTS_AT_ONCE = 2_000
"""About so many are read and published together."""
TAKEN_SECONDS = 5.0
"""A slice of which Kafka takes nothing for so long is left behind."""
READ_AGAIN_SECONDS = 0.1
"""A commit that the tail has read may not be found for a moment."""


def next_most(commits: Sequence[Commit]) -> int:
    """How many commits to read next, when these were the last ones: few where they are large, in events or in bytes."""
    events = sum(len(commit.events) for commit in commits)
    size = sum(len(event.data) for commit in commits for event in commit.events)
    most = EVENTS_AT_ONCE * len(commits) // max(events, 1)
    return max(1, min(COMMITS_AT_ONCE, most, next_page(size, len(commits))))


class LeftBehind:
    """One slice on its own way behind the tail of its log, of which it has all events up to commit `nr`."""

    def __init__(self, publication: Publication, span: LogSpan, slice: SliceTail, nr: int) -> None:
        self.nr = nr
        self._publication = publication
        self._span = span
        self._slice = slice
        self._log = log_name(publication.type, span.number)
        self._all_slices = publication.layout.layout.slices

    async def send(self, sending: Awaitable[None], nr: int) -> None:
        """Wait until what was to be sent is: then the slice has all up to commit `nr`."""
        await sending
        self.nr = nr

    async def begin(self) -> None:
        """Find out how far the slice is, which could not be seen when its tail began."""
        span, slice = self._span, self._slice.slice
        try:
            while True:
                point = await until_it_answers(
                    lambda: find_resume_point(self._publication, span, [slice]),
                    f"{self._slice.stream}: finding the last published events",
                    ERRORS,
                )
                if not point.reason:
                    break
                await stand_still(self._publication, self._slice.stream, point.reason)
        finally:
            self._publication.supervisor.well(f"tail {self._slice.stream}")
        self._slice.resume(point.slices[slice])
        self.nr = point.nr

    async def catch_up(self, goal: Callable[[], int]) -> None:
        """Publish what the log has of the slice up to commit `goal()`, which may rise meanwhile."""
        count = FIRST_COMMITS
        while self.nr < goal():
            limit = min(count, goal() - self.nr)
            commits = await until_it_answers(
                lambda limit=limit: self._publication.journal.commits(self._log, self.nr, limit),  # type: ignore[misc]
                f"{self._slice.stream}: reading",
                Unavailable,
            )
            if not commits:
                await asyncio.sleep(READ_AGAIN_SECONDS)
                continue
            count = next_most(commits)
            async for commit in in_turns(commits):
                if events := events_in(commit, self._slice.slice, self._all_slices):
                    self._slice.add(commit, events)
            if self._slice.has_records:
                await self._slice.send()
            self.nr = commits[-1].nr


class SliceTails:
    """Publishes what it is given of the commits of a log. `woken` is called when a slice that was left behind has come,
    or failed."""

    def __init__(self, publication: Publication, span: LogSpan, woken: Callable[[], None]) -> None:
        self.slices = {slice: SliceTail(publication, slice) for slice in span.slices}
        self.read = span.begins_after
        """The commits up to this one have been given."""
        self._out = span.begins_after
        """And those up to this one are out, but for slices that are left behind."""
        self._behind: dict[int, LeftBehind] = {}
        self._coming: list[asyncio.Task[None]] = []
        """The tasks of those, and what they were sending when they were left."""
        self._taken = 0.0
        """When Kafka has last taken something."""
        self._publication = publication
        self._span = span
        self._log = log_name(publication.type, span.number)
        self._all_slices = publication.layout.layout.slices
        self._woken = woken

    @property
    def published(self) -> int:
        """All slices have all events up to this commit."""
        return min([self._out, *(behind.nr for behind in self._behind.values())])

    def published_of(self, slice: int) -> int:
        """Likewise, of one slice."""
        return self._behind[slice].nr if slice in self._behind else self._out

    @property
    def keeping_up(self) -> Sequence[int]:
        """The slices that are not left behind."""
        return [slice for slice in self.slices if slice not in self._behind]

    def stand(self, nr: int) -> None:
        """All slices are out up to a commit, and no further."""
        self.read = self._out = nr

    def resume(self, point: ResumePoint) -> None:
        """Go on there; slices of which it says nothing are left behind. None is now: see `close`."""
        self.stand(point.nr)
        for number, slice in self.slices.items():
            if number in point.slices:
                slice.resume(point.slices[number])
            else:
                behind = self._leave(slice, point.said)
                self._come(slice, behind, behind.begin)

    def check(self) -> None:
        """Raise the error of a slice that was left behind and has failed."""
        for task in self._coming:
            if task.done():
                task.result()

    async def publish(self, commits: Sequence[Commit]) -> None:
        """Publish the next commits. Returns when they are out, but for slices that are left behind."""
        taking = {slice: self.slices[slice] for slice in self.keeping_up}
        self.read = commits[-1].nr  # those that are left behind come to there
        async for commit in in_turns(commits):
            for number, events in events_by_slice(commit, self._all_slices).items():
                if number in taking:
                    taking[number].add(commit, events)
        await self._send([slice for slice in taking.values() if slice.has_records])
        self._out = self.read
        if self._publication.metrics is not None:
            self._publication.metrics.published(commits)

    async def _send(self, slices: Sequence[SliceTail]) -> None:
        if not slices:
            if self._behind and time.monotonic() - self._taken > TAKEN_SECONDS:
                await asyncio.sleep(TAKEN_SECONDS)  # it takes nothing of anybody: there is no hurry to read on
            return
        sending = {asyncio.create_task(slice.send()): slice for slice in slices}
        try:
            done, late = await asyncio.wait(sending, timeout=TAKEN_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        except BaseException:
            await end_all(sending)
            raise
        if done:
            self._taken = time.monotonic()
        for task, slice in sending.items():
            if task in late:
                self._keep(task)
                behind = self._leave(slice, self._out)
                self._come(slice, behind, partial(behind.send, task, self.read))

    def _leave(self, slice: SliceTail, nr: int) -> LeftBehind:
        """Go on without a slice, which has all events up to commit `nr`."""
        behind = self._behind[slice.slice] = LeftBehind(self._publication, self._span, slice, nr)
        topic = self._publication.topic
        reason = f"{topic}-{slice.slice} takes nothing: its events wait, and the others of {self._log} do not"
        if self._publication.supervisor.trouble(_name(slice), reason):
            log.warning("%s", reason)
        return behind

    def _come(self, slice: SliceTail, behind: LeftBehind, begin: Callable[[], Awaitable[None]]) -> None:
        """Have a slice come to where the others are."""

        async def come() -> None:
            await begin()
            await behind.catch_up(lambda: self.read)
            self._taken = time.monotonic()
            del self._behind[slice.slice]
            self._publication.supervisor.well(_name(slice))
            log.warning("%s is published to where the others of %s are", slice.stream, self._log)

        self._keep(asyncio.create_task(come(), name=_name(slice)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._coming.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task in self._coming and not task.cancelled() and task.exception() is None:
            self._coming.remove(task)
        self._woken()

    async def close(self) -> None:
        """Leave nobody behind any more: where each slice is, its partition says."""
        coming, self._coming = self._coming, []
        await end_all(coming)
        self.stand(self.published)
        for number in self._behind:
            self._publication.supervisor.well(_name(self.slices[number]))
        self._behind.clear()


def _name(slice: SliceTail) -> str:
    return f"publishing {slice.stream}"

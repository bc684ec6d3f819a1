"""A slice whose partition of the events topic takes nothing, while the others of its log are published.

It keeps the events that it was about to send, and no more. When Kafka takes these, it reads the log again from there,
until it is where the tail of the log is. So nothing is held in memory for it, however long that takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from projections.publishing.pages import FIRST_COMMITS, next_most
from projections.publishing.publication import Publication, events_in
from projections.publishing.resume_point import find_resume_point
from projections.publishing.slice_tail import SliceTail, stand_still
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.journal.layout import LogSpan
from streams.journal.port import Unavailable, log_name

ERRORS = (Unavailable, KafkaError, TimeoutError)
"""What a tail waits for."""
READ_AGAIN_SECONDS = 0.1
"""A commit that the tail has read may not be found for a moment."""


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
        while True:
            point = await until_it_answers(
                lambda: find_resume_point(self._publication, span, [slice]),
                f"{self._slice.stream}: finding the last published events",
                ERRORS,
            )
            if not point.reason:
                break
            await stand_still(self._publication, self._slice.stream, point.reason)
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
            for commit in commits:
                await yield_if_due()
                if events := events_in(commit, self._slice.slice, self._all_slices):
                    self._slice.add(commit, events)
            if self._slice.has_records:
                await self._slice.send()
            self.nr = commits[-1].nr

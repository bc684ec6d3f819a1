"""Which logs of a type are tailed in this worker, and the hints that wake their tails.

An owner sends a hint behind each commit, to the partition of hints that is the seat of its log. Who has been given that
partition tails the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from streams.concurrency.fairness import yield_if_due
from streams.journal.commit_hint import read_hint
from streams.journal.layout import Layout
from streams.journal.layout_follower import LayoutFollower
from streams.runtime.partition_pump import ConsumerRecord

LOOK_AGAIN_SECONDS = 30.0
"""Between two looks at a log that is published to its end."""


class Tailers:
    """The tails of one aggregate type in this worker: of the logs whose seats Kafka gave it."""

    def __init__(self, publication: Publication) -> None:
        self.tails: dict[int, Tail] = {}
        """By the number of the log."""
        self._seats: set[int] = set()
        """All that this worker has; most have no log."""
        self._ended: dict[int, float] = {}
        """The logs that are published to their ends, and when they are to be looked at again."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._layout = LayoutFollower(publication.layout)
        self._publication = publication

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        """Take the next hints of a seat."""
        tails = [tail for tail in self.tails.values() if tail.seat == partition]
        if not tails and partition in self._seats:
            self._layout.look_soon()
        key = self._publication.layout.layout.hint_key
        newest: dict[Tail, int] = {}
        for record in records:
            await yield_if_due()
            nr, carried = read_hint(record.value, key)  # what it says need not be true
            for tail in tails:
                if carried is None:
                    newest[tail] = nr
                elif carried.commit.log == tail.log:
                    tail.carried.put(carried, record.offset)
                    newest[tail] = nr
        for tail, nr in newest.items():
            tail.wake(nr)

    def may_lack_some(self) -> None:
        """Hints that were sent just now may not come."""
        for tail in self.tails.values():
            tail.look_often()

    def assign(self, seats: set[int]) -> None:
        """Tail the logs at exactly these seats, also those that are sealed, to their ends. Cheap to repeat.

        Those that had been published to their ends are looked at again: see `follow_layout`.
        """
        self._seats = seats
        self._ended.clear()
        self._keep_to_layout()

    def _keep_to_layout(self) -> None:
        seats = self._seats
        begun = [span for span in self._publication.layout.layout.logs if span.after is not None]
        ended = {number for number, again in self._ended.items() if time.monotonic() < again}
        spans = {span.number: span for span in begun if span.seat in seats and span.number not in ended}
        for number in self._tasks.keys() - spans.keys():
            self._tasks.pop(number).cancel()
            del self.tails[number]
        for number in sorted(spans.keys() - self._tasks.keys()):
            self.tails[number] = tail = Tail(self._publication, spans[number])
            run = partial(self._run, number, tail)
            self._tasks[number] = self._publication.supervisor.keep(f"publishing {tail.log}", run)

    async def _run(self, number: int, tail: Tail) -> None:
        await tail.run()
        self._ended[number] = time.monotonic() + LOOK_AGAIN_SECONDS
        if self.tails.get(number) is tail:
            del self.tails[number], self._tasks[number]
        self._layout.look_soon()

    async def follow_layout(self) -> None:
        """Keep to the newest layout, for ever: when a log has ended, when a hint is of one that is not known, and now
        and then. Raises `Unavailable`.

        Now and then logs that had been published to their ends are looked at again: a former tail, or a write that came
        late, may have noted since that they are not. The logs that go on from them would wait for ever.
        """
        await self._layout.follow(self._follow)

    async def _follow(self, layout: Layout) -> None:
        self._keep_to_layout()

    async def close(self) -> None:
        """Tail nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._tasks.clear()
        self.tails.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

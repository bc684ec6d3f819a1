"""Which logs of a type are tailed in this worker, and the hints that wake their tails.

An owner sends a hint behind each commit, to the partition of hints that is the seat of its log. Who has been given that
partition tails the log. Hints come past Faust's streams, in batches: a stream costs two tasks and a future for each
record, and brought them so late, with some hundreds a second, that the tails saw most commits by looking for
themselves, once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from streams.journal.layout import Layout
from streams.journal.layout_follower import LayoutFollower
from streams.runtime.partition_pump import ConsumerRecord

LOOK_AGAIN_SECONDS = 30.0
"""Between two looks at a log that is published to its end."""


class Tailers:
    """The tails of one aggregate type in this worker: of the logs whose seats Kafka gave it. It is the receiver of the
    topic of hints."""

    def __init__(self, publication: Publication) -> None:
        self.tails: dict[int, Tail] = {}
        """By the number of the log."""
        self._seats: set[int] = set()
        """All that this worker has; most have no log."""
        self._ended: dict[int, float] = {}
        """The logs that are published to their ends, and when they are to be looked at again."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._covered: dict[int, int] = {}
        self._layout = LayoutFollower(publication.layout)
        self._publication = publication

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        self._covered[partition] = records[-1].offset + 1
        self.wake(partition, records[-1].value)  # the newest commit number covers the others

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)

    def assign(self, seats: set[int]) -> None:
        """Tail the logs at exactly these seats, also those that are sealed, to their ends. Cheap to repeat.

        Those that had been published to their ends are looked at again: see `follow_layout`.
        """
        self._seats = seats
        self._covered = {seat: offset for seat, offset in self._covered.items() if seat in seats}
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

    def wake(self, seat: int, hint: bytes | None) -> None:
        """A hint came; what it says need not be true."""
        tails = [tail for tail in self.tails.values() if tail.seat == seat]
        for tail in tails:
            tail.wake(int(hint) if hint and hint.isdigit() and len(hint) < 19 else 0)
        if not tails and seat in self._seats:
            self._layout.look_soon()

    async def close(self) -> None:
        """Tail nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._tasks.clear()
        self.tails.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Which logs of a type are tailed in this worker, and the hints that wake their tails.

An owner sends a hint behind each commit, to the partition of hints that is the seat of its log. Who has been given that
partition tails the log. Hints come past Faust's streams, in batches: a stream costs two tasks and a future for each
record, and brought them so late, with some hundreds a second, that the tails saw most commits by looking for
themselves, once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from streams.runtime.partition_pump import ConsumerRecord


class Tailers:
    """The tails of one aggregate type in this worker: of the logs whose seats Kafka gave it. It is the receiver of the
    topic of hints."""

    def __init__(self, publication: Publication) -> None:
        self.tails: dict[int, Tail] = {}
        """By seat."""
        self.seats: set[int] = set()
        """All that this worker has; most have no log."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._covered: dict[int, int] = {}
        self._publication = publication

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        self._covered[partition] = records[-1].offset + 1
        self.wake(partition, records[-1].value)  # the newest commit number covers the others

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)

    def assign(self, seats: set[int]) -> None:
        """Tail the open logs at exactly these seats. Cheap to repeat."""
        self.seats = seats
        self._covered = {seat: offset for seat, offset in self._covered.items() if seat in seats}
        spans = {span.seat: span for span in self._publication.layout.layout.open if span.seat in seats}
        for seat in self._tasks.keys() - spans.keys():
            self._tasks.pop(seat).cancel()
            del self.tails[seat]
        for seat in spans.keys() - self._tasks.keys():
            self.tails[seat] = tail = Tail(self._publication, spans[seat])
            self._tasks[seat] = self._publication.supervisor.keep(f"publishing {tail.log}", tail.run)

    def wake(self, seat: int, hint: bytes | None) -> None:
        """A hint came; what it says need not be true."""
        if seat in self.tails:
            self.tails[seat].wake(int(hint) if hint and hint.isdigit() and len(hint) < 19 else 0)

    async def close(self) -> None:
        """Tail nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._tasks.clear()
        self.tails.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Which streams of a type are tailed in this worker, and the hints that wake their tails.

An owner sends a hint behind each commit. Hints come past Faust's streams, in batches, as commands do: a stream costs
two tasks and a future for each record, and brought them so late, with some hundreds a second, that the tails saw most
commits by looking for themselves, once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from projections.publishing.publication import Publication
from projections.publishing.tail import Tail
from streams.runtime.partition_pump import ConsumerRecord


class Tailers:
    """The tails of one aggregate type in this worker: those of the hint partitions that Kafka gave it. It is the
    receiver of the topic of hints."""

    def __init__(self, publication: Publication) -> None:
        self.tails: dict[int, Tail] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._covered: dict[int, int] = {}
        self._publication = publication

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        self._covered[partition] = records[-1].offset + 1
        self.wake(partition, records[-1].value)  # the newest commit number covers the others

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)

    def assign(self, partitions: set[int]) -> None:
        """Tail exactly these. Cheap to repeat."""
        self._covered = {partition: offset for partition, offset in self._covered.items() if partition in partitions}
        for partition in self._tasks.keys() - partitions:
            self._tasks.pop(partition).cancel()
            del self.tails[partition]
        for partition in partitions - self._tasks.keys():
            self.tails[partition] = tail = Tail(self._publication, partition)
            self._tasks[partition] = self._publication.supervisor.keep(f"publishing {tail.stream}", tail.run)

    def wake(self, partition: int, hint: bytes | None) -> None:
        """A hint came; what it says need not be true."""
        if partition in self.tails:
            self.tails[partition].wake(int(hint) if hint and hint.isdigit() and len(hint) < 19 else 0)

    async def close(self) -> None:
        """Tail nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._tasks.clear()
        self.tails.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

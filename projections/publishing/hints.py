"""The hints that owners send behind each commit: they come past Faust's streams, in batches, as commands do.

A stream costs two tasks and a future for each of them, and brought them so late, with some hundreds a second, that the
tailers saw most commits by looking for themselves, once a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from projections.publishing.tailer import Tailers
from streams.runtime.application import Application
from streams.runtime.partition_pump import ConsumerRecord


class Hints:
    """Wakes the tailers of one aggregate type. `topic` has the hints."""

    def __init__(self, app: Application, topic: str, tailers: Tailers) -> None:
        self._tailers = tailers
        self._covered: dict[int, int] = {}
        app.receive(topic, self, f"{topic}-hints")

    async def receive(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        self._covered[partition] = records[-1].offset + 1
        self._tailers.wake(partition, records[-1].value)  # the newest says it all

    def covered(self, partition: int) -> int | None:
        return self._covered.get(partition)

    def assign(self, partitions: set[int]) -> None:
        """Exactly these are tailed here from now on. Cheap to repeat."""
        self._covered = {partition: offset for partition, offset in self._covered.items() if partition in partitions}
        self._tailers.assign(partitions)

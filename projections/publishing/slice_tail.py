"""One slice of a log on its way out: to its partition of the events topic, as a stream of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from projections.publishing.publication import Publication, event_headers
from projections.publishing.resume_point import SlicePoint
from streams.journal.port import Commit, RecordedEvent
from streams.journal.position import BEGINNING, Place, position_text, stream_name
from streams.kafka.client import ProducerRecord, RecordTooLarge
from streams.observability.event_traces import PublishTraces

log = logging.getLogger(__name__)

MANY_STRANGE = 20
"""Others may write to the topic now and then, as a former tail does in a takeover: this often people are to look."""
LOOK_AGAIN_SECONDS = 10.0
"""Between two looks at a log that may not be the one that was published, or at what the topic takes."""


class SliceTail:
    """Its events are added commit by commit, and sent together."""

    def __init__(self, publication: Publication, slice: int) -> None:
        self.stream = stream_name(publication.type, slice)
        self.slice = slice
        self.end = 0
        """The offset behind the last record of the partition."""
        self._publication = publication
        tracer = publication.tracer
        self._traces = None if tracer is None else PublishTraces(tracer, publication.type, publication.topic)
        self._source = publication.source.encode()
        self._done: Place = BEGINNING
        self._newest: str | None = None
        """The position of the last event before those to be added next; None: it is not known."""
        self._records: list[ProducerRecord] = []
        self._strange = 0
        """How often others have written between two batches of this tail, less the times that nobody has."""

    def resume(self, point: SlicePoint) -> None:
        """Go on there; what was added and not sent is forgotten."""
        self._done, self._newest = point.done, None if point.newest is None else str(point.newest)
        self.end = self.end if point.end is None else point.end
        self._records = []
        if self._traces is not None:
            self._traces.forget()

    @property
    def has_records(self) -> bool:
        """Whether there is something to send."""
        return bool(self._records)

    @property
    def has_strangers(self) -> bool:
        """Whether others write to the partition, too, again and again."""
        return self._strange >= MANY_STRANGE

    def add(self, commit: Commit, events: Sequence[tuple[int, RecordedEvent]]) -> None:
        """Take the events of the slice in the next commit, each with its index; those that are out are left out."""
        if self._done > (commit.nr, -1):
            events = [(index, event) for index, event in events if (commit.nr, index) > self._done]
            if not events:
                return
        headed = event_headers(
            self.stream, commit.nr, commit.recorded_at, events,
            source=self._source, codec=self._publication.codec, newest=self._newest,
        )  # fmt: skip
        if self._traces is not None:
            for index, headers, event in headed:
                if event.traceparent and (
                    hop := self._traces.hop(event, position_text(self.stream, commit.nr, index), commit.recorded_at)
                ):
                    headers.append(hop)
        self._records += [(event.aggregate_id.encode(), event.data, headers) for _, headers, event in headed]
        self._newest = position_text(self.stream, commit.nr, events[-1][0])

    async def send(self) -> None:
        """Send what was added, in order. Returns when Kafka has all of it, however long that takes.

        A record that is too large for the topic is waited for: readers would miss it.
        """
        publication, records = self._publication, self._records
        count = len(records)
        if publication.framing is not None:
            records = await publication.framing(self.stream, records)
        try:
            while True:
                try:
                    last = await publication.broker.publish(publication.topic, self.slice, records, refuse=True)
                    break
                except RecordTooLarge as error:
                    records = records[error.sent :]
                    await stand_still(
                        publication, self.stream, f"{self.stream}: {error}: nothing is published behind it"
                    )
        finally:
            publication.supervisor.well(f"tail {self.stream}")
        self._records = []
        if self._traces is not None:
            self._traces.published()
        self._count_strange(last + 1, count)

    def _count_strange(self, end: int, sent: int) -> None:
        """Others have written what is between the former end of the partition and the present one, and was not sent."""
        others = bool(self.end) and end - self.end > sent
        self.end = end
        self._strange = min(max(self._strange + (1 if others else -1), 0), 2 * MANY_STRANGE)


async def stand_still(publication: Publication, name: str, reason: str) -> None:
    """Show and say why the tail of this stream or log stands still, and wait until it is time to look again."""
    if publication.supervisor.trouble(f"tail {name}", reason):
        log.error("%s", reason)
    await asyncio.sleep(LOOK_AGAIN_SECONDS)

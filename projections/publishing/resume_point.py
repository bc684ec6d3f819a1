"""Where a tail goes on: behind the last event that it, or another worker before it, has published.

The events topic itself says which that is: each record carries the position of its event. Where retention has removed
them all, a copy beside the journal says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from projections.publishing.publication import NOTHING_BEFORE, Publication
from streams.journal.port import Log, Published, stream_name
from streams.journal.position import BEGINNING, Position
from streams.kafka.published_through import journal_is_behind, published_place


class ResumePoint(NamedTuple):
    """Up to where a stream is published.

    published   the last event that is; `Published(0, -1)` for none
    newest      its position, where that is known to be the one before the event to be published next
    end         the offset behind its record; None where the topic has none
    reason      why the log is not the one that it is from; empty when it is
    """

    published: Published
    newest: Position | None
    end: int | None
    reason: str = ""


async def find_resume_point(publication: Publication, partition: int) -> ResumePoint:
    """Look at the topic, and then whether the log has what stands there. Raises `Unavailable`, `KafkaError`,
    `TimeoutError`."""
    journal, stream = publication.journal, stream_name(publication.type, partition)

    def is_published(record: Any) -> bool:  # others may write to the topic too
        return published_place(record.headers, stream) is not None

    record = await publication.broker.last_record(publication.topic, partition, is_published)
    newest, end = None, None
    if record is None:
        published = await journal.published(stream) or Published(*BEGINNING)
        newest = Position(stream, *NOTHING_BEFORE) if published.nr == 0 else None
    else:
        place = published_place(record.headers, stream)
        assert place is not None, f"{stream}: the record at offset {record.offset} is none of its events"
        published = Published(*place)
        end = record.offset + 1
    head = await journal.head(stream)
    nr = head.nr if head is not None else 0
    position, reason = Position(stream, published.nr, published.index), ""
    if nr < published.nr:
        reason = journal_is_behind(position, nr)
    elif record is not None and not await _has(journal, position, dict(record.headers)):
        reason = (
            f"{publication.topic} has another event {position} than the journal: is JOURNAL_URL right, was the journal"
            ' restored? See "What belongs together" in docs/operations.md'
        )
    return ResumePoint(published, newest, end, reason)


async def _has(journal: Log, position: Position, headers: Mapping[str, bytes]) -> bool:
    """Whether the log has the event that these headers are of, as far as it can be read."""
    commits = await journal.commits(position.stream, position.nr - 1, 1)
    if not commits or commits[0].nr != position.nr:
        return True
    events = commits[0].events
    event = events[position.index] if position.index < len(events) else None
    origin = headers.get("ce_subject"), headers.get("ce_causationid")
    return event is not None and origin == (event.aggregate_id.encode(), event.command_id.encode())

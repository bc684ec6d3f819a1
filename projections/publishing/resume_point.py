"""Where a tail goes on: in each slice behind the last event that it, or another worker before it, has published.

Each record of the events topic carries the position of its event, so the last one of a slice says how far that slice
is. Of a slice that has been still for long it says little: a copy beside the journal says up to which commit all slices
of the log are out, so nothing before that is read again. That commit says of each slice which was its newest with an
event. Where a slice's last record is older than that, its topic was made again or has lost its end, and the slice goes
on from that record. Where a slice has no record, retention has removed them all or the topic was made again: the copy
alone says where to go on.

A log that goes on from others begins with what their seals say of its slices. Where a slice's last record is older than
that, a late one of a former tail, the event before its first is not known. And behind a log that is sealed the topic
may have events of those that go on from it: then it is out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from projections.publishing.publication import COMMIT_END, NOTHING_BEFORE, Publication, events_by_slice
from streams.concurrency.tasks import all_of
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Unavailable, log_name
from streams.journal.position import Place, Position, stream_name
from streams.journal.slice_log import SliceLog, seals_before
from streams.kafka.published_through import journal_is_behind, published_place


class SlicePoint(NamedTuple):
    """Up to where a slice is published.

    done     no event up to this place, and all behind it, are to be published
    newest   the position of the last event of the stream up to there, where that is known
    end      the offset behind its last record; None where the topic has none
    """

    done: Place
    newest: Position | None
    end: int | None


class ResumePoint(NamedTuple):
    """Up to where a log is published.

    nr       all slices have all events up to this commit
    said     so it was said before: of slices that could not be looked at no more is known
    slices   how far each of the others is
    reason   why the log is not the one that they are from; empty when it is
    is_end   whether that commit is the seal
    """

    nr: int
    said: int
    slices: Mapping[int, SlicePoint]
    reason: str = ""
    is_end: bool = False


class _Last(NamedTuple):
    """The last record of a slice: the position of its event, whether that ends its commit, and the offset behind."""

    position: Position
    ends: bool
    end: int
    headers: Mapping[str, bytes]

    def reaches(self, eventful_nr: int) -> bool:
        """Whether the slice has all up to the commit with its newest event, 0 for none."""
        return self.position.nr > eventful_nr or (self.position.nr == eventful_nr and self.ends) or not eventful_nr


async def find_resume_point(
    publication: Publication, span: LogSpan, slices: Sequence[int] | None = None
) -> ResumePoint:
    """Look at the topic, and then whether the log has what stands there; for these slices of the log, or those whose
    partitions have a leader. Raises `Unavailable`, `KafkaError`, `TimeoutError`."""
    journal, log = publication.journal, log_name(publication.type, span.number)
    copy = await journal.published(log)  # first, so that nobody looks at topics while the journal is down
    looked_at = await with_leader(publication, span.slices if slices is None else slices)
    last = await _last_records(publication, looked_at)
    said = nr = span.begins_after if copy is None else max(copy.nr, span.begins_after)
    head = await journal.head(log, span.begins_after)
    ends_at = span.begins_after if head is None else head.nr
    is_sealed = head is not None and head.is_seal
    its = [found for found in last.values() if found is not None and not (is_sealed and found.position.nr > ends_at)]
    if reason := await _refusal(publication, log, its, nr, ends_at):
        return ResumePoint(nr, nr, {}, reason)
    commit = await _commit(publication, log, nr) if nr > span.begins_after else None
    if commit is None and nr > span.begins_after:
        raise Unavailable(f"{log}: commit {nr}, up to which it is published, cannot be read yet")
    parents = [publication.layout.layout.log(number) for number in span.parents]
    seals = await seals_before(journal, publication.type, span, parents)
    inherited = {slice: head for seal in seals for slice, head in seal.slices.items()}
    points = {}
    for slice, found in last.items():
        before = inherited[slice].eventful_nr if slice in inherited else 0
        eventful_nr = before if commit is None else commit.slices[slice].eventful_nr
        if found is not None and not found.reaches(before):
            # What the logs before have published is gone: readers are to see that, and have it from the journal.
            newest = await _last_event(publication, slice, before)
            points[slice] = SlicePoint((span.begins_after + 1, -1), newest, found.end)
        else:
            points[slice] = _point(stream_name(publication.type, slice), found, nr, eventful_nr)
    least = min(point.done for point in points.values())
    nr = min(max(least[0] - 1, span.begins_after), max(ends_at, nr))
    return ResumePoint(nr, said, points, is_end=is_sealed and nr == ends_at)


def _point(stream: str, last: _Last | None, nr: int, eventful_nr: int) -> SlicePoint:
    """Where a slice goes on, when all slices are said to be out up to commit `nr`, and this one's newest up to there
    with an event is `eventful_nr`, 0 for none."""
    all_out = nr + 1, -1
    if last is None:
        return SlicePoint(all_out, None if eventful_nr else Position(stream, *NOTHING_BEFORE), None)
    place = last.position.place
    return SlicePoint(max(place, all_out) if last.reaches(eventful_nr) else place, last.position, last.end)


async def with_leader(publication: Publication, slices: Sequence[int]) -> Sequence[int]:
    """Those of these slices at whose ends one can look. Raises `Unavailable` where there is none, and `KafkaError`."""
    topic = (await publication.broker.describe([publication.topic])).get(publication.topic)
    without = frozenset() if topic is None else topic.without_leader
    if not (found := [slice for slice in slices if slice not in without]):
        raise Unavailable(f"Kafka: no leader of {publication.topic}-{min(slices)}")
    return found


async def _last_event(publication: Publication, slice: int, nr: int) -> Position | None:
    """The position of the last event of a slice in commit `nr`, of whichever log; None where that cannot be read."""
    log = SliceLog(publication.journal, publication.type, slice, publication.layout)
    for commit in await log.commits(nr - 1, 1):
        events = events_by_slice(commit, publication.layout.layout.slices).get(slice)
        if commit.nr == nr and events:
            return Position(stream_name(publication.type, slice), nr, events[-1][0])
    return None


async def _last_records(publication: Publication, slices: Sequence[int]) -> Mapping[int, _Last | None]:
    def is_published(slice: int, record: Any) -> bool:  # others may write to the topic too
        return published_place(record.headers, stream_name(publication.type, slice)) is not None

    records = await publication.broker.last_records(publication.topic, slices, is_published)
    return {slice: _last(stream_name(publication.type, slice), records.get(slice)) for slice in slices}


def _last(stream: str, record: Any) -> _Last | None:
    if record is None:
        return None
    place = published_place(record.headers, stream)
    assert place is not None, f"{stream}: the record at offset {record.offset} is none of its events"
    return _Last(Position(stream, *place), COMMIT_END in record.headers, record.offset + 1, dict(record.headers))


async def _refusal(publication: Publication, log: str, records: Sequence[_Last], nr: int, ends_at: int) -> str:
    """Why a log that ends at a commit is not the one that was published; empty when it is."""
    said = [Position(log, nr, -1), *(found.position for found in records)]
    furthest = max(said, key=lambda position: position.place)
    if furthest.nr > ends_at:
        return journal_is_behind(furthest, ends_at)
    for found, is_there in zip(records, await all_of(_has(publication, log, it) for it in records), strict=True):
        if not is_there:
            return (
                f"{publication.topic} has another event {found.position} than the journal: is JOURNAL_URL right, was"
                ' the journal restored? See "What belongs together" in docs/operations.md'
            )
    return ""


async def _has(publication: Publication, log: str, last: _Last) -> bool:
    """Whether the log has the event of a record, as far as it can be read."""
    commit = await _commit(publication, log, last.position.nr)
    if commit is None:
        return True
    index = last.position.index
    event = commit.events[index] if index < len(commit.events) else None
    origin = last.headers.get("ce_subject"), last.headers.get("ce_causationid")
    return event is not None and origin == (event.aggregate_id.encode(), event.command_id.encode())


async def _commit(publication: Publication, log: str, nr: int) -> Commit | None:
    commits = await publication.journal.commits(log, nr - 1, 1)
    return commits[0] if commits and commits[0].nr == nr else None

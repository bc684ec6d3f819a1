"""The rules that hold between one commit of a log and the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from streams.journal.layout import LogSpan
from streams.journal.port import NOTHING_CONSUMED, Commit, SliceHead
from streams.slices import slice_of

BEGINNING_OF_TIME = datetime.fromtimestamp(0, UTC)


def start_of(span: LogSpan, seals: Sequence[Commit]) -> Commit:
    """What stands before the first commit of a log: nothing, or what the last commits of the logs before say of its
    slices."""
    ends = {slice: head for seal in seals for slice, head in seal.slices.items()}
    topics = {seal.topic_id for seal in seals}
    return Commit(
        log="",
        nr=span.begins_after,
        epoch=0,
        owner="",
        topic_id=topics.pop() if len(topics) == 1 else "",
        slices={slice: ends.get(slice, SliceHead()) for slice in span.slices},
        derived_nr=span.begins_after,
        recorded_at=BEGINNING_OF_TIME,
    )


def broken_rules(before: Commit, commit: Commit, span: LogSpan, slices: int, only: int | None = None) -> Iterator[str]:
    """The rules that a commit of a log breaks behind the one before it, of which few hold behind a hole. `slices` is
    the number of all slices of the type. With `only` one of them, logs before that did not have it are not known."""
    adjacent = commit.nr == before.nr + 1
    yield from _ownership(before, commit, adjacent)
    yield from _offsets(before, commit, adjacent)
    yield from _pointers(before, commit, adjacent, slices, only)
    if before.is_seal:
        yield f"stands behind commit {before.nr}, which seals the log"
    if commit.is_seal and (commit.events or span.sealed not in (None, commit.nr)):
        yield f"seals the log, which ends with commit {span.sealed}, or holds events"
    if sorted(commit.slices) != list(span.slices):
        yield f"covers the partitions {sorted(commit.slices)}, and its log has {list(span.slices)}"


def _ownership(before: Commit, commit: Commit, adjacent: bool) -> Iterator[str]:
    if commit.epoch == before.epoch:
        if commit.owner != before.owner:
            yield f"is by {commit.owner}, but epoch {commit.epoch} belongs to {before.owner}"
    elif commit.epoch < before.epoch:
        yield f"has epoch {commit.epoch} after epoch {before.epoch}"
    elif adjacent:
        if commit.epoch > before.epoch + 1:
            yield f"has epoch {commit.epoch} right after epoch {before.epoch}"
        if commit.events:
            yield f"begins epoch {commit.epoch} and holds events: a takeover writes an empty commit"


def _offsets(before: Commit, commit: Commit, adjacent: bool) -> Iterator[str]:
    if commit.topic_id == before.topic_id:
        begins = not before.log
        # The offset stays when a commit holds commands that had waited in the journal. A takeover goes back where the
        # topic had lost its end.
        for slice, head in commit.slices.items():
            known = before.slices.get(slice, head)
            if head.offset < known.offset and commit.epoch == before.epoch:
                yield (
                    f"covers command offset {head.offset} of partition {slice}, commit {before.nr} covers"
                    f" {known.offset} already"
                )
            if begins and head.offset > known.offset and known.offset != NOTHING_CONSUMED:
                where = f"command offset {head.offset} of partition {slice}"
                yield f"begins at {where}, the log before ends at {known.offset}"
    elif adjacent and commit.epoch == before.epoch:
        yield f"counts offsets of topic {commit.topic_id}, commit {before.nr} of {before.topic_id}, without a takeover"


def _pointers(before: Commit, commit: Commit, adjacent: bool, slices: int, only: int | None) -> Iterator[str]:
    eventful = {slice_of(event.aggregate_id, slices) for event in commit.events if event.is_event}
    for slice, head in commit.slices.items():
        if only not in (None, slice):
            continue
        due = commit.nr if slice in eventful else before.slices.get(slice, head).eventful_nr if adjacent else None
        if due not in (None, head.eventful_nr):
            newest = f"is the newest with an event of partition {slice}"
            yield f"says that commit {head.eventful_nr} {newest}, it is {due}"
    if not before.derived_nr <= commit.derived_nr < commit.nr:
        yield f"says that all is derived up to commit {commit.derived_nr}, commit {before.nr} said {before.derived_nr}"

"""The rules that hold between one commit of a log and the next."""

from __future__ import annotations

from collections.abc import Iterator

from streams.journal.port import NOTHING_CONSUMED, Commit


def broken_rules(before: Commit | None, commit: Commit) -> Iterator[str]:
    """The rules that a commit breaks behind the one before it, or as the first. Behind a hole only some are checked."""
    if before is None:
        before = Commit(
            stream=commit.stream,
            nr=0,
            epoch=0,
            owner="",
            topic_id="",
            offset=NOTHING_CONSUMED,
            derived_nr=0,
            eventful_nr=0,
            recorded_at=commit.recorded_at,
        )
    adjacent = commit.nr == before.nr + 1
    yield from _ownership(before, commit, adjacent)
    yield from _offsets(before, commit, adjacent)
    yield from _pointers(before, commit, adjacent)


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
        # The offset stays when a commit holds commands that had waited in the journal. A takeover goes back where the
        # topic had lost its end.
        if commit.offset < before.offset and commit.epoch == before.epoch:
            yield f"covers command offset {commit.offset}, commit {before.nr} covers {before.offset} already"
    elif adjacent and commit.epoch == before.epoch:
        yield f"counts offsets of topic {commit.topic_id}, commit {before.nr} of {before.topic_id}, without a takeover"


def _pointers(before: Commit, commit: Commit, adjacent: bool) -> Iterator[str]:
    if any(event.is_event for event in commit.events):
        eventful_nr = commit.nr
    else:
        eventful_nr = before.eventful_nr if adjacent else commit.eventful_nr
    if commit.eventful_nr != eventful_nr:
        yield f"says that commit {commit.eventful_nr} is the newest with an event, it is {eventful_nr}"
    if not before.derived_nr <= commit.derived_nr < commit.nr:
        yield f"says that all is derived up to commit {commit.derived_nr}, commit {before.nr} said {before.derived_nr}"

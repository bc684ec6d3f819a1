"""Whose commit stands in the log: what all journals answer when an append finds its place taken."""

from __future__ import annotations

from streams.journal.port import Commit, Fenced


def same_commit(present: Commit, wanted: Commit) -> bool:
    """Whether what stands in the log is this very commit, from an attempt whose answer was lost."""
    return _identity(present) == _identity(wanted)


def fenced(present: Commit, wanted: Commit) -> Fenced:
    """What the owner who came too late is told."""
    return Fenced(
        f"{wanted.stream} nr {wanted.nr} was written by {present.owner} in epoch {present.epoch},"
        f" not by {wanted.owner} in epoch {wanted.epoch}"
    )


def _identity(commit: Commit) -> tuple[object, ...]:
    return (commit.stream, commit.nr, commit.epoch, commit.owner, commit.topic_id, commit.offset, commit.events)

"""How many commits of a log are read and published together."""

from __future__ import annotations

from collections.abc import Sequence

from streams.journal.port import Commit, next_page

FIRST_COMMITS = 5
"""What a commit of a log holds is not known before it is read."""
COMMITS_AT_ONCE = 50
EVENTS_AT_ONCE = 2_000
"""About so many are read and published together: while they are made, nobody else in this worker has a turn."""


def next_most(commits: Sequence[Commit]) -> int:
    """How many commits to read next, when these were the last ones: few where they are large, in events or in bytes."""
    events = sum(len(commit.events) for commit in commits)
    size = sum(len(event.data) for commit in commits for event in commit.events)
    most = EVENTS_AT_ONCE * len(commits) // max(events, 1)
    return max(1, min(COMMITS_AT_ONCE, most, next_page(size, len(commits))))

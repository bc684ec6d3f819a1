"""The commits that hints have brought to a tail, as far as they go on from what it has published."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from streams.journal.commit_hint import CarriedCommit, CommitId
from streams.journal.port import Commit

MOST_BYTES = 4 * 1024 * 1024
"""Of commits that wait for their turn; with more of them the journal is read."""
COMMIT_BYTES, SLICE_BYTES, EVENT_BYTES = 1_000, 140, 300
"""What a commit takes of memory by itself, for each of its slices, and for each event beside that one's own bytes:
measured."""


class CarriedCommits:
    """Those of one log. See `streams.journal.commit_hint` for which of them count."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._last: CommitId | None = None
        self._last_eventful: CommitId | None = None
        self._waiting: deque[CarriedCommit] = deque()
        self._bytes = 0

    def begin(self, since: int | None) -> None:
        """What was published last is not known, and hints count from the offset `since` on; None: none of them."""
        self._since, self._last, self._last_eventful = since, None, None
        self._waiting.clear()
        self._bytes = 0

    def follow(self, commits: Sequence[Commit]) -> None:
        """These are published, which were read in the journal."""
        for commit in commits:
            self._last = CommitId.of(commit)
            if commit.eventful_nr == commit.nr:
                self._last_eventful = self._last

    def put(self, carried: CarriedCommit, offset: int) -> None:
        """A hint at this offset has brought a commit."""
        size = _size(carried)
        if self._since is not None and offset >= self._since and self._bytes + size <= MOST_BYTES:
            self._waiting.append(carried)
            self._bytes += size

    def take(self, most: int) -> Sequence[Commit]:
        """The next commits, which are taken as published: with about `most` events, none where the journal is to be
        read."""
        commits: list[Commit] = []
        events = 0
        while self._last is not None and self._waiting and events < most:
            carried = self._waiting[0]
            if carried.commit.nr > self._last.nr:
                if carried.previous not in (self._last, self._last_eventful):
                    break
                commits.append(carried.commit)
                events += len(carried.commit.events)
                self.follow(commits[-1:])
            self._waiting.popleft()
            self._bytes -= _size(carried)
        return commits


def _size(carried: CarriedCommit) -> int:
    commit = carried.commit
    events = sum(EVENT_BYTES + event.size for event in commit.events)
    return COMMIT_BYTES + SLICE_BYTES * len(commit.slices) + events

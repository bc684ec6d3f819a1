"""Puts the fence where the key of a person is, for each erasure that the log of subjects has ordered.

It is done as rows by aggregate are derived, before the command that confirms it is sent: behind the reply, in the order
of the log, and again by the next owner where the former may not have done it. So `SubjectForgotten` is never told
before the fence stands, and an order that is in the log is never left half done. An erasure has a number, by which one
that is done again leaves alone what came after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from aggregates.subject import ErasureOrdered
from streams.aggregate_type import AggregateType
from streams.journal.event_decoding import NotReadableYet, decode_event, place_of
from streams.journal.port import Commit, JournalMissing, StoredSchemas, Unavailable
from streams.keys.fences import BY_ORDER, Fences
from streams.ownership.follower import LogFollower
from streams.settings import SettingsError

log = logging.getLogger(__name__)


class Erasures(LogFollower):
    """Does what a log of the aggregate type `context` orders. The store of keys is opened for that alone: of most apps
    nobody is ever forgotten."""

    def __init__(
        self, context: AggregateType, journal: StoredSchemas, fences: Callable[[], Fences] | None = None
    ) -> None:
        self._codec = context.events
        self._journal = journal
        self._fences = fences or (lambda: Fences.of(context.settings))

    async def before_sending(self, commits: Sequence[Commit]) -> None:
        """Put the fences that these commits order; they stand on return. Raises `Unavailable`."""
        try:
            if not (ordered := await self._ordered(commits)):
                return
            fences = self._fences()
            try:
                for subject, erasure in ordered:
                    key = await fences.erase(subject, BY_ORDER, erasure)
                    log.info("erasure %d of a subject stands since %s", key.erasures, key.at)
            finally:
                await fences.close()
        except (NotReadableYet, JournalMissing, SettingsError) as error:
            raise Unavailable(f"keys of persons: {error}") from None

    async def _ordered(self, commits: Sequence[Commit]) -> list[tuple[str, int]]:
        """The subjects of the erasures that are ordered, with their numbers."""
        rows = [row for commit in commits for row in commit.events if row.type == ErasureOrdered.__name__]
        return [
            (row.aggregate_id, event.erasure)
            for row in rows
            for event in await decode_event(self._codec, self._journal, row.data, place_of(row))
            if isinstance(event, ErasureOrdered)
        ]

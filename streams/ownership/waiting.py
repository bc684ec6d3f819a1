"""Why partitions wait: shown by health for as long as they do, and said once."""

from __future__ import annotations

import asyncio
import logging

from aiokafka.errors import KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Fenced, JournalMissing, Unavailable
from streams.settings import SettingsError

log = logging.getLogger(__name__)

SAY_AGAIN = 60.0
"""Why a stream waits is said again after so long, in seconds, if nothing else was to be said of it."""
PASSING = (Unavailable, Fenced, KafkaError, TimeoutError)
"""What is over by itself, when a server answers again."""
KNOWN = (*PASSING, JournalMissing, UnreadableCommit, NotReadableYet, SettingsError)
"""What is said in one line. Anything else is a bug, and said with its trace."""


class WaitingStreams:
    """The streams that wait are among the troubles of `supervisor`, each by its name."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._said: dict[str, tuple[str, float]] = {}

    def why(self, stream: str) -> str:
        """What a stream waits for; empty where it does not."""
        return self._supervisor.troubles.get(stream, "")

    def hold(self, stream: str, error: Exception, said: str = "") -> None:
        """A stream waits, for this. What its owner has `said` already is not repeated, but for the trace of a bug."""
        now, reason = asyncio.get_running_loop().time(), said or _reason(error)
        self._supervisor.trouble(stream, reason)
        before, at = self._said.get(stream, ("", 0.0))
        if reason == before and now - at < SAY_AGAIN:
            return
        self._said[stream] = reason, now
        bug = not isinstance(error, KNOWN)
        if bug or not said:
            log.log(
                logging.WARNING if isinstance(error, PASSING) else logging.ERROR,
                "%s waits, and is tried again by itself: %s",
                stream,
                reason,
                exc_info=error if bug else None,
            )

    def over(self, stream: str) -> None:
        """It does not wait any more."""
        self._supervisor.well(stream)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, KNOWN) and not isinstance(error, KafkaError):
        return str(error)
    return f"{type(error).__name__}: {error}"

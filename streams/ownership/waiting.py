"""Why a log, or a slice of it, waits: shown by health for as long as it does, and logged once a minute."""

from __future__ import annotations

import asyncio
import logging

from aiokafka.errors import KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Fenced, JournalMissing, Unavailable, log_type
from streams.journal.position import stream_name
from streams.settings import SettingsError

log = logging.getLogger(__name__)

LOG_AGAIN_SECONDS = 60.0
"""The same reason is logged again after so many seconds."""
PASSING = (Unavailable, Fenced, KafkaError, TimeoutError)
"""Errors that are over by themselves, when a server answers again."""
KNOWN = (*PASSING, JournalMissing, UnreadableCommit, NotReadableYet, SettingsError)
"""Errors that are logged in one line. Any other error is a bug, and logged with its trace."""


class WaitingLog:
    """Why one log waits, or one slice. The reason is among the troubles of `supervisor`, by the name of what waits.

    `changed` is set whenever it waits no more.
    """

    def __init__(self, name: str, supervisor: Supervisor, changed: asyncio.Event) -> None:
        self.name = name
        self._supervisor = supervisor
        self._changed = changed
        self._logged = ""
        self._logged_at = 0.0

    def of_slice(self, slice: int) -> WaitingLog:
        """Why the commands of a slice of this log wait."""
        return WaitingLog(stream_name(log_type(self.name), slice), self._supervisor, self._changed)

    @property
    def reason(self) -> str:
        """Why it waits; empty where it does not."""
        return self._supervisor.troubles.get(self.name, "")

    def begin(self, error: Exception, reason: str = "") -> None:
        """It waits, because of `error`. A `reason` that is given has been logged, but for the trace of a bug."""
        now, is_logged = asyncio.get_running_loop().time(), bool(reason)
        reason = reason or _reason(error)
        self._supervisor.trouble(self.name, reason)
        if reason == self._logged and now - self._logged_at < LOG_AGAIN_SECONDS:
            return
        self._logged, self._logged_at = reason, now
        is_bug = not isinstance(error, KNOWN)
        if is_bug or not is_logged:
            log.log(
                logging.WARNING if isinstance(error, PASSING) else logging.ERROR,
                "%s waits, and is tried again by itself: %s",
                self.name,
                reason,
                exc_info=error if is_bug else None,
            )

    def end(self) -> None:
        """It waits no more."""
        self._supervisor.well(self.name)
        self._changed.set()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, KNOWN) and not isinstance(error, KafkaError):
        return str(error)
    return f"{type(error).__name__}: {error}"

"""Writes the audit: an action before it is done, and what came of it afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from aiokafka.errors import KafkaError

from streams.audit.records import ActionEnded, ActionRequested, Outcome, new_id, record
from streams.kafka.client import ProducerRecord
from streams.kafka.client_factory import ClientsStopped
from streams.notices import say_error
from streams.text import one_line

log = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
"""Kafka has so long to take a record of the audit."""
REFUSALS_A_MINUTE = 20
"""So many refusals of one who may not are written down in a minute, and how many there were besides."""
MOST_REFUSED = 1_000
"""Those whose refusals are counted; the one that was refused first is forgotten."""

NOT_WRITTEN = (KafkaError, TimeoutError, OSError, ClientsStopped)
"""Raised where Kafka does not take a record, or this process is about to end."""

Send = Callable[[Sequence[ProducerRecord]], Awaitable[object]]
"""Sends records, durable on return. Raises what is `NOT_WRITTEN`."""


class NotAudited(Exception):
    """An action cannot be written down, so it is not done; the message says why, in one line."""

    def __init__(self, error: BaseException) -> None:
        reason = f"no answer within {WRITE_SECONDS:g} s" if isinstance(error, TimeoutError) else one_line(error)
        super().__init__(f"nothing is done, since it cannot be written to the audit: {reason}")


class AuditTrail:
    """The audit as an app writes it; `source` is the app's name in the records."""

    def __init__(self, send: Send, source: str) -> None:
        self.source = source
        self._send = send
        self._refused: OrderedDict[str, _Refused] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, action: ActionRequested) -> str:
        """Write an action down, before it is done; the id under which it is to end. Raises `NotAudited`."""
        id = new_id()
        try:
            await self._write([record(id, action, self.source)])
        except NOT_WRITTEN as error:
            raise NotAudited(error) from None
        return id

    async def end(self, id: str, ended: ActionEnded) -> bool:
        """Write down what came of it; whether that could be done. If not, the log has it."""
        try:
            await self._write([record(id, ended, self.source)])
        except NOT_WRITTEN as error:
            text = "the audit does not have the end of action %s (%s): %s"
            say_error(log, "audit-gap", "", text, id, ended, one_line(error))
            return False
        return True

    def end_soon(self, id: str, ended: ActionEnded) -> None:
        """The same in the background, as for an action that is broken off."""
        self._spawn(self._end(id, ended))

    def refused(self, action: ActionRequested, why: str) -> None:
        """Write down in the background that somebody may not. Of one who tries again and again some are enough."""
        who = self._refused.setdefault(action.who, _Refused())
        if len(self._refused) > MOST_REFUSED:
            self._refused.popitem(last=False)
        more = who.count()
        if more is None:
            return
        detail = f"{why}; {more} more of {action.who} are not written down" if more else why
        id = new_id()
        events = action, ActionEnded(Outcome.REFUSED, detail)
        self._spawn(self._note(id, [record(id, event, self.source) for event in events]))

    async def close(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=WRITE_SECONDS)

    async def _end(self, id: str, ended: ActionEnded) -> None:
        await self.end(id, ended)

    async def _note(self, id: str, records: Sequence[ProducerRecord]) -> None:
        try:
            await self._write(records)
        except NOT_WRITTEN as error:
            say_error(log, "audit-gap", "", "the audit does not have the refusal %s: %s", id, one_line(error))

    async def _write(self, records: Sequence[ProducerRecord]) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self._send(records)

    def _spawn(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Refused:
    """The refusals of one in the last minute."""

    def __init__(self) -> None:
        self._since = -60.0
        self._written = self._left_out = 0

    def count(self) -> int | None:
        """One more: how many were left out before it, None where it is left out itself."""
        if time.monotonic() - self._since >= 60.0:
            self._since, self._written = time.monotonic(), 0
        if self._written == REFUSALS_A_MINUTE:
            self._left_out += 1
            return None
        self._written += 1
        more, self._left_out = self._left_out, 0
        return more

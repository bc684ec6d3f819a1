"""The newest commits of logs, for those who ask again and again: people, programs and Prometheus, who look at lags, and
tables, which look whether their topic has brought all.

A head is read so that no append can be missed. That costs a store as much as an append (in Cassandra a round of Paxos
in the same partition), and would slow the owners down. So all who ask before a reading begins share it, and readings of
a log are some time apart. An answer is never older than its question, unless that says how old it may be: the lag must
not be 0 for what was written before one has asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streams.journal.layout import Layout
from streams.journal.port import Commit, Log, log_name, log_number, log_type
from streams.journal.slice_log import KnownLayout

APART_SECONDS = 0.5
"""Seconds between the beginnings of two readings of a log. Those who ask more seldom do not wait."""


class Heads:
    """The heads of all logs of journals. These, and what is known of their layouts, are given by aggregate type."""

    def __init__(
        self, journals: Mapping[str, Log], layouts: Mapping[str, KnownLayout], apart: float = APART_SECONDS
    ) -> None:
        self._journals = journals
        self._layouts = layouts
        self._apart = apart
        self._began: dict[str, float] = {}
        self._next: dict[str, asyncio.Task[Commit | None]] = {}
        """The readings that have not begun yet."""
        self._latest: dict[str, asyncio.Task[Commit | None]] = {}
        """Those that began last, and may be over."""
        self._all: set[asyncio.Task[Commit | None]] = set()

    async def of(self, only: Collection[str] | None = None, since: float | None = None) -> dict[str, Commit | None]:
        """The newest commit of each open log, or of only some logs, by name: as they were at a time of the loop's clock
        or later, at the call for None. Raises `Unavailable`."""
        logs = self._open_logs() if only is None else sorted(only)
        heads = await asyncio.gather(*(self._head(log, since) for log in logs))
        return dict(zip(logs, heads, strict=True))

    def _open_logs(self) -> list[str]:
        return [log_name(type, log.number) for type, known in self._layouts.items() for log in known.layout.open]

    async def _head(self, log: str, since: float | None) -> Commit | None:
        task = self._latest.get(log)
        if task is None or since is None or self._began[log] < since or _has_failed(task):
            task = self._next.get(log)
        if task is None:
            task = self._next[log] = asyncio.create_task(self._read(log))
            self._all.add(task)
            task.add_done_callback(self._done)
        return await asyncio.shield(task)  # others wait for the same

    async def _read(self, log: str) -> Commit | None:
        loop = asyncio.get_running_loop()
        pause = self._began.get(log, float("-inf")) + self._apart - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        self._latest[log] = self._next.pop(log)
        self._began[log] = loop.time()
        type = log_type(log)
        span = self._layouts[type].layout.log(log_number(log))
        head = await self._journals[type].head(log, span.begins_after)
        if head is not None and head.is_seal and span.is_open:
            self._keep_open(type, await self._layouts[type].look())
        return head

    def _keep_open(self, type: str, layout: Layout) -> None:
        """Forget the heads of logs that have ended; nearly nobody asks for them any more."""
        are_open = {log_name(type, log.number) for log in layout.open}
        done = {log for log, task in self._latest.items() if log_type(log) == type and task.done()}
        for log in done - are_open:
            del self._latest[log], self._began[log]

    def _done(self, task: asyncio.Task[Commit | None]) -> None:
        self._all.discard(task)
        _has_failed(task)  # whoever waited for it has been told, and nobody else is interested


def _has_failed(task: asyncio.Task[Commit | None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)

"""The requests that wait for replies: how many they may be, and which reply is whose."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from projections.gateway.command_records import SentCommand, is_reply_to
from projections.http.problems import HttpProblem, NotNow
from streams.deciding.messages import Reply


class TooMany(HttpProblem):
    """429: as many requests wait, or as many commands have no reply, as may."""

    def __init__(self, detail: str) -> None:
        super().__init__(429, "Too many", detail)


NOT_HERE = "X-Not-Here"
"""The header of an answer that says: ask the worker that has the partition by now."""


class NotHere(NotNow):
    """503: this worker does not have the partition of a command, or ends. A worker that has asked asks again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers = {NOT_HERE: "1"}


class ReplyWaiters:
    """At most `most` requests that have sent a command wait at the same time, and `most` that only ask for a status:
    neither take the places of the others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = {True: 0, False: 0}
        self._waiting: defaultdict[str, list[tuple[SentCommand, asyncio.Future[Reply | None]]]] = defaultdict(list)

    @contextmanager
    def place(self, sends: bool) -> Iterator[None]:
        """A place for a request that sends a command, or for one that only asks. Raises `TooMany`."""
        if self._places[sends] >= self._most:
            raise TooMany(f"{self._most} requests wait for replies already")
        self._places[sends] += 1
        try:
            yield
        finally:
            self._places[sends] -= 1

    @contextmanager
    def waiting_for(self, sent: SentCommand) -> Iterator[asyncio.Future[Reply | None]]:
        """The next reply to a command that is read; None when the wait is ended before. A request that waits has a
        `place`."""
        waiter = sent, asyncio.get_running_loop().create_future()
        waiters = self._waiting[sent.command_id]
        waiters.append(waiter)
        try:
            yield waiter[1]
        finally:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[sent.command_id]

    def take(self, reply: Reply) -> None:
        """Hand a reply to the requests that wait for it."""
        for sent, future in self._waiting.get(reply.command_id, ()):
            if not future.done() and is_reply_to(reply, sent.aggregate, sent.command):
                future.set_result(reply)

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """End all waits without a reply but those for the commands whose ids are kept."""
        for id, waiters in self._waiting.items():
            for _, future in waiters:
                if not (is_kept(id) or future.done()):
                    future.set_result(None)

"""A process of its own that appends to a log until it is killed, and prints the nr of each commit acknowledged."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from streams.concurrency.retry import until_it_answers
from streams.journal.port import Commit, RecordedEvent, SliceHead, Unavailable
from streams.open_journal import open_journal

MOMENT = datetime(2011, 5, 31, tzinfo=UTC)
EVENTS = 10
"""In each commit, all of one aggregate, named as the log is."""


def numbered(log: str, nr: int) -> Commit:
    """The commit that every such process writes at this nr."""
    first = (nr - 1) * EVENTS + 1
    events = (RecordedEvent(log, n, "LineAdded", bytes(100), f"c{n}") for n in range(first, first + EVENTS))
    return Commit(log, nr, 1, "a", "t", {0: SliceHead(nr, nr), 3: SliceHead()}, nr - 1, MOMENT, tuple(events))


async def append(url: str, namespace: str, context: str, log: str) -> None:
    """From the head on, for ever."""
    journal = open_journal(url, namespace, context)
    await until_it_answers(journal.open, "open", Unavailable)
    head = await until_it_answers(lambda: journal.head(log), "head", Unavailable)
    nr = head.nr if head else 0
    while True:
        nr += 1
        commit = numbered(log, nr)
        await until_it_answers(lambda commit=commit: journal.append(commit), "append", Unavailable)  # type: ignore[misc]
        print(nr, flush=True)


if __name__ == "__main__":
    asyncio.run(append(*sys.argv[1:]))

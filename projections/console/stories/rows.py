"""The rows of an aggregate from a time on, by the command that has caused them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from streams.concurrency.fairness import yield_if_due
from streams.journal.port import FIRST_PAGE, Aggregates, StoredEvent, next_page

MOST_ROWS = 2_000
MOST_BYTES = 4 * 1024 * 1024
"""Of one aggregate, in one story; a page more at most."""


class Rows(msgspec.Struct, frozen=True):
    """Rows by command id, in the order of the journal. `more`: there are later ones, which were not read."""

    by_command: Mapping[str, Sequence[StoredEvent]]
    last_event: int
    more: bool


async def rows_since(journal: Aggregates, type: str, id: str, since: datetime | None) -> Rows:
    """The rows of an aggregate that were written at a time or later, `MOST_ROWS` and `MOST_BYTES` about at most; for
    None the last ones. Raises `Unavailable`."""
    behind = await _last_before(journal, type, id, since)
    at = behind if since is not None else max(behind - MOST_ROWS, 0)
    by_command: dict[str, list[StoredEvent]] = defaultdict(list)
    count, size, last, limit = 0, 0, 0, FIRST_PAGE
    while True:
        page = await journal.events(type, id, at, at + limit - 1)
        for row in page:
            await yield_if_due()
            by_command[row.event.command_id].append(row)
            size += row.event.size
            last = max(last, row.event.sequence) if row.event.is_event else last
        count, at = count + len(page), at + limit
        if last < at - 1 or count >= MOST_ROWS or size >= MOST_BYTES:  # the sequences of events are dense
            return Rows(by_command, last, last >= at - 1)
        limit = min(next_page(size, count), MOST_ROWS)


async def _last_before(journal: Aggregates, type: str, id: str, since: datetime | None) -> int:
    """The sequence of the last event before a time, of the last of all for None, found in about 2 log n reads of one
    event; 0 where there is none."""

    async def is_before(sequence: int) -> bool:
        rows = await journal.events(type, id, sequence, sequence)
        return bool(rows) and (since is None or rows[0].recorded_at < since)

    low, high = 0, 1
    while await is_before(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await is_before(middle) else (low, middle)
    return low

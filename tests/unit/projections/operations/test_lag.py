"""`/lag` and `faust lag`: a journal that does not have what topic and tables have is said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from projections.operations.lag import lag_of
from projections.operations.reach import TableReach, TopicReach, WorkerReach
from projections.publishing.heads import Heads
from streams.cli import lag as lag_client
from streams.cli.http import Answer, read
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit
from streams.web.lag import Lag

STREAM = "order-2"


class NothingToDo:
    """The backlog of a stream whose events are all published and applied."""

    async def events(self, after: int, until: int) -> int:
        return 0

    async def age(self, nr: int) -> float:
        return 0.0


async def side_with(*numbers: int) -> Any:
    """The read side of a journal with commits up to these numbers."""
    journal = MemoryJournal()
    for nr in numbers:
        await journal.append(commit(nr))
    return SimpleNamespace(
        journals={"order": journal},
        heads=Heads({"order": journal}, 3),
        sources={"order": SimpleNamespace(kept=[])},
        control=SimpleNamespace(serving=lambda name: None),
        backlog=lambda stream: NothingToDo(),
    )


def commit(nr: int) -> Commit:
    return Commit(STREAM, nr, 1, "o", "t", nr, 0, nr, datetime.now(UTC))


def answer(published: int, applied: int) -> WorkerReach:
    """What a worker says of itself."""
    return WorkerReach({STREAM: TopicReach(published, 0)}, {STREAM: {"orders-1": TableReach(applied, 0, 0, 0)}})


@pytest.mark.parametrize(("published", "applied", "ahead"), [(15, 15, 13), (2, 15, 13), (15, 0, 13), (2, 2, 0)])
async def test_ahead(published: int, applied: int, ahead: int) -> None:
    """The commits that topic or tables have and the journal does not."""
    side = await side_with(1, 2)
    found = await lag_of(side, STREAM, commit(2), [answer(published, applied)])
    assert (ahead, 2) == (found.ahead, found.head)


async def test_a_head_that_was_read_before() -> None:
    """A commit that was written and applied while others were asked is not ahead of anything."""
    side = await side_with(1, 2, 3)
    found = await lag_of(side, STREAM, commit(2), [answer(3, 3)])
    assert (0, 3) == (found.ahead, found.head)


async def test_who_asks_at_once_shares_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a stream is ahead its head is read anew, for all who ask in the meantime together."""
    side, reads = await side_with(1, 2), []
    head = MemoryJournal.head

    async def counted(self: MemoryJournal, stream: str) -> Commit | None:
        reads.append(stream)
        return await head(self, stream)

    monkeypatch.setattr(MemoryJournal, "head", counted)
    found = await asyncio.gather(*(lag_of(side, STREAM, commit(2), [answer(15, 15)]) for _ in range(20)))
    assert ([13] * 20, [STREAM]) == ([it.ahead for it in found], reads)


async def test_an_empty_journal() -> None:
    """All that was published is ahead of it."""
    found = await lag_of(await side_with(), STREAM, None, [answer(15, 15)])
    assert 15 == found.ahead


async def test_the_command_line_names_the_streams() -> None:
    """`faust lag` reads what the page writes, shows the column, and knows which streams are ahead."""
    row = await lag_of(await side_with(1, 2), STREAM, commit(2), [answer(15, 15)])
    body = msgspec.json.encode(Lag([row, replace(row, ahead=0)], 0))
    lag = read(Answer("u", 200, body), Lag, "the /lag of the projections")
    assert [STREAM] == lag.ahead
    assert 13 == lag_client.rows(lag)[0][lag_client.COLUMNS.index("ahead")]

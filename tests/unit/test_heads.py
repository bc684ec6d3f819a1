"""Lags may be looked at as often as one likes: the journal is asked for a head once in a second, for all who look."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from projections import heads
from projections.heads import Heads
from streams.journal import Commit, Unavailable
from streams.journal_memory import MemoryJournal
from tests.unit.boxes import NOW


class Journal(MemoryJournal):
    """Counts how often heads are asked for; answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.let = asyncio.Event()
        self.let.set()
        self.down = False

    async def head(self, stream: str) -> Commit | None:
        self.asked[stream] += 1
        await self.let.wait()
        if self.down:
            raise Unavailable("the journal is down")
        return await super().head(stream)


async def write(journal: Journal, nr: int) -> None:
    await journal.append(Commit("box-0", nr, 1, "o", "t", nr, nr, nr, NOW))


async def test_many_look() -> None:
    """Those who look at the same moment, and soon after, share one question; one who leaves takes it from nobody."""
    journal = Journal()
    await write(journal, 1)
    found = Heads({"box": journal}, 2)
    journal.let.clear()
    looking = [asyncio.create_task(found.of()) for _ in range(50)]
    await asyncio.sleep(0)
    looking.pop(0).cancel()
    journal.let.set()
    for heads_of in [*await asyncio.gather(*looking), await found.of()]:
        assert [1, None] == [commit and commit.nr for commit in heads_of.values()]
    assert ["box-1"] == list(await found.of({"box-1", "other-0"}))
    assert {"box-0": 1, "box-1": 1} == journal.asked


async def test_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is forgotten after its time, though somebody looks all the while."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.1)
    journal = Journal()
    found = Heads({"box": journal}, 1)
    assert {"box-0": None} == await found.of()
    await write(journal, 1)
    async with asyncio.timeout(5):
        while (head := (await found.of())["box-0"]) is None:
            await asyncio.sleep(0.01)
    assert 1 == head.nr
    assert 2 == journal.asked["box-0"]


async def test_a_journal_that_was_down() -> None:
    """What could not be read is read again by the next one who looks."""
    journal = Journal()
    journal.down = True
    found = Heads({"box": journal}, 1)
    with pytest.raises(Unavailable):
        await found.of()
    journal.down = False
    assert {"box-0": None} == await found.of()

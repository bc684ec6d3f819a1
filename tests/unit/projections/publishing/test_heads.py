"""Lags may be looked at as often as one likes: the journal is asked for a head now and then, for all who look."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from projections.publishing.heads import APART_SECONDS, Heads
from streams.journal.layout import Layout, first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead, Unavailable
from tests.layouts import Known

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Journal(MemoryJournal):
    """Counts how often heads are asked for; answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.let = asyncio.Event()
        self.let.set()
        self.down = False

    async def head(self, log: str, after: int = 0) -> Commit | None:
        self.asked[log] += 1
        found = await super().head(log, after)
        await self.let.wait()
        if self.down:
            raise Unavailable("the journal is down")
        return found


async def write(journal: Journal, nr: int) -> None:
    await journal.append(Commit("box@0", nr, 1, "o", "t", {0: SliceHead(nr, nr)}, nr - 1, NOW))


def heads_of(journal: Journal, logs: int = 1, apart: float = APART_SECONDS) -> Heads:
    return Heads({"box": journal}, {"box": Known(first_layout(4, logs))}, apart)


async def nr(found: Heads) -> int:
    head = (await found.of())["box@0"]
    return 0 if head is None else head.nr


async def test_many_look() -> None:
    """Those who look at the same moment share a reading; one who leaves takes it from nobody."""
    journal = Journal()
    await write(journal, 1)
    found = heads_of(journal, 2)
    looking = [asyncio.create_task(found.of()) for _ in range(50)]
    await asyncio.sleep(0)
    looking.pop(0).cancel()
    for its in await asyncio.gather(*looking):
        assert [1, None] == [commit and commit.nr for commit in its.values()]
    assert {"box@0": 1, "box@1": 1} == journal.asked
    assert ["box@1"] == list(await found.of({"box@1"}))
    assert {"box@0": 1, "box@1": 2} == journal.asked


async def test_no_answer_is_older_than_its_question() -> None:
    """Who asks after something was written sees it, also while an earlier reading is under way, or just over."""
    journal = Journal()
    found = heads_of(journal, apart=0.05)
    for expected in range(1, 6):
        await write(journal, expected)
        assert expected == await nr(found)
    journal.let.clear()
    early = asyncio.create_task(nr(found))
    async with asyncio.timeout(5):
        while journal.asked["box@0"] < 6:
            await asyncio.sleep(0.001)
    await write(journal, 6)
    late = asyncio.create_task(nr(found))
    journal.let.set()
    assert (5, 6) == (await early, await late)


async def test_who_looks_all_the_time_waits() -> None:
    """However many look, and however often, readings are apart; who looks seldom does not wait."""
    journal = Journal()
    found = heads_of(journal, apart=0.1)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def look() -> None:
        while loop.time() - began < 0.45 or journal.asked["box@0"] < 2:
            await found.of()

    await asyncio.gather(*(look() for _ in range(20)))
    assert 2 <= journal.asked["box@0"] <= 1 + (loop.time() - began) / 0.1
    await asyncio.sleep(0.1)
    seldom = asyncio.create_task(found.of())
    for _ in range(20):  # turns of the loop, and no time
        await asyncio.sleep(0)
    assert seldom.done()


@dataclass
class Growing(Known):
    """There is a newer one, of which nobody knows."""

    newest: Layout

    async def look(self) -> Layout:
        self.layout = self.newest
        return self.layout


async def test_logs_that_have_ended() -> None:
    """Whoever wants to know how they ended asks again: they are not remembered for ever."""
    journal, first = Journal(), first_layout(4, 2)
    known = Growing(first, first)
    found = Heads({"box": journal}, {"box": known}, apart=0.0)
    for number in range(2):
        await found.of()
        await journal.append(Commit(f"box@{number}", 1, 1, "o", "t", {}, 0, NOW, is_seal=True))
        known.newest = known.layout.split(number, [(number, [number]), (number + 2, [number + 2])]).seal(number, 1)
        assert (await found.of({f"box@{number}"}))[f"box@{number}"] is not None
    assert {"box@1", "box@2", "box@3"} == found._latest.keys() == found._began.keys()


async def test_a_journal_that_was_down() -> None:
    """All who wait are told, and the next one who looks asks again."""
    journal = Journal()
    journal.down = True
    found = heads_of(journal)
    told = await asyncio.gather(*(found.of() for _ in range(3)), return_exceptions=True)
    assert [Unavailable] * 3 == [type(error) for error in told]
    journal.down = False
    assert {"box@0": None} == await found.of()


async def test_an_older_answer_will_do_for_some() -> None:
    """Who says how old an answer may be shares a reading that has begun since, or is over, and no failed one."""
    journal = Journal()
    found, loop = heads_of(journal), asyncio.get_running_loop()
    began = loop.time()
    await write(journal, 1)
    journal.let.clear()
    looking = [asyncio.create_task(found.of(since=began))]
    await asyncio.sleep(0.001)
    looking.append(asyncio.create_task(found.of(since=began)))
    journal.let.set()
    assert [1, 1] == [heads["box@0"] and heads["box@0"].nr for heads in await asyncio.gather(*looking)]
    await write(journal, 2)
    assert (1, 1) == ((await found.of(since=began))["box@0"].nr, journal.asked["box@0"])  # type: ignore[union-attr]
    assert 2 == await nr(found)
    journal.down = True
    with pytest.raises(Unavailable):
        await found.of()
    journal.down = False
    assert 2 == (await found.of(since=began))["box@0"].nr  # type: ignore[union-attr]
    assert 4 == journal.asked["box@0"]

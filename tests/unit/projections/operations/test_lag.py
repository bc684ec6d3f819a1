"""`/lag` and `faust lag`: each stream by its slice; a journal that does not have what topic and tables have is said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from projections.operations.lag import heads_of, lag_of
from projections.operations.reach import TableReach, TopicReach, WorkerReach, published_here
from projections.publishing.backlog import Backlog
from projections.publishing.heads import Heads
from projections.publishing.type_logs import TypeLogs
from streams.cli import lag as lag_client
from streams.cli.http import Answer, read
from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead
from streams.web.lag import Lag
from tests.layouts import Known
from tests.unit.projections.publishing.test_tail_of_slices import journal_with

STREAM, LOG = "order-2", "order@0"
SLICES = 3


class NothingToDo:
    """The backlog of a stream whose events are all published and applied."""

    async def events(self, slice: int, after: int, until: int) -> int:
        return 0

    async def age(self, slice: int, nr: int, until: int) -> float:
        return 0.0


def side_of(journal: MemoryJournal, backlog: Any, kept: Sequence[Any] = ()) -> Any:
    """The read side of a journal with one log."""
    known = Known(first_layout(SLICES, 1))
    journals, heads = {"order": journal}, Heads({"order": journal}, {"order": known})
    return SimpleNamespace(
        journals=journals,
        heads=heads,
        logs={"order": TypeLogs(journal, "order", known, heads)},
        sources={"order": SimpleNamespace(kept=kept)},
        control=SimpleNamespace(serving=lambda name: "orders-1"),
        backlog=lambda stream: backlog,
    )


async def side_with(*numbers: int) -> Any:
    """The read side of a journal with commits up to these numbers."""
    journal = MemoryJournal()
    for nr in numbers:
        await journal.append(commit(nr))
    return side_of(journal, NothingToDo())


def commit(nr: int) -> Commit:
    return Commit(LOG, nr, 1, "o", "t", {2: SliceHead(nr)}, nr, datetime.now(UTC))


def answer(published: int, applied: int, done: int = 0, total: int = 0, stream: str = STREAM) -> WorkerReach:
    """What a worker says of itself."""
    reach = TableReach(applied, done, total, total)
    return WorkerReach({stream: TopicReach(published, total)}, {stream: {"orders-1": reach}})


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

    async def counted(self: MemoryJournal, log: str, after: int = 0) -> Commit | None:
        reads.append(log)
        return await head(self, log, after)

    monkeypatch.setattr(MemoryJournal, "head", counted)
    found = await asyncio.gather(*(lag_of(side, STREAM, commit(2), [answer(15, 15)]) for _ in range(20)))
    assert ([13] * 20, [LOG]) == ([it.ahead for it in found], reads)
    heads = await heads_of(side, [f"order-{slice}" for slice in range(SLICES)])
    assert ([2] * SLICES, [LOG] * 2) == ([it and it.nr for it in heads.values()], reads)


async def test_an_empty_journal() -> None:
    """All that was published is ahead of it."""
    found = await lag_of(await side_with(), STREAM, None, [answer(15, 15)])
    assert 15 == found.ahead


# -- streams of one log --------------------------------------------------------------------------------------------


async def sales(*commits: Sequence[int]) -> Any:
    """The read side of a log with commits of an event of each of these slices, and a table."""
    journal = await journal_with(*commits)
    span = first_layout(SLICES, 1).log(0)
    return side_of(journal, Backlog(journal, "order", span, SLICES), [SimpleNamespace(name="orders")])


async def test_commits_of_other_streams_are_no_lag() -> None:
    """A stream whose table has its newest event is not behind, whatever the log has got since; the others are."""
    side = await sales([0, 1, 2], [1], [1, 0], [1])
    heads = await heads_of(side, ["order-1", STREAM])
    found = await lag_of(side, STREAM, heads[STREAM], [answer(4, 1, 1, 1)])
    assert (4, 1, 0, 1) == (found.head, found.eventful, found.lag, found.committed_offset and 1)
    found = await lag_of(side, "order-1", heads["order-1"], [answer(4, 1, 1, 4, "order-1")])
    assert (4, 4, 3, 3) == (found.head, found.eventful, found.lag, found.events)
    assert 0 < found.seconds < 60


async def test_one_event_behind_many_commits_of_others() -> None:
    """A stream that was still is behind by the commits that it has itself, however far the log went meanwhile."""
    side = await sales([2], *[[0]] * 500, [2])
    [head] = (await heads_of(side, [STREAM])).values()
    found = await lag_of(side, STREAM, head, [answer(502, 1, 1, 2)])
    assert (502, 1, 1) == (found.eventful, found.lag, found.events)
    assert 0 < found.seconds < 60
    found = await lag_of(side, STREAM, head, [answer(501, 1, 1, 1)])
    assert (1, 1, 1) == (found.lag, found.events, found.unpublished_events)


async def test_what_is_published_of_a_stream() -> None:
    """The tail of a log says it of all its slices; the topic is asked only for what is here and is not tailed here."""
    asked: list[str] = []

    async def end_of(stream: str) -> tuple[int, int]:
        asked.append(stream)
        return 5, 50

    slices = [SimpleNamespace(slice=slice, stream=f"order-{slice}", end=10 * slice) for slice in (0, 1)]
    tail = SimpleNamespace(published=6, published_of=lambda slice: 7 - slice, slices=slices)
    side: Any = SimpleNamespace(
        publisher=SimpleNamespace(tails=[tail]),
        journals={"order": None},
        sources={"order": SimpleNamespace(kept=["orders"], partitions={1: None, 2: None})},
        topic_ends=SimpleNamespace(of=end_of),
        partitions_served={1, 2},
    )
    tailed = {"order-0": TopicReach(7, 0), "order-1": TopicReach(6, 10)}
    assert (tailed | {STREAM: TopicReach(5, 50)}, [STREAM]) == (await published_here(side), asked)
    side.sources["order"].kept = []
    assert tailed == await published_here(side)


async def test_the_command_line_names_the_streams() -> None:
    """`faust lag` reads what the page writes, shows the column, and knows which streams are ahead."""
    row = await lag_of(await side_with(1, 2), STREAM, commit(2), [answer(15, 15)])
    body = msgspec.json.encode(Lag([row, replace(row, ahead=0)], 0))
    lag = read(Answer("u", 200, body), Lag, "the /lag of the projections")
    assert [STREAM] == lag.ahead
    assert 13 == lag_client.rows(lag)[0][lag_client.COLUMNS.index("ahead")]

"""Logs that begin behind a number: they go on from others, whose numbers they go on counting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from streams.journal.port import Commit, Fenced, Journal, StoredEvent, log_type
from tests.contract.conftest import Journals, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., Commit]
BEHIND = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 998, 999, 1000, 1_000_000, 123_456_789_012]
"""The last numbers of the logs before."""


@pytest.fixture(params=[3, 1000], ids="buckets of {}".format)
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Commits of a partition in Cassandra."""
    size: int = request.param
    monkeypatch.setattr("streams.journal.cassandra.journal.COMMITS_PER_BUCKET", size)
    return size


@pytest.mark.parametrize("after", BEHIND)
@pytest.mark.usefixtures("bucket")
async def test_a_log_begins_behind_a_number(journals: Journals, make_commit: Make, log: str, after: int) -> None:
    """It is empty before; then head and commits are right after each append, on every connection."""
    assert await journals.one.head(log, after) is None
    assert [] == list(await journals.one.commits(log, after, 10))
    commits: list[Commit] = []
    for nr in range(after + 1, after + 9):
        commits.append(make_commit(nr, event("a", nr)))
        await journals.one.append(commits[-1])
        assert await journals.two.head(log, after) == commits[-1]
        assert await journals.one.head(log, after) == commits[-1]
        assert commits == list(await journals.two.commits(log, after, 100))
    for skip in range(10):
        assert commits[skip : skip + 3] == list(await journals.two.commits(log, after + skip, 3))


async def test_its_first_place_has_one_winner(journals: Journals, make_commit: Make, log: str) -> None:
    """Of owners that take it over at the same moment one begins it; the others are fenced."""

    async def begin(owner: str, journal: Journal) -> str | None:
        try:
            await journal.append(make_commit(1234, owner=owner))
        except Fenced:
            return None
        return owner

    both = (journals.one, journals.two) * 3
    won = [it for it in await asyncio.gather(*(begin(f"o{n}", it) for n, it in enumerate(both))) if it is not None]
    head = await journals.one.head(log, 1233)
    assert head is not None
    assert [head.owner] == won
    assert 1234 == head.nr


async def test_the_first_commit_may_be_repeated(journals: Journals, make_commit: Make, log: str) -> None:
    """Its outcome is settled like that of any other."""
    commit = make_commit(1234, event("a", 1))
    for journal in (journals.one, journals.two):
        await journal.append(commit)
    with pytest.raises(Fenced):
        await journals.two.append(make_commit(1234, epoch=2, owner="b"))
    assert [commit] == list(await journals.one.commits(log, 1233, 10))


async def test_it_does_not_touch_the_one_it_goes_on_from(journals: Journals, make_commit: Make, log: str) -> None:
    """The parent keeps its head and its commits, the child begins right behind it, and what is derived of an aggregate
    is in the order of both."""
    child = log.replace("@0", "@2")
    before = [make_commit(nr, event("a", nr)) for nr in (1, 2, 3)]
    later = [make_commit(nr, event("a", nr), log=child) for nr in (4, 5)]
    for commit in (*before, *later):
        await journals.one.append(commit)
    assert before[-1] == await journals.two.head(log)
    assert later[-1] == await journals.two.head(child, 3)
    assert before == list(await journals.two.commits(log, 0, 10))
    assert later == list(await journals.two.commits(child, 3, 10))
    await journals.one.derive(later)
    await journals.one.derive(before)
    rows = [StoredEvent(event("a", it.nr), it.nr, 0, it.recorded_at) for it in (*before, *later)]
    assert rows == list(await journals.two.events(log_type(log), "a"))

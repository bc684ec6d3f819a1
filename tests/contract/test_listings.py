"""What every read model promises of its listings: rows by group, in order, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from projections.stores.listings import Cursor, SharedRows, Span
from projections.stores.rows import Changes, Checkpoint, StoredRow, shown
from tests.contract.read_models import (
    BY_STATUS,
    BY_USER,
    KINDS,
    ReadModels,
    changes,
    gone,
    having,
    new_table,
    row,
    save,
    two_workers,
    url_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTINGS = (BY_STATUS, BY_USER)


@pytest_asyncio.fixture(params=KINDS, scope="module", loop_scope="session")
async def models(request: pytest.FixtureRequest) -> AsyncIterator[ReadModels]:
    """Two workers on a read model of each kind, whose tables are all listed by status and by user."""
    async with two_workers(url_of(request.param, request), lambda table: LISTINGS) as found:
        yield found


@pytest.fixture
def rows(models: ReadModels) -> SharedRows:
    """A read model of each kind."""
    return models.one


@pytest.fixture
def table() -> str:
    """A table that no other test uses."""
    return new_table()


def order(id: str, nr: int, status: str = "open", at: str = "", user: str = "u", day: str = "2011-05-17") -> StoredRow:
    """A row that both listings have."""
    return having(passing(id, nr, status, at), user=user, day=day)


def passing(id: str, nr: int, status: str = "open", at: str = "") -> StoredRow:
    """A row that the listing by status has; it may be removed again."""
    return row(nr, id=id, status=status, at=at or f"{nr:03}")


async def ids(rows: SharedRows, table: str, listing: str, group: str, **asked: Any) -> str:
    """The ids of a page of rows whose ids are one letter each."""
    return "".join(found["id"] for found in (await rows.listed(table, listing, group, **asked)).rows)


async def fill(rows: SharedRows, table: str, *orders: StoredRow, partition: int = 3) -> None:
    """Save each in a batch of its own."""
    for order in orders:
        await save(rows, partition, {table: changes(**{(order.row or {})["id"]: order})})


async def test_a_group_comes_in_order(models: ReadModels, table: str) -> None:
    """Sorted, then by key, and the other way round; of all partitions together, and no other group or table."""
    await fill(models.one, table, order("c", 1, day="2011-05-02"), order("b", 2, day="2011-05-01"))
    await fill(models.one, table, order("a", 1, day="2011-05-02"), order("x", 2, user="v"), partition=4)
    await fill(models.one, new_table(), order("y", 1))
    assert "bac" == await ids(models.two, table, "by-user", "u")
    assert "cab" == await ids(models.two, table, "by-user", "u", span=Span(descending=True))
    assert "x" == await ids(models.two, table, "by-user", "v")
    assert "" == await ids(models.two, table, "by-user", "nobody")
    page = await models.two.listed(table, "by-user", "v")
    assert ([shown(order("x", 2, user="v"))], None) == (list(page.rows), page.next)


async def test_the_order_is_that_of_code_points(rows: SharedRows, table: str) -> None:
    """Whatever language the server speaks: upper case before lower, all that is not ASCII behind."""
    texts = ["", "A", "B", "a", "a b", "aa", "b", "z", "é", "☃", "\uffee", "𝔸"]
    saved = {f"{n}": row(1, n, id=text, user="u", day=text) for n, text in enumerate(reversed(texts))}
    await save(rows, 3, {table: changes(**saved)})
    page = await rows.listed(table, "by-user", "u", most=100)
    assert texts == [found["id"] for found in page.rows]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("listing", LISTINGS, ids=lambda it: it.name)
async def test_pages(rows: SharedRows, table: str, listing: Any, descending: bool) -> None:
    """Each page begins behind the one before, in the middle of equal ones too; the last says that it is."""
    saved = [order(id, nr, at=f"{nr // 3}", day=f"{nr // 3}") for nr, id in enumerate("abcdefghij", 1)]
    await fill(rows, table, *saved)
    group, after, pages = {"by-status": "open", "by-user": "u"}[listing.name], None, []
    while True:
        page = await rows.listed(table, listing.name, group, after, 3, span=Span(descending=descending))
        pages.append("".join(found["id"] for found in page.rows))
        if page.next is None:
            break
        after = page.next
    assert (["jih", "gfe", "dcb", "a"] if descending else ["abc", "def", "ghi", "j"]) == pages
    assert "abcdefghij" == "".join(sorted(await ids(rows, table, listing.name, group, most=10)))
    assert (await rows.listed(table, listing.name, group, most=10)).next is None


async def test_pages_of_keys_of_any_character(rows: SharedRows, table: str) -> None:
    """A key may hold what a server does not take or has a meaning of its own for: none is left out, none comes twice,
    and a cursor that nobody has given out is a place like any other."""
    keys = ["a", "a\\", "a\\0", "a\0", "\0", "\\", "'; --", "%", "é"]
    for nr, key in enumerate(keys, 1):
        await save(rows, 3, {table: changes(**{key: row(nr, id=key, user="u", day="2011-05-17")})})
    after: Cursor | None = ("2011-05-16", "\0")
    found: list[Any] = []
    while after is not None and len(found) <= len(keys):
        page = await rows.listed(table, "by-user", "u", after, 1)
        found += [it["id"] for it in page.rows]
        after = page.next
    assert sorted(keys) == sorted(found)


async def test_a_range(rows: SharedRows, table: str) -> None:
    """Both ends count; a page within a range goes on within it, and a range may be empty."""
    await fill(rows, table, *(order(id, nr, day=f"2011-05-{nr:02}") for nr, id in enumerate("abcdefgh", 1)))

    async def found(first: str, last: str, after: Cursor | None = None) -> list[str]:
        spans = (Span(first, last, descending) for descending in (False, True))
        return [await ids(rows, table, "by-user", "u", after=after, span=span) for span in spans]

    assert ["cde", "edc"] == await found("2011-05-03", "2011-05-05")
    assert ["e", "c"] == await found("2011-05-03", "2011-05-05", ("2011-05-04", "d"))
    assert ["cde", ""] == await found("2011-05-03", "2011-05-05", ("2011-05-01", "a"))
    assert ["", "edc"] == await found("2011-05-03", "2011-05-05", ("2011-05-07", "g"))
    assert ["", ""] == await found("2011-05-05", "2011-05-03")
    assert ["", ""] == await found("2012", "2013")


async def test_pages_are_stable_under_writes(rows: SharedRows, table: str) -> None:
    """Rows that are added, changed and removed between two pages shift none of the others."""
    await fill(rows, table, *(passing(id, nr, at=f"{nr:02}") for nr, id in enumerate("bdfhjl", 1)))
    page = await rows.listed(table, "by-status", "open", most=3)
    assert "bdf" == "".join(found["id"] for found in page.rows)
    await fill(rows, table, passing("a", 7, at="00"), passing("g", 8, at="03"), passing("i", 9, at="04"))
    await fill(
        rows, table, passing("d", 10, "placed"), passing("j", 11, "placed"), having(passing("h", 12, at="04"), n=1)
    )
    await save(rows, 3, {table: changes(b=gone(13))})
    page = await rows.listed(table, "by-status", "open", page.next, 3)
    assert "ghi" == "".join(found["id"] for found in page.rows)
    assert 1 == page.rows[1]["n"]
    assert "l" == await ids(rows, table, "by-status", "open", after=page.next, most=3)


async def test_a_listed_row_is_the_newest(rows: SharedRows, table: str) -> None:
    """What a listing shows is what the key shows, however often the row has changed."""
    for nr in range(1, 5):
        saved = having(order("a", nr, at="1"), n=nr)
        await fill(rows, table, saved)
        for listing, group in (("by-status", "open"), ("by-user", "u")):
            assert [shown(saved)] == list((await rows.listed(table, listing, group)).rows)


async def test_a_row_moves(rows: SharedRows, table: str) -> None:
    """It is in one place of one group at a time, in none when it is not listed, and may come back."""
    for nr, status, at in ((1, "open", "1"), (2, "open", "2"), (3, "placed", "2"), (4, "", ""), (5, "open", "1")):
        moved = changes(a=row(nr, id="a", status=status, at=at) if status else row(nr, id="a"))
        await save(rows, 3, {table: moved})
        found = {group: await ids(rows, table, "by-status", group) for group in ("open", "placed")}
        assert {group: "a" if group == status else "" for group in ("open", "placed")} == found
    await save(rows, 3, {table: changes(a=gone(6))})
    assert "" == await ids(rows, table, "by-status", "open")


async def test_a_row_that_was_folded_anew_moves(rows: SharedRows, table: str) -> None:
    """Its position is the same, and it is listed where it belongs."""
    for revision, status in enumerate(("open", "placed", "held", "open")):
        await fill(rows, table, replace(passing("a", 5, status), revision=revision))
        found = {group: await ids(rows, table, "by-status", group) for group in ("open", "placed", "held")}
        assert {group: "a" if group == status else "" for group in found} == found


async def test_late_batches_list_nothing(models: ReadModels, table: str) -> None:
    """A zombie saves what was true between two steps of its successor: the row stays where that one has put it."""
    await fill(models.one, table, order("a", 1), passing("b", 2), order("c", 3))
    await save(models.two, 3, {table: changes(a=order("a", 8, "placed"), b=gone(9), c=order("c", 10, at="0"))})
    late = changes(a=order("a", 5, "held"), b=passing("b", 6, "held"), c=order("c", 7, "held"), d=order("d", 7, "held"))
    await save(models.one, 3, {table: late})
    found = [await ids(models.two, table, "by-status", group) for group in ("open", "placed", "held")]
    assert ["c", "a", "d"] == found
    assert "acd" == await ids(models.two, table, "by-user", "u")
    assert "placed" == (await models.two.listed(table, "by-user", "u")).rows[0]["status"]


async def test_many_rows_in_one_batch(rows: SharedRows, table: str) -> None:
    """A batch larger than what goes into one request, listed page by page, and moved in one batch."""
    many = {f"{n:04}": row(1, n, id=f"{n:04}", status="open", at="1", user="u", day="1") for n in range(700)}
    await save(rows, 3, {table: changes(**many)})
    for listing, group in (("by-status", "open"), ("by-user", "u")):
        assert list(map(shown, many.values())) == list((await rows.listed(table, listing, group, most=1000)).rows)
    shut = {key: having(row(2, 0, **(it.row or {})), status="shut") for key, it in many.items()}
    await save(rows, 3, {table: changes(**shut)})
    counts = [len((await rows.listed(table, "by-status", group, most=1000)).rows) for group in ("open", "shut")]
    assert [0, 700] == counts


async def test_a_dropped_table_is_not_listed(models: ReadModels, table: str) -> None:
    """Of one partition; the others stay, and it can be filled again from the beginning."""
    await fill(models.one, table, order("a", 5), order("b", 6, "placed"))
    await fill(models.one, table, order("c", 7), partition=4)
    await save(models.one, 3, {table: Changes(Checkpoint(8))})
    for id, nr in (("a", 1), ("b", 2)):
        await models.two.drop(3, table)
        assert "c" == await ids(models.one, table, "by-status", "open")
        assert "c" == await ids(models.one, table, "by-user", "u")
        await fill(models.two, table, order(id, nr))
        assert f"{id}c" == await ids(models.one, table, "by-status", "open")
        assert f"{id}c" == await ids(models.one, table, "by-user", "u")

"""The order archive: which rows it has, and the pages that a user gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.shop.order import (
    LineAdded,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderRejected,
    OrderShipped,
)
from projections.http.parameters import read_query
from projections.http.problems import BadRequest, NotNow
from projections.projection import Row
from projections.shop.tables.archive import by_user, order_archive
from projections.shop.views.archive import ArchiveQuery, UsersArchive, add_archive
from projections.stores.rows import Changes, Checkpoint, StoredRow
from projections.stores.shared.memory import MemoryRows
from streams.journal.port import Unavailable
from tests.folded import published
from tests.specification import given
from tests.unit.problems import answered
from tests.unit.sold import DAY, placed, withdrawn

TABLE = "order-archive-1"
TODAY = date(2011, 6, 1)

ARCHIVED = {
    "id": "1",
    "user_id": "17850",
    "kind": "sale",
    "country": "France",
    "opened_at": "2011-05-17T09:30:00Z",
    "day": "2011-05-17",
    "total": "16.30",
    "lines": 2,
    "status": "placed",
    "placed_at": "2026-01-01T12:00:00.000Z",
}


# -- rows ------------------------------------------------------------------------------------------------------------


def test_an_order_is_archived_when_it_is_placed() -> None:
    """With all that its placing says: nothing before it is needed."""
    given(order_archive, placed()).then_rows({"1": ARCHIVED})
    given(order_archive, placed(kind="credit", country=None)).then_rows(
        {"1": {**ARCHIVED, "kind": "credit", "country": None}}
    )


def test_an_order_that_is_not_placed_is_not_archived() -> None:
    """Neither while it is open nor when it is cancelled then."""
    opened = published(OrderOpened("17850", "sale", "France", DAY))
    line = published(LineAdded("A", "HOLDER", 6, placed().event.lines[0].unit_price))
    given(order_archive, opened, line).then_rows({})
    given(order_archive, opened, published(OrderCancelled("late"))).then_rows({})


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([OrderConfirmed()], "confirmed"),
        ([OrderConfirmed(), OrderShipped()], "shipped"),
        ([OrderRejected("no stock")], "rejected"),
        ([OrderConfirmed(), OrderCancelled("late")], "cancelled"),
    ],
)
def test_the_status_follows(events: list[Any], status: str) -> None:
    """Whatever becomes of an order it stays in the archive; taking its sale back changes nothing else."""
    later = [published(event) for event in events]
    given(order_archive, placed(), *later, withdrawn()).then_rows({"1": {**ARCHIVED, "status": status}})


def test_where_an_order_is_listed() -> None:
    """Under its user and the year in which it was opened, by the day, which no later event changes."""
    assert ("2011/17850", "2011-05-17") == by_user.of(ARCHIVED)
    assert by_user.lasting


# -- pages -----------------------------------------------------------------------------------------------------------


def archive_of(days: dict[str, str]) -> MemoryRows:
    """A read model with an order of user 17850 for each id, opened on that day."""
    rows = MemoryRows(listings=lambda table: (by_user,) if table == TABLE else ())
    saved: dict[str, StoredRow] = {}
    for nr, (id, day) in enumerate(days.items(), 1):
        at = datetime.fromisoformat(day).replace(tzinfo=UTC)
        row = order_archive.evolve(None, id, placed(id=id, at=at))
        assert row is not None
        saved[id] = StoredRow(f"order-0:{nr}:0", row=row)
    asyncio.run(rows.save(0, {TABLE: Changes(Checkpoint(len(days)), saved)}))
    return rows


def answer(rows: MemoryRows, user: str = "17850", **query: str) -> Row:
    """The page that is asked for on TODAY."""
    given_ = {name.rstrip("_"): value for name, value in query.items()}
    return asyncio.run(UsersArchive.of(user, read_query(given_, ArchiveQuery), TODAY).answer(rows, TABLE))


def ids(page: Row) -> str:
    """Of a page whose ids are one letter each."""
    return "".join(order["id"] for order in page["orders"])


SOME = {
    "a": "2009-12-31",
    "b": "2010-01-01",
    "c": "2010-12-31",
    "d": "2011-05-01",
    "e": "2011-05-01",
    "f": "2011-06-01",
}


def test_the_newest_come_first() -> None:
    """Over the years, and those of one day by their ids; another user has none of them."""
    rows = archive_of(SOME)
    page = answer(rows)
    assert ("17850", "fedcba", None) == (page["user_id"], ids(page), page["next"])
    assert {"user_id": "nobody", "orders": [], "next": None} == answer(rows, "nobody")
    first = {**ARCHIVED, "id": "f", "day": "2011-06-01", "opened_at": "2011-06-01T00:00:00Z", "position": "order-0:6:0"}
    assert first == page["orders"][0]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
def test_pages_follow_one_another(limit: int) -> None:
    """Of any size, over the turn of a year and between orders of one day: all are shown, each once."""
    rows, found, query = archive_of(SOME), "", {"limit": str(limit)}
    for _ in range(8):
        page = answer(rows, **query)
        assert len(page["orders"]) <= limit
        found += ids(page)
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert "fedcba" == found


def test_a_range_of_days() -> None:
    """Both ends count, months stand for all of their days, and pages stay within the range."""
    rows = archive_of(SOME)
    assert "edc" == ids(answer(rows, from_="2010-12-31", to="2011-05-01"))
    assert "ed" == ids(answer(rows, from_="2011-05", to="2011-05"))
    assert "ba" == ids(answer(rows, to="2010-06-30"))
    assert "dc" == ids(answer(rows, from_="2010-12", to="2011-05", after="2011-05-01:e"))
    assert "" == ids(answer(rows, from_="2010-12", after="2010-01-01:b"))
    assert "" == ids(answer(rows, from_="2012-01"))


def test_how_far_back_it_goes() -> None:
    """Fifty years, and not into the future, unless the query names other days."""
    rows = archive_of({"x": "1961-12-31", "y": "1962-01-01", "z": "2011-06-02", "n": "2999-12-31"})
    assert "y" == ids(answer(rows))
    assert "z" == ids(answer(rows, from_="2011-06-02"))
    assert "yx" == ids(answer(rows, to="1962-12-31"))
    assert "n" == ids(answer(rows, to="2999-12-31", from_="2950-01"))


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2011-02-30"},
        {"from": "20110201"},
        {"to": ""},
        {"from": "2011-06-02", "to": "2011-06-01"},
        {"from": "1961-12-31"},
        {"from": "0001-01-01", "to": "9999-12-31"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"after": ""},
        {"after": "2011-05-01"},
        {"after": "2011-05-01:"},
        {"after": "d:2011-05-01"},
        {"after": "2011-05-01:\udcff"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_said(query: dict[str, str]) -> None:
    """The message names what is wrong, which is a bad request."""
    with pytest.raises(BadRequest, match=r"^(from|to|limit|after)=|surrogates"):
        UsersArchive.of("17850", read_query(query, ArchiveQuery), TODAY)


# -- over HTTP -------------------------------------------------------------------------------------------------------


class Side:
    """As much of a read side as the view uses."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.pages: dict[str, Callable[..., Any]] = {}
        self.app = self.doors = self
        self._problem = problem

    def page(self, path: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda view: self.pages.setdefault(path, view)

    async def read_your_writes(self, request: Any, projections: list[str]) -> None:
        assert ["order-archive"] == projections
        if self._problem is not None:
            raise self._problem

    async def serving(self, projection: str) -> dict[str, str]:
        return {projection: TABLE}


class Down(MemoryRows):
    async def listed(self, *args: Any) -> Any:
        raise Unavailable("Cassandra at db:9042: no answer")


def get(side: Side, rows: MemoryRows, user: str = "17850", **query: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of the answer."""
    add_archive(side, rows)  # type: ignore[arg-type]
    view = SimpleNamespace(bytes=lambda body, **of: SimpleNamespace(body=body, **{"status": 200, "headers": None} | of))
    response = asyncio.run(answered(side.pages["/users/{id}/archive"](view, SimpleNamespace(query=query), user)))
    return response.status, json.loads(response.body), response.headers or {}


def test_a_page_over_http() -> None:
    """The answer of the table that serves, as JSON."""
    status, body, _ = get(Side(), archive_of({"a": "2011-05-01", "b": "2011-05-02"}), limit="1", to="2011-12")
    assert (200, "b", "2011-05-02:b") == (status, ids(body), body["next"])


@pytest.mark.parametrize(("user", "query"), [("17850", {"limit": "x"}), ("\udcff", {})])
def test_a_bad_request_over_http(user: str, query: dict[str, str]) -> None:
    """Is told as a problem, and nothing is looked up."""
    status, body, _ = get(Side(), Down(), user, **query)
    assert (400, 400) == (status, body["status"])


def test_not_now_over_http() -> None:
    """While what was written is not applied yet, and while the store is down: 503 with the reason, to try again.
    Where the store is, is told to nobody."""
    for side, rows, said in (
        (Side(NotNow("order-0:7 is not applied yet")), archive_of({}), "not applied"),
        (Side(), Down(), "the read model does not answer"),
    ):
        status, body, headers = get(side, rows)
        assert (503, "1") == (status, headers["Retry-After"])
        assert said in body["detail"]
        assert "db:9042" not in body["detail"]

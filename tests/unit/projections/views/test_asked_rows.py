"""Rows by any of their columns: what is selected, how it is sorted, and pages over several partitions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from aggregates.shop.order import OrderCancelled, OrderPlaced, order
from projections.app import ReadSide
from projections.http.problems import BadRequest, NotNow
from projections.openapi.document import document, routes_of
from projections.projection import Projection, PublishedEvent
from projections.stores.declaration import Table
from projections.stores.typed_columns import columns_of, typed_columns
from projections.views.asked_rows import add_asked_rows, query_of, read_question
from sourced.testing import given
from streams.aggregate_type import AggregateType
from streams.settings import Settings
from tests.unit.sql_machines import Partitions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIME = 1_764_572_400_000_000_001
"""Nanoseconds since 1970: a number that no double is."""


@dataclass(frozen=True)
class Reading:
    """With a number of 64 bits."""

    id: str
    nanos: int


@dataclass(frozen=True)
class Sale:
    """Of a customer; who knows when it is paid."""

    id: str
    customer: str
    total: Decimal
    placed_at: datetime
    status: Literal["open", "paid"] = "open"
    paid_at: datetime | None = None
    lines: tuple[str, ...] = ()
    gift: bool = False


COLUMNS = typed_columns(Sale)
SALES = [
    Sale("a", "ada", Decimal("9.50"), NOON),
    Sale("b", "bob", Decimal("10.00"), NOON + timedelta(milliseconds=5), "paid", NOON + timedelta(days=1)),
    Sale("c", "ada", Decimal("100.00"), NOON + timedelta(days=2), gift=True),
    Sale("d", "ada", Decimal("9.5"), NOON - timedelta(days=1), "paid", NOON),
]


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partitions]:
    folder: Path = tmp_path_factory.mktemp("sales")
    made = Partitions(folder, "sales-1", columns_of(Sale, indexes=[("customer", "total", "key")]))
    made.put({sale.id: msgspec.to_builtins(sale) for sale in SALES})
    yield made
    made.close()


def ask(rows: Partitions, of: type = Sale, **parameters: str) -> dict[str, Any]:
    columns = typed_columns(of)
    question = read_question(parameters, columns, query_of(columns))
    return question.page(rows.ask(partial(question.here, version=1)))


def found(rows: Partitions, of: type = Sale, **parameters: str) -> list[str]:
    """The ids of all rows, page by page, two at a time; none comes twice."""
    ids, after = list[str](), ""
    while after is not None:
        page = ask(rows, of, limit="2", after=after, **parameters)
        ids += [row["id"] for row in page["rows"]]
        assert len(set(ids)) == len(ids)
        after = page["next"]
    return ids


def test_columns() -> None:
    """What is one value has a column; lists, and names that are in use, have none."""
    assert ["customer", "total", "placed_at", "status", "paid_at", "gift"] == list(COLUMNS)
    assert ["paid_at"] == [name for name, it in COLUMNS.items() if it.optional]


@pytest.mark.parametrize(
    ("parameters", "ids"),
    [
        ({}, "abcd"),
        ({"customer": "ada"}, "acd"),
        ({"customer": "ada", "total__gte": "10"}, "c"),
        ({"total": "9.50"}, "ad"),
        ({"total__gt": "9.5", "total__lt": "100"}, "b"),
        ({"status": "paid", "customer__gt": "ada"}, "b"),
        ({"gift": "true"}, "c"),
        ({"placed_at__lte": "2026-01-01T13:00:00+01:00"}, "ad"),
        ({"placed_at__gt": "2026-01-01T12:00:00Z"}, "bc"),
        ({"paid_at__gte": "2026-01-01T12:00:00Z"}, "bd"),
        ({"customer": "nobody' OR 1=1 --"}, ""),
    ],
    ids=str,
)
def test_what_is_selected(sales: Partitions, parameters: dict[str, str], ids: str) -> None:
    """Equal to a value, or within a range: numbers and times as such, not as texts."""
    assert [*ids] == found(sales, **parameters)


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("total", "adbc"),
        ("-total", "cbda"),
        ("placed_at", "dabc"),
        ("-placed_at", "cbad"),
        ("customer", "acdb"),
        ("-gift", "cdba"),
    ],
)
def test_how_it_is_sorted(sales: Partitions, sort: str, ids: str) -> None:
    """One order over all partitions and pages, what is equal by key, in the same direction."""
    assert [*ids] == found(sales, sort=sort)


@pytest.mark.parametrize("parameters", [{"sort": "total"}, {"total__gt": "1"}, {"total": "9.50", "customer": "ada"}])
def test_rows_of_a_version_without_a_column(tmp_path: Path, parameters: dict[str, str]) -> None:
    """While an older table answers its rows are not left out for want of a column: that cannot be answered yet. What
    they have can be asked."""
    old = Partitions(tmp_path, "sales-1", columns_of(Sale))
    old.put(
        {sale.id: {name: it for name, it in msgspec.to_builtins(sale).items() if name != "total"} for sale in SALES}
    )
    question = read_question(parameters, COLUMNS, query_of(COLUMNS))
    with pytest.raises(NotNow, match="sales-1 answers, whose rows have no total, and a newer table is being built"):
        old.ask(partial(question.here, version=2))
    question = read_question({"customer": "ada", "sort": "placed_at"}, COLUMNS, query_of(COLUMNS))
    assert ["d", "a", "c"] == [it["id"] for it in question.page(old.ask(partial(question.here, version=2)))["rows"]]
    old.close()


@pytest.mark.parametrize("sort", ["nanos", "-nanos"])
def test_pages_by_large_numbers(tmp_path: Path, sort: str) -> None:
    """All rows come once: a page goes on behind the very number that the last row of the one before has."""
    readings = Partitions(tmp_path, "readings-1", columns_of(Reading))
    readings.put({f"k{i}": msgspec.to_builtins(Reading(f"k{i}", TIME + i)) for i in range(6)})
    ids = found(readings, Reading, sort=sort)
    readings.close()
    assert [f"k{i}" for i in (range(6) if sort == "nanos" else reversed(range(6)))] == ids


def test_rows_are_as_they_were(sales: Partitions) -> None:
    """Decimals and times come back exactly, with position as all rows have it."""
    [row] = ask(sales, customer="bob")["rows"]
    assert "type-0:1:0" == row.pop("position")
    assert SALES[1] == msgspec.convert(row, Sale)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (
            {"custommer": "ada"},
            "custommer: there is no such parameter; there are limit, after, customer, customer__gt,",
        ),
        ({"sort": "paid_at"}, "sort='paid_at': use -customer, -gift, -placed_at, -status, -total, customer, gift, "),
        ({"total": "much"}, "total='much'"),
        ({"placed_at__gt": "2026-01-01T12:00:00"}, "has no time zone: write Z for UTC"),
        (
            {"placed_at__gt": "0001-01-01T00:00:00+01:00"},
            "placed_at: 0001-01-01T00:00:00+01:00: date value out of range",
        ),
        (
            {"placed_at__lt": "9999-12-31T23:59:59-01:00"},
            "placed_at: 9999-12-31T23:59:59-01:00: date value out of range",
        ),
        ({"after": "rubbish"}, "after='rubbish': use the `next` of the page before"),
        ({"limit": "0"}, "limit='0': a number from 1 to 1000"),
    ],
    ids=str,
)
def test_what_cannot_be_asked(sales: Partitions, parameters: dict[str, str], says: str) -> None:
    """A mistake is said, and never shows other rows instead."""
    with pytest.raises(BadRequest) as no:
        ask(sales, **parameters)
    assert says in str(no.value)


def test_a_number_of_more_than_64_bits() -> None:
    """No column has it, and no store could look for it."""
    columns = typed_columns(Reading)
    for number in (str(2**63), "-99999999999999999999"):
        with pytest.raises(BadRequest, match="nanos="):
            read_question({"nanos": number}, columns, query_of(columns))


def sold(row: Sale | None, key: str, published: PublishedEvent) -> Sale | None:
    match published.event:
        case OrderPlaced(user_id=user_id, total=total, opened_at=opened_at):
            return Sale(key, user_id, total, opened_at)
        case OrderCancelled() if row is not None:
            return None
        case _:
            return row


SOLD = Projection("sales", 1, "order", sold, row=Sale)


def test_rows_of_its_type() -> None:
    """The projection of such a table has rows of its type, and tests compare them as such."""
    placed = OrderPlaced("ada", "sale", None, NOON, (), Decimal("9.50"))
    given(SOLD, ("a", placed)).then_rows({"a": Sale("a", "ada", Decimal("9.50"), NOON)})
    given(SOLD, ("a", placed)).when(("a", OrderCancelled("late"))).then_rows({})


def side_of(*tables: Table) -> ReadSide:
    settings = Settings(partitions=1)
    contexts = {"order": AggregateType("orders", order, settings, "shop")}
    return ReadSide("tests.asked", settings, contexts, tables, name="asked-tables")


def test_the_route() -> None:
    """It is served under the name of the projection, and each parameter is in the document."""
    side = side_of(Table(SOLD, columns_of(Sale)))
    add_asked_rows(side, SOLD)
    told: Any = msgspec.to_builtins(document("Sales", "1", "", routes_of(side.app), side.contexts))
    asked = [parameter.get("name") for parameter in told["paths"]["/sales"]["get"]["parameters"]]
    assert {"customer", "total__gte", "placed_at__lt", "sort", "limit", "after"} <= {*asked}


def test_a_table_that_cannot_be_asked() -> None:
    """A projection without a type, or kept elsewhere, is refused where it is wired."""
    untyped = Projection("untyped", 1, "order", sold)
    side = side_of(Table(SOLD), Table(untyped))
    with pytest.raises(ValueError, match="where they have a type and are not local"):
        add_asked_rows(side, untyped)
    with pytest.raises(ValueError, match="where SQLite keeps them"):
        add_asked_rows(side, SOLD)
    with pytest.raises(ValueError, match="column 'colour' is not declared"):
        columns_of(Sale, indexes=[("colour",)])

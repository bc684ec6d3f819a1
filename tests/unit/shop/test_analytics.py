"""Revenue and sales by product: given events, then rows; when asked, then answers. And what of all analytics counts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from aggregates.shop.order import (
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderPlaced,
    OrderRejected,
    OrderShipped,
)
from projections.projection import Projection, PublishedEvent
from projections.shop.analytics.baskets import Baskets, baskets
from projections.shop.analytics.question import Window
from projections.shop.analytics.recommendation import Recommendation, bought_together
from projections.shop.analytics.sales import (
    Revenue,
    TopProducts,
    by_period,
    revenue,
    sales_by_month,
    sales_by_product,
    summed,
    top,
)
from tests.folded import published
from tests.specification import given
from tests.unit.sold import DAY, JANUARY, placed, withdrawn

MAY = Window("2011-05-01", "2011-05-31")
ALL_OF_THEM = [revenue, sales_by_product, sales_by_month, baskets, bought_together]


@pytest.mark.parametrize("projection", ALL_OF_THEM, ids=lambda projection: projection.name)
@pytest.mark.parametrize(
    "event",
    [
        OrderOpened("17850", "sale", "France", DAY),
        OrderConfirmed(),
        OrderRejected("no stock"),
        OrderCancelled("x"),
        OrderShipped(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_counts_nothing(projection: Projection, event: Any) -> None:
    """Only the placing of an order and its withdrawal touch rows."""
    given(projection, published(event)).then_rows({})


@pytest.mark.parametrize("projection", ALL_OF_THEM, ids=lambda projection: projection.name)
def test_a_row_is_not_changed(projection: Projection) -> None:
    """A projection returns a new row and leaves the one that it is given as it is."""
    sold, back = placed("1 A 1", "2 B 2"), withdrawn("1 A 1", "2 B 2")
    for key in projection.keys(sold):
        row = projection.evolve(None, key, sold)
        before = deepcopy(row)
        for event in (sold, back):
            projection.evolve(row, key, event)
            assert before == row


OF_JANUARY = Window("2011-01-01", "2011-01-31")
NOTHING = [
    (revenue, Revenue(window=OF_JANUARY), {"by": "month", "revenue": [{"period": "2011-01", "revenue": "0.00"}]}),
    (sales_by_month, TopProducts(window=OF_JANUARY), {"products": []}),
    (baskets, Baskets(window=OF_JANUARY), {"baskets": []}),
    (bought_together, Recommendation("A", window=OF_JANUARY), {"sku": "A", "baskets": 0, "products": []}),
]
"""What is left in January of sales that were withdrawn. A day that has had one stays in the list of revenue."""


@pytest.mark.parametrize(("projection", "question", "nothing"), NOTHING, ids=lambda it: getattr(it, "name", ""))
def test_late_events(projection: Projection, question: Any, nothing: object) -> None:
    """A sale of January whose events come after those of May counts in January; withdrawn months later, it is taken
    back in January. May stays as it was."""
    may, late = placed("1 A 7", "1 B 7", id="may"), placed("1 A 2", "1 B 3", id="late", at=JANUARY)
    back = withdrawn("1 A 2", "1 B 3", id="late", at=JANUARY)
    in_time = given(projection, late).when_asked(question).result
    assert nothing != in_time
    given(projection, may, late).when_asked(question).then_answer(in_time)
    given(projection, late, may, back).when_asked(question).then_answer(nothing)
    of_may = replace(question, window=MAY)
    only_may = given(projection, may).when_asked(of_may).result
    given(projection, late, may, back).when_asked(of_may).then_answer(only_may)


def test_revenue() -> None:
    """A sale counts when placed, by day and country, and is taken back when withdrawn; a credit counts negative."""
    row = {"day": "2011-05-17", "country": "France", "orders": 1, "revenue": "16.3000"}
    given(revenue, placed()).then_rows({"2011-05-17|France": row})
    nothing = {**row, "orders": 0, "revenue": "0.0000"}
    given(revenue, placed(), withdrawn()).then_rows({"2011-05-17|France": nothing})
    back = {**row, "orders": 0, "revenue": "-16.3000"}
    given(revenue, placed(kind="credit")).then_rows({"2011-05-17|France": back})
    given(revenue, placed(kind="credit"), withdrawn(kind="credit")).then_rows({"2011-05-17|France": nothing})
    unknown = {**row, "country": "-"}
    given(revenue, placed(country=None)).then_rows({"2011-05-17|-": unknown})


SALES = [
    placed("1 A 1.5", id="1"),
    placed("1 A 2", id="2", at=DAY.replace(day=18)),
    placed("1 A 0.001", id="3", country="Spain"),
    placed("4 A 1", id="4", country="Spain", at=JANUARY),
    placed("1 A 0.25", id="5", kind="credit", country="Spain", at=JANUARY),
    placed("9 B 9", id="6", country="Malta", at=DAY),
    withdrawn("9 B 9", id="6", country="Malta", at=DAY),
]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Revenue("month"), [("2011-01", "3.75"), ("2011-05", "3.501")]),
        (Revenue("day"), [("2011-01-31", "3.75"), ("2011-05-17", "1.501"), ("2011-05-18", "2.00")]),
        (Revenue("day", "France"), [("2011-05-17", "1.50"), ("2011-05-18", "2.00")]),
        (Revenue("month", window=Window("2011-05-18", "2011-05-31")), [("2011-05", "2.00")]),
        (Revenue("month", "Spain", Window("2011-01-31", "2011-01-31")), [("2011-01", "3.75")]),
        (Revenue("month", "Spain", Window("2011-02-01", "2011-05-16")), []),
        (Revenue("month", "Nowhere"), []),
    ],
)
def test_revenue_by_period(question: Revenue, expected: list[tuple[str, str]]) -> None:
    """Partial sums of all partitions are added up by day or month, of one country or all, of a window or all time."""
    listed = [{"period": period, "revenue": amount} for period, amount in expected]
    given(revenue, *SALES).when_asked(question).then_answer({"by": question.by, "revenue": listed})


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(), [("Spain", "3.751"), ("France", "3.50"), ("Malta", "0.00")]),
        (MAY, [("France", "3.50"), ("Spain", "0.001"), ("Malta", "0.00")]),
        (Window("2011-01-01", "2011-04-30"), [("Spain", "3.75")]),
    ],
)
def test_revenue_by_country(window: Window, expected: list[tuple[str, str]]) -> None:
    """By country, the one that earns the most comes first."""
    listed = [{"country": country, "revenue": amount} for country, amount in expected]
    question = Revenue("country", window=window)
    given(revenue, *SALES).when_asked(question).then_answer({"by": "country", "revenue": listed})


def test_revenue_of_rows() -> None:
    """What is added up once may be added up again."""
    rows = [{"day": "2011-05-17", "country": "France", "orders": 1, "revenue": "1.5"}]
    assert [{"period": "2011-05", "revenue": "3.00"}] == by_period(rows * 2, "month")
    assert [{"period": "2011-05", "revenue": "3.00"}] == Revenue().answer([by_period(rows, "month")] * 2)["revenue"]


def test_sales_by_product() -> None:
    """Lines of one product at two prices count together, and a credit takes back pieces and money."""
    row = {"sku": "A", "description": "THING A", "described_at": "2011-05-17T09:30:00.000+00:00"}
    given(sales_by_product, placed()).then_rows({"A": {**row, "orders": 1, "quantity": 7, "revenue": "16.3000"}})
    nothing = {**row, "orders": 0, "quantity": 0, "revenue": "0.0000"}
    given(sales_by_product, placed(), withdrawn()).then_rows({"A": nothing})
    back = {**row, "orders": 1, "quantity": -1, "revenue": "-2.5500"}
    given(sales_by_product, placed("1 A 2.55", kind="credit")).then_rows({"A": back})


def test_sales_by_month() -> None:
    """The same sums stand by month, which is the first part of a row's key; a stock code may hold the separator."""
    row = {"description": "THING A|2", "orders": 1, "quantity": 1, "revenue": "2.0000"}
    may = {"month": "2011-05", "sku": "A|2", "described_at": "2011-05-17T09:30:00.000+00:00", **row}
    january = {"month": "2011-01", "sku": "A|2", "described_at": "2011-01-31T23:59:59.000+00:00", **row}
    both = placed("1 A|2 2"), placed("1 A|2 2", id="2", at=JANUARY)
    given(sales_by_month, *both).then_rows({"2011-05|A|2": may, "2011-01|A|2": january})


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (TopProducts(), [("B", 9, "50.00"), ("A", 5, "5.501"), ("C", 1, "5.501"), ("D", 0, "0.00")]),
        (TopProducts(1), [("B", 9, "50.00")]),
        (TopProducts(window=MAY), [("B", 9, "50.00"), ("A", 5, "5.501"), ("D", 1, "3.00")]),
        (TopProducts(2, Window("2010-12-01", "2011-01-31")), [("C", 1, "5.501"), ("D", -1, "-3.00")]),
        (TopProducts(window=Window("2011-02-01", "2011-04-30")), []),
    ],
)
def test_top_products(question: TopProducts, expected: list[tuple[str, int, str]]) -> None:
    """Products are ranked by what they earn over all partitions, of some months or all time; equals by stock code. One
    whose only sale was withdrawn is none of them."""
    sales = [
        placed("4 A 1", "5 B 5", "4 B 6.25", id="1"),
        placed("1 A 1.501", id="2"),
        placed("1 C 5.501", id="3", at=JANUARY),
        placed("1 D 3", id="4"),
        placed("1 D 3", id="5", kind="credit", at=JANUARY),
        placed("99 E 99", id="6"),
        withdrawn("99 E 99", id="6"),
    ]
    table = sales_by_product if question.table == "sales-by-product" else sales_by_month
    listed = [
        {"sku": sku, "description": f"THING {sku}", "quantity": quantity, "revenue": amount}
        for sku, quantity, amount in expected
    ]
    given(table, *sales).when_asked(question).then_answer({"products": listed})


def test_the_newest_description() -> None:
    """A product is called what its newest order calls it, by the order's own time, whatever comes first."""

    def named(name: str, at: datetime, id: str) -> PublishedEvent:
        lines = (Line("A", name, 1, Decimal(1)),)
        return published(OrderPlaced("17850", "sale", None, at, lines, Decimal(1)), id)

    old, new = named("OLD", JANUARY, "1"), named("NEW", DAY, "2")
    for events in ((old, new), (new, old)):
        row = {"sku": "A", "description": "NEW", "described_at": "2011-05-17T09:30:00.000+00:00"}
        given(sales_by_product, *events).then_rows({"A": {**row, "orders": 2, "quantity": 2, "revenue": "2"}})
        answer = given(sales_by_product, *events).when_asked(TopProducts()).result
        assert ["NEW"] == [product["description"] for product in answer["products"]]
        windowed = TopProducts(window=Window("2011-01-01", "2011-05-31"))
        given(sales_by_month, *events).when_asked(windowed).then_answer(answer)


@pytest.mark.parametrize("sku", ["|", "}", "~", "\U0010ffff", "é", " "])
def test_no_stock_code_is_out_of_reach(sku: str) -> None:
    """Whatever a stock code begins with, its row is between the keys that are read."""
    sold = published(OrderPlaced("17850", "sale", None, DAY, (Line(sku, "X", 1, Decimal(1)),), Decimal(1)))
    for projection, question in ((sales_by_product, TopProducts()), (sales_by_month, TopProducts(window=MAY))):
        [only] = given(projection, sold).when_asked(question).result["products"]
        assert sku == only["sku"]


def test_sums_of_sales_are_partial_rows() -> None:
    """What is added up by product may be added up again."""
    rows = [{"sku": "B", "description": "BOX", "described_at": "x", "orders": 1, "quantity": 1, "revenue": "40"}]
    assert summed(rows * 4) == summed([*summed(rows * 2), *summed(rows), *rows])
    assert [{"sku": "B", "description": "BOX", "quantity": 4, "revenue": "160.00"}] == top(rows * 4, 9)

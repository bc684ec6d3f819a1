"""Questions as they come in a query, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from projections.http.parameters import read_query
from projections.http.problems import BadRequest
from projections.shop.analytics.baskets import Baskets
from projections.shop.analytics.question import ALL, Keys, Question, Window
from projections.shop.analytics.recommendation import Recommendation
from projections.shop.analytics.sales import Revenue, TopProducts
from projections.shop.views import parameters

Read = Callable[[dict[str, str]], Question]


def revenue(query: dict[str, str]) -> Question:
    return read_query(query, parameters.RevenueQuery).question()


def top_products(query: dict[str, str]) -> Question:
    return read_query(query, parameters.TopProductsQuery).question()


def baskets(query: dict[str, str]) -> Question:
    return read_query(query, parameters.BasketsQuery).question()


def recommendation(query: dict[str, str]) -> Question:
    return read_query(query, parameters.RecommendationQuery).question("85123A")


@pytest.mark.parametrize(
    ("read", "query", "expected"),
    [
        (revenue, {}, Revenue("month", None, Window())),
        (revenue, {"by": "day", "country": "France"}, Revenue("day", "France", Window())),
        (revenue, {"by": "country", "from": "2011-01"}, Revenue("country", None, Window("2011-01-01"))),
        (revenue, {"to": "2012-02-29"}, Revenue("month", None, Window(last="2012-02-29"))),
        (
            revenue,
            {"from": "2011-01-31", "to": "2011-01"},
            Revenue("month", None, Window("2011-01-31", "2011-01-31")),
        ),
        (top_products, {}, TopProducts(10, Window())),
        (top_products, {"n": "1000", "to": "2011-02"}, TopProducts(1_000, Window(last="2011-02-31"))),
        (baskets, {}, Baskets(Window())),
        (baskets, {"from": "2010-12", "to": "2010-12"}, Baskets(Window("2010-12-01", "2010-12-31"))),
        (recommendation, {}, Recommendation("85123A", 10, Window())),
        (recommendation, {"n": "1", "from": "2011-01"}, Recommendation("85123A", 1, Window("2011-01-01"))),
    ],
)
def test_read(read: Read, query: dict[str, str], expected: Any) -> None:
    """What is not said is all countries, all time, and ten; a month is all of its days."""
    assert expected == read(query)


MONTHLY = [top_products, baskets, recommendation]


@pytest.mark.parametrize(
    ("readers", "query", "message"),
    [
        ([revenue], {"by": "year"}, "by='year': use day, month or country"),
        ([revenue], {"by": ""}, "by='': use day, month or country"),
        ([revenue], {"from": "2011-02-30"}, "from='2011-02-30': a day like 2011-01-31, or a month like 2011-01"),
        ([revenue], {"to": "2011-13"}, "to='2011-13': a day like 2011-01-31, or a month like 2011-01"),
        ([revenue], {"from": "2011-06-02", "to": "2011-06-01"}, "from='2011-06-02' is after to='2011-06-01'"),
        (MONTHLY, {"from": "2011-06", "to": "2011-05"}, "from='2011-06' is after to='2011-05'"),
        (MONTHLY, {"from": "2011-06-02"}, "from='2011-06-02': a month like 2011-01"),
        (MONTHLY, {"to": ""}, "to='': a month like 2011-01"),
        (MONTHLY, {"to": "٢٠١١-٠١"}, "to='٢٠١١-٠١': a month like 2011-01"),
        (MONTHLY, {"to": "2011-01\n"}, r"to='2011-01\n': a month like 2011-01"),
        ([top_products, recommendation], {"n": "0"}, "n='0': a number from 1 to 1000"),
        ([top_products, recommendation], {"n": "1001"}, "n='1001': a number from 1 to 1000"),
        ([top_products, recommendation], {"n": "-1"}, "n='-1': a number from 1 to 1000"),
        ([top_products, recommendation], {"n": "٣"}, "n='٣': a number from 1 to 1000"),
        ([top_products, recommendation], {"n": "9" * 5_000}, f"n='{'9' * 5_000}': a number from 1 to 1000"),
    ],
)
def test_cannot_be_read(readers: list[Read], query: dict[str, str], message: str) -> None:
    """Whoever asks wrongly is told what was wrong, and how it is right."""
    for read in readers:
        with pytest.raises(BadRequest) as refused:
            read(query)
        assert message == str(refused.value)


@pytest.mark.parametrize(
    ("question", "table", "keys"),
    [
        (Revenue("day", None, Window("2011-01-05", "2011-02-31")), "revenue", ("2011-01-05", "2011-02-31}")),
        (TopProducts(), "sales-by-product", ALL),
        (TopProducts(10, Window("2011-01-01", "2011-02-31")), "sales-by-month", ("2011-01", "2011-02}")),
        (Baskets(Window("2011-01-01", "2011-02-31")), "baskets", ("2011-01", "2011-02}")),
        (Recommendation("A"), "bought-together", ("A|0001-01", "A|9999-12}")),
        (Recommendation("A", 1, Window("2011-01-01", "2011-02-31")), "bought-together", ("A|2011-01", "A|2011-02}")),
    ],
)
def test_rows_that_are_needed(question: Question, table: str, keys: Keys) -> None:
    """A question names the table and the keys between which all of its rows stand."""
    assert (table, keys) == (question.table, question.keys)


def test_keys_save_work_only() -> None:
    """Given rows of other months and products, a question leaves them out itself."""
    rows = [{"sku": sku, "month": month, "sales": {sku: 1, "C": 1}} for sku in "AB" for month in ("2011-01", "2011-02")]
    question = Recommendation("A", window=Window("2011-02-01", "2011-02-31"))
    assert question.here(rows) == question.here(rows[1:2]) == {"A": 1, "C": 1}
    months = [{"month": month, "orders": 1} for month in ("2011-01", "2011-02", "2011-03")]
    blank = {"products": 1, "lines": 1, "items": 1, "revenue": "1", "sizes": [1]}
    [only] = Baskets(question.window).here({**month, **blank} for month in months)
    assert "2011-02" == only["month"]

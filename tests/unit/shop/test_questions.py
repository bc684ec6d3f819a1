"""Questions as they come in a query, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from projections.shop.analytics.baskets import Baskets
from projections.shop.analytics.question import ALL, Keys, Question, Window
from projections.shop.analytics.recommendation import Recommendation
from projections.shop.analytics.sales import Revenue, TopProducts


def recommendation(query: dict[str, str]) -> Recommendation:
    return Recommendation.read("85123A", query)


@pytest.mark.parametrize(
    ("read", "query", "expected"),
    [
        (Revenue.read, {}, Revenue("month", None, Window())),
        (Revenue.read, {"by": "day", "country": "France"}, Revenue("day", "France", Window())),
        (Revenue.read, {"by": "country", "from": "2011-01"}, Revenue("country", None, Window("2011-01-01"))),
        (Revenue.read, {"to": "2012-02-29"}, Revenue("month", None, Window(last="2012-02-29"))),
        (
            Revenue.read,
            {"from": "2011-01-31", "to": "2011-01"},
            Revenue("month", None, Window("2011-01-31", "2011-01-31")),
        ),
        (TopProducts.read, {}, TopProducts(10, Window())),
        (TopProducts.read, {"n": "1000", "to": "2011-02"}, TopProducts(1_000, Window(last="2011-02-31"))),
        (Baskets.read, {}, Baskets(Window())),
        (Baskets.read, {"from": "2010-12", "to": "2010-12"}, Baskets(Window("2010-12-01", "2010-12-31"))),
        (recommendation, {}, Recommendation("85123A", 10, Window())),
        (recommendation, {"n": "1", "from": "2011-01"}, Recommendation("85123A", 1, Window("2011-01-01"))),
    ],
)
def test_read(read: Callable[[dict[str, str]], Any], query: dict[str, str], expected: Any) -> None:
    """What is not said is all countries, all time, and ten; a month is all of its days."""
    assert expected == read(query)


MONTHLY = [TopProducts.read, Baskets.read, recommendation]


@pytest.mark.parametrize(
    ("readers", "query", "message"),
    [
        ([Revenue.read], {"by": "year"}, "by='year': use day, month or country"),
        ([Revenue.read], {"by": ""}, "by='': use day, month or country"),
        ([Revenue.read], {"from": "2011-02-30"}, "from='2011-02-30': a day like 2011-01-31, or a month like 2011-01"),
        ([Revenue.read], {"to": "2011-13"}, "to='2011-13': a day like 2011-01-31, or a month like 2011-01"),
        ([Revenue.read], {"from": "2011-06-02", "to": "2011-06-01"}, "from='2011-06-02' is after to='2011-06-01'"),
        (MONTHLY, {"from": "2011-06", "to": "2011-05"}, "from='2011-06' is after to='2011-05'"),
        (MONTHLY, {"from": "2011-06-02"}, "from='2011-06-02': a month like 2011-01"),
        (MONTHLY, {"to": ""}, "to='': a month like 2011-01"),
        (MONTHLY, {"to": "٢٠١١-٠١"}, "to='٢٠١١-٠١': a month like 2011-01"),
        (MONTHLY, {"to": "2011-01\n"}, r"to='2011-01\n': a month like 2011-01"),
        ([TopProducts.read, recommendation], {"n": "0"}, "n='0': a number from 1 to 1000"),
        ([TopProducts.read, recommendation], {"n": "1001"}, "n='1001': a number from 1 to 1000"),
        ([TopProducts.read, recommendation], {"n": "-1"}, "n='-1': a number from 1 to 1000"),
        ([TopProducts.read, recommendation], {"n": "٣"}, "n='٣': a number from 1 to 1000"),
        ([TopProducts.read, recommendation], {"n": "9" * 5_000}, f"n='{'9' * 5_000}': a number from 1 to 1000"),
    ],
)
def test_cannot_be_read(readers: list[Callable[[dict[str, str]], Any]], query: dict[str, str], message: str) -> None:
    """Whoever asks wrongly is told what was wrong, and how it is right."""
    for read in readers:
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
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

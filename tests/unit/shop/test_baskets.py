"""Baskets, what is bought together, and orders by status: given events, then rows; when asked, then answers."""

from __future__ import annotations

from typing import Any

import pytest

from projections.shop.analytics.baskets import SIZES, Baskets, baskets
from projections.shop.analytics.question import Window
from projections.shop.analytics.recommendation import MOST_PRODUCTS, Recommendation, bought_together
from projections.shop.tables.order_status import by_status
from tests.specification import given
from tests.unit.sold import DAY, JANUARY, placed, withdrawn


def test_baskets() -> None:
    """A month has its sales, their products, lines, pieces and money, and the sales by how many products they have."""
    row = {"month": "2011-05", "orders": 2, "products": 3, "lines": 4, "items": 10, "revenue": "19.3000"}
    sizes = [1, 1, 0, 0, 0, 0, 0, 0, 0]
    given(baskets, placed(), placed("1 A 1", "2 B 1", id="2")).then_rows({"2011-05": {**row, "sizes": sizes}})
    given(baskets, placed(kind="credit"), withdrawn(kind="credit")).then_rows({})


def test_baskets_answer() -> None:
    """Averages are per sale, half to even on the last of two decimals; what was withdrawn was never there."""
    sales = [
        placed(),
        placed("1 A 1", "2 B 1", id="2"),
        placed("50 C 1", id="3", at=JANUARY),
        withdrawn("50 C 1", id="3", at=JANUARY),
        placed(*(f"1 {sku} 1" for sku in range(MOST_PRODUCTS + 1)), id="4", at=DAY.replace(month=6)),
    ]
    may = {
        "month": "2011-05",
        **{"orders": 2, "products": 3, "lines": 4, "items": 10, "revenue": "19.30"},
        "averages": {"products": "1.50", "lines": "2.00", "items": "5.00", "revenue": "9.65"},
        "sizes": {**dict.fromkeys(SIZES, 0), "1": 1, "2": 1},
        "wholesale": 0,
    }
    june = {
        "month": "2011-06",
        **{"orders": 1, "products": 51, "lines": 51, "items": 51, "revenue": "51.00"},
        "averages": dict.fromkeys(("products", "lines", "items", "revenue"), "51.00"),
        "sizes": {**dict.fromkeys(SIZES, 0), "51-100": 1},
        "wholesale": 1,
    }
    given(baskets, *sales).when_asked(Baskets()).then_answer({"baskets": [may, june]})
    only = Baskets(Window("2011-01-01", "2011-05-31"))
    given(baskets, *sales).when_asked(only).then_answer({"baskets": [may]})


@pytest.mark.parametrize(
    ("products", "size"),
    [
        *[(1, "1"), (2, "2"), (3, "3-5"), (5, "3-5"), (6, "6-10"), (10, "6-10"), (11, "11-20"), (20, "11-20")],
        *[(21, "21-30"), (30, "21-30"), (31, "31-50"), (50, "31-50"), (51, "51-100"), (100, "51-100"), (101, "101+")],
    ],
)
def test_sizes_of_baskets(products: int, size: str) -> None:
    """A basket is in the size that names its number of different products."""
    sold = placed(*(f"1 {sku} 1" for sku in range(products)), "2 0 2")
    [month] = given(baskets, sold).when_asked(Baskets()).result["baskets"]
    assert {size: 1} == {size: count for size, count in month["sizes"].items() if count}
    assert (products > MOST_PRODUCTS) == month["wholesale"]


def test_bought_together() -> None:
    """A product's row of a month counts its sales, and those with each other product; what is withdrawn leaves none."""
    month = {"month": "2011-05"}
    rows = {
        "A|2011-05": {"sku": "A", **month, "sales": {"A": 2, "B": 1}},
        "B|2011-05": {"sku": "B", **month, "sales": {"A": 1, "B": 1}},
    }
    given(bought_together, placed("1 A 1", "2 B 1", "3 A 2"), placed(id="2")).then_rows(rows)
    alone = {"A|2011-05": {"sku": "A", **month, "sales": {"A": 1}}}
    sold = ("1 A 1", "2 B 1", "3 A 2")
    given(bought_together, placed(*sold), placed(id="2"), withdrawn(*sold)).then_rows(alone)
    given(bought_together, placed(*sold), withdrawn(*sold)).then_rows({})
    given(bought_together, placed(*sold, kind="credit"), withdrawn(*sold, kind="credit")).then_rows({})


def test_recommendation() -> None:
    """The products bought most often with one come first, equals by stock code, with the share of its sales."""
    sales = [
        placed("1 A 1", "1 C 1", "1 B 1", id="1"),
        placed("1 A 1", "1 D 1", id="2", at=JANUARY),
        placed("1 A 1", "1 D 1", id="3"),
        placed("1 B 1", "1 D 1", id="4"),
    ]

    def answer(baskets: int, *products: tuple[str, int, str]) -> Any:
        listed = [{"sku": sku, "count": count, "share": share} for sku, count, share in products]
        return {"sku": "A", "baskets": baskets, "products": listed}

    together = given(bought_together, *sales)
    everything = answer(3, ("D", 2, "0.6667"), ("B", 1, "0.3333"), ("C", 1, "0.3333"))
    together.when_asked(Recommendation("A")).then_answer(everything)
    together.when_asked(Recommendation("A", 1)).then_answer(answer(3, ("D", 2, "0.6667")))
    may = Recommendation("A", 1, Window("2011-05-01", "2011-05-31"))
    together.when_asked(may).then_answer(answer(2, ("B", 1, "0.5000")))
    together.when_asked(Recommendation("Z")).then_answer({"sku": "Z", "baskets": 0, "products": []})


def test_stock_codes_that_look_like_keys() -> None:
    """What a stock code looks like mixes up no rows."""
    pairs = [("A", "B"), ("A|2011-05", "C"), ("A}", "D"), ("A|2011-05|2011-05", "E"), ("\U0010ffff", "F")]
    sales = [placed(f"1 {sku} 1", f"1 {other} 1", id=other) for sku, other in pairs]
    for sku, other in pairs:
        answer = given(bought_together, *sales).when_asked(Recommendation(sku)).result
        assert (1, [other]) == (answer["baskets"], [product["sku"] for product in answer["products"]])


@pytest.mark.parametrize(("products", "rows"), [(MOST_PRODUCTS, MOST_PRODUCTS), (MOST_PRODUCTS + 1, 0)])
def test_wholesale_is_left_out(products: int, rows: int) -> None:
    """A sale of too many different products counts for none of them, when it is placed and when it is withdrawn."""
    sold = placed(*(f"1 {sku} 1" for sku in range(products)))
    assert rows == len(list(bought_together.keys(sold)))
    back = withdrawn(*(f"1 {sku} 1" for sku in range(products)))
    assert rows == len(list(bought_together.keys(back)))


def test_orders_by_status() -> None:
    """Counts of all partitions are added up; every status is there, in the order of an order's life."""
    answer = by_status([{"placed": 2, "open": 1}, {}, {"placed": 3, "shipped": 1}])
    statuses = {"open": 1, "placed": 5, "confirmed": 0, "rejected": 0, "cancelled": 0, "shipped": 1}
    assert {"orders": 7, "statuses": statuses} == answer
    assert list(statuses) == list(answer["statuses"])

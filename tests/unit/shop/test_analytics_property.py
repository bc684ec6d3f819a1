"""Analytics of any sales: the order in which orders are published, the partitions and the workers change no answer."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import chain, product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from projections.projection import PublishedEvent
from projections.shop.analytics.baskets import Baskets, baskets
from projections.shop.analytics.question import Window
from projections.shop.analytics.recommendation import Recommendation, bought_together
from projections.shop.analytics.sales import Revenue, TopProducts, revenue, sales_by_month, sales_by_product
from tests.folded import Folded
from tests.unit.sold import placed, withdrawn

WINDOWS = (Window(), Window("2011-01-31", "2011-02-28"))
REVENUES = product(("day", "month", "country"), (None, "F"), WINDOWS)
QUESTIONS = [
    *(Revenue(by, country, window) for by, country, window in REVENUES),
    *(TopProducts(n, window) for n, window in product((1, 9), WINDOWS)),
    *(Baskets(window) for window in WINDOWS),
    *(Recommendation(sku, n, window) for sku, n, window in product("ABC", (1, 9), WINDOWS)),
]
TIMES = [datetime(2011, month, day, 23, tzinfo=UTC) for month, day in ((1, 1), (1, 31), (2, 1))]

LINES = st.lists(
    st.builds("{} {} {}".format, st.integers(1, 9), st.sampled_from("ABC"), st.sampled_from(["0.001", "2.55", "10"])),
    min_size=1,
    max_size=5,
)
ORDERS = st.lists(
    st.fixed_dictionaries(
        {
            "lines": LINES,
            "kind": st.sampled_from(["sale", "sale", "credit"]),
            "country": st.sampled_from(["F", "G", None]),
            "at": st.sampled_from(TIMES),
            "withdrawn": st.booleans(),
        }
    ),
    max_size=12,
)


def events(id: int, order: dict[str, Any]) -> list[PublishedEvent]:
    """Those of an order, in its own order."""
    of = {"id": str(id), **{name: order[name] for name in ("kind", "country", "at")}}
    return [placed(*order["lines"], **of)] + [withdrawn(*order["lines"], **of)] * order["withdrawn"]


def answers(published: list[PublishedEvent], partitions: int, workers: int) -> list[Any]:
    """To all questions; of revenue without those days and countries of which nothing is left."""
    folded = Folded(revenue, sales_by_product, sales_by_month, baskets, bought_together, partitions=partitions)
    for event in published:
        folded.apply(event)
    kept = folded.kept()
    found = [kept.ask(question, workers) for question in QUESTIONS]
    for answer in found:
        if "revenue" in answer:
            answer["revenue"] = [row for row in answer["revenue"] if row["revenue"] != "0.00"]
    return found


@given(ORDERS, st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_order(orders: list[dict[str, Any]], partitions: int, workers: int, chance: random.Random) -> None:
    """Folded in any order that keeps each order's own, in any number of partitions, what was placed and withdrawn gives
    the answers of what was placed and not withdrawn, one after another in one partition."""
    one_by_one = [events(id, order) for id, order in enumerate(orders)]
    shuffled = [number for number, of_one in enumerate(one_by_one) for _ in of_one]
    chance.shuffle(shuffled)
    left = [iter(of_one) for of_one in one_by_one]
    counting = [of_one for of_one, order in zip(one_by_one, orders, strict=True) if not order["withdrawn"]]
    expected = answers(list(chain.from_iterable(counting)), 1, 1)
    assert expected == answers([next(left[number]) for number in shuffled], partitions, workers)

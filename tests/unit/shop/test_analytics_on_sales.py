"""Whole sales files through the real deciders and projections: every answer is what the rows of the file say.

Orders are published in any order, and withdrawn after all others were placed, which is months later for the first.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregates.shop.order import CancelOrder, order
from projections.projection import PublishedEvent
from projections.shop.analytics.baskets import Baskets, baskets
from projections.shop.analytics.question import EVER, Window
from projections.shop.analytics.recommendation import MOST_PRODUCTS, Recommendation, bought_together
from projections.shop.analytics.sales import Revenue, TopProducts, revenue, sales_by_month, sales_by_product
from projections.shop.tables.order_status import by_status
from projections.shop.tables.orders import orders
from streams.shop.sales import Invoice, generate, plan, read_rows
from tests.folded import Folded, Kept, published
from tests.real_sales import REAL
from tests.unit.sales_by_hand import ByHand, rounded

SIZES = {
    **{"1": (1, 1), "2": (2, 2), "3-5": (3, 5), "6-10": (6, 10), "11-20": (11, 20), "21-30": (21, 30)},
    **{"31-50": (31, 50), "51-100": (51, 100), "101+": (101, 10**6)},
}
"""The least and the most products of the baskets of each size."""
EVERYTHING = 10**6


@dataclass
class Sales:
    """A file's sales as the read side has them, and by hand; and the windows to ask for."""

    kept: Kept
    orders: list[dict[str, Any]]
    by_hand: ByHand
    withdrawn: set[str]

    @property
    def windows(self) -> list[tuple[Window, list[str] | None]]:
        """All time, each month, and all but the first and last month, with the months that they are."""
        months = self.by_hand.months
        some = [[month] for month in months] + ([months[1:-1]] if len(months) > 2 else [])
        return [(EVER, None), *((Window(f"{of[0]}-01", f"{of[-1]}-31"), of) for of in some)]


GENERATED = (None, "2010-12-30", "2011-01-03")
FILES = [pytest.param(GENERATED, id="generated")]
if REAL is not None:
    FILES.append(pytest.param((REAL, "2010-12-01", "2010-12-31"), id="month"))
    FILES.append(pytest.param((REAL, "2010-12-01", "2011-05-31"), id="all", marks=pytest.mark.full))


@pytest.fixture(scope="module", params=FILES)
def sales(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sales:
    """Five generated days over the turn of a year; with `SALES` a month of the original ones, with `--full` all six."""
    file, since, until = request.param
    if file is None:
        file = tmp_path_factory.mktemp("sales") / "sales.csv.gz"
        generate(file, 5, 1, date.fromisoformat(since))
    return replayed(file, since, until)


def replayed(file: Path, since: str, until: str) -> Sales:
    """Every invoice of these days opened, filled and placed; then one in seven is cancelled."""
    planned = plan(read_rows(file), None, date.fromisoformat(since), date.fromisoformat(until)).invoices
    chance = random.Random(1)
    chance.shuffle(planned)
    withdrawn = {invoice.number for invoice in planned[::7]}
    folded = Folded(revenue, sales_by_product, sales_by_month, baskets, bought_together, orders)
    endings = []
    for invoice in planned:
        events = list(_events(invoice, invoice.number in withdrawn))
        ending = -2 if invoice.number in withdrawn else len(events)
        for event in events[:ending]:
            folded.apply(event)
        endings += events[ending:]
    for event in endings:
        folded.apply(event)
    by_hand = ByHand(file, since, until)
    by_hand.withdraw(withdrawn)
    return Sales(folded.kept(), [list(rows.values()) for rows in folded.rows["orders"]], by_hand, withdrawn)


def _events(invoice: Invoice, is_cancelled: bool) -> Iterator[PublishedEvent]:
    """What the decider says to the commands of the replay; a cancellation gives the last two."""
    state, sequence = order.initial, 0
    commands = [msgspec.convert(command.data, order.commands[command.type]) for command in invoice.commands()]
    for command in [*commands, *([CancelOrder("x")] if is_cancelled else [])]:
        for event in order.decide(command, state):
            state, sequence = order.evolve(state, event), sequence + 1
            yield published(event, invoice.number, sequence)


@pytest.mark.parametrize("by", ["day", "month", "country"])
def test_revenue(sales: Sales, by: str) -> None:
    """By day, month and country; of all countries or one; of all time, each month and the months between."""
    countries = [None, *sorted({invoice.country for invoice in sales.by_hand.invoices})]
    for window, months in sales.windows:
        for country in countries:
            answer = sales.kept.ask(Revenue(by, country, window))["revenue"]
            shown = {row["country" if by == "country" else "period"]: Decimal(row["revenue"]) for row in answer}
            assert sales.by_hand.revenue(by, country, months) == shown
            in_order = sorted(shown, key=lambda it: (-shown[it], it)) if by == "country" else sorted(shown)
            assert in_order == list(shown)


def test_top_products(sales: Sales) -> None:
    """All products with their newest description, pieces and revenue, in the order of what they earn; and the best."""
    for window, months in sales.windows:
        answer = sales.kept.ask(TopProducts(EVERYTHING, window))["products"]
        shown = [(row["sku"], row["description"], row["quantity"], Decimal(row["revenue"])) for row in answer]
        assert sales.by_hand.products(months) == shown
        assert answer[:7] == sales.kept.ask(TopProducts(7, window))["products"]


def test_baskets(sales: Sales) -> None:
    """Per month the sums of its sales, averages, how many have how many products, and how many are wholesale."""
    for window, months in sales.windows:
        answer = sales.kept.ask(Baskets(window))["baskets"]
        assert (months or sales.by_hand.months) == [row["month"] for row in answer]
        for row in answer:
            expected = sales.by_hand.baskets(row["month"], SIZES)
            averages = {name: Decimal(average) for name, average in row.pop("averages").items()}
            assert averages == {name: rounded(expected[name], expected["orders"], 2) for name in averages}
            assert sum(row["sizes"][size] for size in ("51-100", "101+")) == row.pop("wholesale")
            assert expected == {**row, "revenue": Decimal(row["revenue"])}


def test_recommendations(sales: Sales) -> None:
    """For every product all others that were bought with it, how often, and their share of its sales."""
    skus = {sku for invoice in sales.by_hand.invoices for sku in invoice.products}
    for window, months in sales.windows:
        alone, others = sales.by_hand.together(MOST_PRODUCTS, months)
        for sku in skus:
            answer = sales.kept.ask(Recommendation(sku, EVERYTHING, window))
            assert alone[sku] == answer["baskets"]
            shown = [(row["sku"], row["count"], Decimal(row["share"])) for row in answer["products"]]
            best = sorted(others[sku].items(), key=lambda it: (-it[1], it[0]))
            assert [(other, count, rounded(count, alone[sku], 4)) for other, count in best] == shown


def test_orders_by_status(sales: Sales) -> None:
    """A credit is confirmed at once, a sale stays placed, and what was withdrawn is cancelled."""
    expected = Counter(
        "cancelled" if not invoice.counts else "confirmed" if invoice.is_credit else "placed"
        for invoice in sales.by_hand.invoices
    )
    answer = by_status(Counter(row["status"] for row in rows) for rows in sales.orders)
    assert expected == Counter(answer["statuses"])
    assert len(sales.by_hand.invoices) == answer["orders"]

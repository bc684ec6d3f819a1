"""The catalogue: its rows, what is found in it, and pages over several partitions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from aggregates.shop.product import (
    PriceChanged,
    ProductDefined,
    Restocked,
    StockRefused,
    StockReleased,
    StockReserved,
    StockShipped,
)
from projections.projection import PublishedEvent
from projections.shop.tables.catalogue import catalogue, columns, products_page, search
from tests.unit.shop.test_projections import fold
from tests.unit.sql_machines import Partitions

TABLE = "catalogue-1"
HOLDER = "WHITE HANGING HEART T-LIGHT HOLDER"


def test_row() -> None:
    """A product's row has what it is, its price, and how much of it is available."""
    events = [
        ProductDefined(HOLDER, Decimal("2.55"), ("light",)),
        Restocked(10),
        StockReserved("1", 4),
        StockRefused("2", 9),
        StockReserved("3", 1),
        StockReleased("1", 4),
        StockShipped("3", 1),
        PriceChanged(Decimal("3")),
    ]
    expected = {"sku": "A", "name": HOLDER, "price": "3.00", "categories": ["light"], "available": 9}
    assert {"A": expected} == fold(catalogue, *events, id="A")


def test_what_is_not_defined_is_not_in_it() -> None:
    """Stock that is refused because there is no such product makes no row."""
    refused = PublishedEvent(StockRefused("1", 2), "StockRefused", "A", 1, "2026-01-01", "product-0", 1, 0)
    assert catalogue.evolve(None, "A", refused) is None


@pytest.fixture
def partitions(tmp_path: Path) -> Iterator[Partitions]:
    made = Partitions(tmp_path, TABLE, columns)
    made.put(
        {
            "85123A": product("85123A", HOLDER, "light", "gift"),
            "22423": product("22423", "REGENCY CAKESTAND 3 TIER", "kitchen"),
            "84879": product("84879", "ASSORTED COLOUR BIRD ORNAMENT", "gift"),
            "é1": product("é1", "Café-crème", 'say "hello"'),
            "GONE": product("GONE", "WHITE HEART"),
        }
    )
    made.put({"GONE": None})
    yield made
    made.close()


def product(sku: str, name: str, *categories: str, available: int = 0) -> dict[str, Any]:
    """The row of a product."""
    row = fold(catalogue, ProductDefined(name, Decimal(1), categories), id=sku)[sku]
    return {**row, "available": available}


def pages(partitions: Partitions, words: str, limit: int) -> Iterator[list[str]]:
    """The stock codes that are found, page by page."""
    after: str | None = ""
    while after is not None:
        page = products_page(partitions.ask(search, words, limit, after), limit)
        yield [row["sku"] for row in page["products"]]
        after = page["next"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("heart", ["85123A"]),
        ("White hang", ["85123A"]),
        ("t-light", ["85123A"]),
        ("gift", ["84879", "85123A"]),
        ("gift bird", ["84879"]),
        ("gift cakestand", []),
        ("8", ["84879", "85123A"]),
        ("85123a", ["85123A"]),
        ("cafe creme", ["é1"]),
        ("CAFÉ", ["é1"]),
        ("hello", ["é1"]),
        ("", ["22423", "84879", "85123A", "é1"]),
        ("  ", ["22423", "84879", "85123A", "é1"]),
        ("---", []),
        ("--- heart", ["85123A"]),
        ('"heart', ["85123A"]),
        ("heart OR bird", []),
        ("heart*", ["85123A"]),
        ("name:heart", []),
        ("NEAR(heart)", []),
    ],
)
def test_found_by_words(partitions: Partitions, words: str, expected: list[str]) -> None:
    """All words must be there, in code, name or categories, or begin one; signs and accents do not count."""
    assert [expected] == list(pages(partitions, words, 10))


def test_a_page_has_the_rows(partitions: Partitions) -> None:
    """A page has whole rows, and says where the next one begins, or that there is none."""
    page = products_page(partitions.ask(search, "", 2, ""), 2)
    row = {**product("22423", "REGENCY CAKESTAND 3 TIER", "kitchen"), "position": "type-0:1:0"}
    assert (row, "84879") == (page["products"][0], page["next"])
    assert [["22423", "84879"], ["85123A", "é1"]] == list(pages(partitions, "", 2))
    assert [["22423", "84879", "85123A"], ["é1"]] == list(pages(partitions, "", 3))


@drawn(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
@settings(max_examples=100, deadline=None)
def test_any_question_has_an_answer(shared: Partitions, words: str, after: str) -> None:
    """Whatever is searched, and from whatever cursor."""
    assert {"products", "next"} == set(products_page(shared.ask(search, words, 5, after), 5))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partitions]:
    made = Partitions(tmp_path_factory.mktemp("shared"), TABLE, columns)
    made.put({"A": product("A", HOLDER)})
    yield made
    made.close()


skus = st.text("abc", min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@drawn(
    st.dictionaries(skus, st.booleans(), min_size=1),
    st.lists(st.dictionaries(skus, st.booleans(), max_size=3), max_size=12),
    st.integers(1, 4),
)
def test_pages_are_stable(first: dict[str, bool], later: list[dict[str, bool]], limit: int) -> None:
    """While products come and their stock changes, one that was there is shown once, in order; none is shown twice."""
    with tempfile.TemporaryDirectory() as folder:
        partitions = Partitions(Path(folder), TABLE, columns)
        named = dict(first)
        partitions.put({sku: product(sku, name_of(white)) for sku, white in first.items()})
        shown: list[str] = []
        for page in pages(partitions, "white", limit):
            shown += page
            for sku, white in (later.pop() if later else {}).items():
                partitions.put({sku: product(sku, name_of(named.setdefault(sku, white)), available=len(later))})
        assert sorted(set(shown)) == shown
        assert {sku for sku, white in first.items() if white} <= set(shown) <= {sku for sku in named if named[sku]}
        partitions.close()


def name_of(white: bool) -> str:
    return "WHITE CUP" if white else "RED CUP"

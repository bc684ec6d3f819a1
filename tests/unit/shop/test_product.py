"""What a product and its stock allow."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.shop import product as module
from aggregates.shop.product import (
    MAX_QUANTITY,
    MAX_STOCK,
    REMEMBERED,
    ChangePrice,
    DefineProduct,
    PriceChanged,
    ProductDefined,
    ReleaseStock,
    ReserveStock,
    Restock,
    Restocked,
    ShipStock,
    State,
    StockRefused,
    StockReleased,
    StockReserved,
    StockShipped,
    product,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import accepted, answer, given

PRICE = Decimal("2.5500")
DEFINED = ProductDefined("HEART", PRICE, ())
STOCKED = (DEFINED, Restocked(10))
RESERVED = (*STOCKED, StockReserved("o1", 4))
RELEASED = (*RESERVED, StockReleased("o1", 4))
SHIPPED = (*RESERVED, StockShipped("o1", 4))


def test_defines() -> None:
    """A product is defined with a name, which may be empty, and a price of 4 decimals."""
    given(product).when(DefineProduct("HEART", Decimal("2.55"))).then(DEFINED)
    given(product).when(DefineProduct("", Decimal("2.55"))).then(ProductDefined("", PRICE, ()))


def test_defines_again() -> None:
    """Defining again with the same data changes nothing; with another name or price it is rejected."""
    given(product, DEFINED).when(DefineProduct("HEART", PRICE)).then_nothing()
    given(product, DEFINED).when(DefineProduct("LANTERN", PRICE)).then_rejected("AlreadyDefined")
    given(product, DEFINED).when(DefineProduct("HEART", Decimal(3))).then_rejected("AlreadyDefined")
    given(product, DEFINED).when(DefineProduct("HEART", PRICE, ("light",))).then_rejected("AlreadyDefined")


def test_categories() -> None:
    """A product is in each of its categories once, in their order, and in 20 at most."""
    twice = DefineProduct("HEART", PRICE, ("light", "red", "light"))
    given(product).when(twice).then(ProductDefined("HEART", PRICE, ("light", "red")))
    given(product, ProductDefined("HEART", PRICE, ("light", "red"))).when(twice).then_nothing()
    given(product).when(DefineProduct("HEART", PRICE, ("",))).then_rejected("InvalidText")
    given(product).when(DefineProduct("HEART", PRICE, ("a",) * 21)).then_rejected("TooManyCategories")


def test_changes_price() -> None:
    """The price changes, and to the one it is already nothing happens."""
    given(product, DEFINED).when(ChangePrice(Decimal(3))).then(PriceChanged(Decimal(3)))
    given(product, DEFINED).when(ChangePrice(Decimal("2.55"))).then_nothing()


@pytest.mark.parametrize("price", ["0", "-1", "1.00001", "1000001", "NaN"])
def test_bad_price(price: str) -> None:
    """A price is above 0, at most a million, and has at most 4 decimals."""
    given(product).when(DefineProduct("HEART", Decimal(price))).then_rejected("InvalidPrice")
    given(product, DEFINED).when(ChangePrice(Decimal(price))).then_rejected("InvalidPrice")


def test_bad_text() -> None:
    """A name is at most 200 characters, an order's id is not empty."""
    given(product).when(DefineProduct("x" * 201, PRICE)).then_rejected("InvalidText")
    given(product, *STOCKED).when(ReserveStock("", 1)).then_rejected("InvalidText")


@pytest.mark.parametrize("quantity", [0, -1, MAX_QUANTITY + 1])
def test_bad_quantity(quantity: int) -> None:
    """A quantity is from 1 to a thousand million."""
    given(product, *STOCKED).when(Restock(quantity)).then_rejected("InvalidQuantity")
    given(product, *STOCKED).when(ReserveStock("o1", quantity)).then_rejected("InvalidQuantity")


def test_restocks() -> None:
    """Each restocking adds, up to a bound."""
    given(product, *STOCKED).when(Restock(10)).then(Restocked(10))
    given(product, DEFINED, Restocked(MAX_STOCK)).when(Restock(1)).then_rejected("TooMuchStock")


@pytest.mark.parametrize("command", [ChangePrice(PRICE), Restock(1), ReleaseStock("o1"), ShipStock("o1")])
def test_unknown_product(command: object) -> None:
    """A product that was never defined can only be defined or asked for stock."""
    given(product).when(command).then_rejected("UnknownProduct")


def test_unknown_product_has_no_stock() -> None:
    """Whoever asks an unknown product for stock gets a refusal, which is an event and says so."""
    given(product).when(ReserveStock("o1", 1)).then(StockRefused("o1", 1, "UnknownProduct"))


def test_reserves() -> None:
    """Stock is reserved to the last piece and refused beyond."""
    given(product, *STOCKED).when(ReserveStock("o1", 10)).then(StockReserved("o1", 10))
    given(product, *STOCKED).when(ReserveStock("o1", 11)).then(StockRefused("o1", 11))
    given(product, *RESERVED).when(ReserveStock("o2", 7)).then(StockRefused("o2", 7))


def test_reserves_once() -> None:
    """An order reserves once: a repeat changes nothing, also after the end; another quantity is rejected."""
    for history in (RESERVED, RELEASED, SHIPPED):
        given(product, *history).when(ReserveStock("o1", 4)).then_nothing()
    given(product, *RESERVED).when(ReserveStock("o1", 5)).then_rejected("AlreadyReserved")


def test_refused_may_ask_again() -> None:
    """A refusal is not remembered: after restocking the same order is served."""
    given(product, *STOCKED, StockRefused("o1", 11), Restocked(1)).when(ReserveStock("o1", 11)).then(
        StockReserved("o1", 11)
    )


def test_releases() -> None:
    """Released pieces are free again; where nothing is reserved, nothing happens."""
    given(product, *RESERVED).when(ReleaseStock("o1")).then(StockReleased("o1", 4))
    assert 10 == product.fold(RELEASED).available
    given(product, *RELEASED).when(ReleaseStock("o1")).then_nothing()
    given(product, *STOCKED).when(ReleaseStock("o1")).then_nothing()
    given(product, *SHIPPED).when(ReleaseStock("o1")).then_rejected("AlreadyShipped")


def test_ships() -> None:
    """Reserved pieces are shipped once; what is not reserved cannot be shipped."""
    given(product, *RESERVED).when(ShipStock("o1")).then(StockShipped("o1", 4))
    assert (6, {}) == (product.fold(SHIPPED).available, product.fold(SHIPPED).reservations)
    given(product, *SHIPPED).when(ShipStock("o1")).then_nothing()
    given(product, *STOCKED).when(ShipStock("o1")).then_rejected("UnknownReservation")
    given(product, *RELEASED).when(ShipStock("o1")).then_rejected("UnknownReservation")


def test_forgets_the_oldest() -> None:
    """The state stays bounded: of finished orders the last are remembered, an older one is loudly unknown."""
    others = [event for nr in range(REMEMBERED) for event in (StockReserved(f"x{nr}", 1), StockShipped(f"x{nr}", 1))]
    state = product.fold([DEFINED, Restocked(5_000), *RESERVED[2:], StockShipped("o1", 4), *others])
    assert REMEMBERED == len(state.finished)
    assert [] == answer(product, ShipStock("x0"), state)
    assert answer(product, ShipStock("o1"), state) is None


def test_too_many_reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The open reservations of a product are bounded: one more is refused, and says so."""
    monkeypatch.setattr(module, "MAX_RESERVATIONS", 1)
    given(product, *RESERVED).when(ReserveStock("o2", 1)).then(StockRefused("o2", 1, "TooManyReservations"))


orders = st.sampled_from(["o1", "o2", "o3"]) | st.text(max_size=2)
quantities = st.integers(1, 20) | st.integers()
prices = st.sampled_from([Decimal("2.55"), Decimal(3)]) | st.decimals()
commands = st.one_of(
    st.builds(
        DefineProduct,
        st.just("HEART") | st.text(max_size=3),
        prices,
        st.lists(st.sampled_from(["red", "light", ""]), max_size=3).map(tuple),
    ),
    st.builds(ChangePrice, prices),
    st.builds(Restock, quantities),
    st.builds(ReserveStock, orders, quantities),
    st.builds(ReleaseStock, orders),
    st.builds(ShipStock, orders),
)
histories = st.lists(commands, max_size=20).map(lambda later: [DefineProduct("HEART", PRICE), Restock(20), *later])


@drawn(st.lists(commands, max_size=8) | histories)
def test_any_commands(sequence: list[object]) -> None:
    """Stock is never negative nor lost, and a repeat (Restock apart) has no effect but a second refusal."""
    stocked = shipped = 0
    for command, events, state in accepted(product, sequence):
        stocked += sum(event.quantity for event in events if isinstance(event, Restocked))
        shipped += sum(event.quantity for event in events if isinstance(event, StockShipped))
        assert state.available >= 0
        assert stocked == shipped + state.available + sum(state.reservations.values())
        if not isinstance(command, Restock):
            assert state == product.fold(answer(product, command, state) or [], state)


@drawn(histories)
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("shop", "product"), product.events)
    for _, events, state in accepted(product, sequence):
        assert repr(events) == repr([codec.decode_one(codec.encode(event)) for event in events])
        assert repr(state) == repr(msgspec.json.decode(msgspec.json.encode(state), type=State))

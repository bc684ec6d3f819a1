"""A product and its stock: never below zero, and each order reserves at most once.

Orders whose pieces were shipped or released are remembered, the last `REMEMBERED` of them, so that a
repeat finds its answer and cannot reserve anew. That bound suffices because a product's commands come
in order and an order ends once: a repeat follows its first within the engine's own window of command
ids. Behind it, `ShipStock` is rejected, `ReleaseStock` does nothing, and `ReserveStock` counts as new.
Open reservations are bounded by the stock and by `MAX_RESERVATIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Literal, assert_never

from aggregates.decider import Decider, Rejected
from aggregates.shop.values import MAX_TEXT, identity, price, quantity, text

MAX_QUANTITY = 1_000_000_000
MAX_STOCK = 1_000_000_000_000
MAX_RESERVATIONS = 100_000
MAX_CATEGORIES = 20
MAX_CATEGORY = 60
REMEMBERED = 1_000

Refusal = Literal["OutOfStock", "UnknownProduct", "TooManyReservations"]


@dataclass(frozen=True, slots=True)
class DefineProduct:
    name: str
    price: Decimal
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangePrice:
    price: Decimal


@dataclass(frozen=True, slots=True)
class Restock:
    """Adds pieces each time: only its command id tells a repeat."""

    quantity: int


@dataclass(frozen=True, slots=True)
class ReserveStock:
    """Always answered by an event, except for an order that has reserved before."""

    order_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ReleaseStock:
    order_id: str


@dataclass(frozen=True, slots=True)
class ShipStock:
    order_id: str


Command = DefineProduct | ChangePrice | Restock | ReserveStock | ReleaseStock | ShipStock


@dataclass(frozen=True, slots=True)
class ProductDefined:
    name: str
    price: Decimal
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceChanged:
    price: Decimal


@dataclass(frozen=True, slots=True)
class Restocked:
    quantity: int


@dataclass(frozen=True, slots=True)
class StockReserved:
    order_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class StockRefused:
    order_id: str
    wanted: int
    reason: Refusal = "OutOfStock"


@dataclass(frozen=True, slots=True)
class StockReleased:
    order_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class StockShipped:
    order_id: str
    quantity: int


Event = ProductDefined | PriceChanged | Restocked | StockReserved | StockRefused | StockReleased | StockShipped


@dataclass(frozen=True, slots=True)
class State:
    """`available` pieces are free; `reservations` holds pieces by order, `finished` how an order ended here."""

    defined: bool = False
    name: str = ""
    price: Decimal = Decimal(0)
    categories: tuple[str, ...] = ()
    available: int = 0
    reservations: dict[str, int] = field(default_factory=dict)
    finished: dict[str, Literal["released", "shipped"]] = field(default_factory=dict)


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case DefineProduct():
            return _define(command, state)
        case ReserveStock(order_id, pieces):
            return _reserve(identity("order_id", order_id), quantity(pieces, MAX_QUANTITY), state)
        case _ if not state.defined:
            raise Rejected("UnknownProduct", "the product is not defined")
        case ChangePrice(amount):
            return [] if price(amount) == state.price else [PriceChanged(price(amount))]
        case Restock(pieces):
            if state.available + quantity(pieces, MAX_QUANTITY) > MAX_STOCK:
                raise Rejected("TooMuchStock", f"the stock would be above {MAX_STOCK} pieces")
            return [Restocked(pieces)]
        case ReleaseStock(order_id) if order_id in state.reservations:
            return [StockReleased(order_id, state.reservations[order_id])]
        case ReleaseStock(order_id):
            if state.finished.get(order_id) == "shipped":
                raise Rejected("AlreadyShipped", "the pieces of this order have been shipped")
            return []
        case ShipStock(order_id) if order_id in state.reservations:
            return [StockShipped(order_id, state.reservations[order_id])]
        case ShipStock(order_id):
            if state.finished.get(order_id) != "shipped":
                raise Rejected("UnknownReservation", "nothing is reserved for this order")
            return []
        case _:
            assert_never(command)


def _define(command: DefineProduct, state: State) -> list[Event]:
    defined = ProductDefined(
        text("the name", command.name, MAX_TEXT, shortest=0), price(command.price), _categories(command.categories)
    )
    if not state.defined:
        return [defined]
    if defined != ProductDefined(state.name, state.price, state.categories):
        raise Rejected(
            "AlreadyDefined", "the product has another name, price or categories; use ChangePrice for the price"
        )
    return []


def _categories(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > MAX_CATEGORIES:
        raise Rejected("TooManyCategories", f"a product is in at most {MAX_CATEGORIES} categories")
    return tuple(dict.fromkeys(text("the category", name, MAX_CATEGORY) for name in names))


def _reserve(order_id: str, pieces: int, state: State) -> list[Event]:
    if order_id in state.finished:
        return []
    if order_id in state.reservations:
        if pieces != state.reservations[order_id]:
            raise Rejected("AlreadyReserved", f"this order has reserved {state.reservations[order_id]} pieces")
        return []
    if not state.defined:
        return [StockRefused(order_id, pieces, "UnknownProduct")]
    if pieces > state.available:
        return [StockRefused(order_id, pieces)]
    if len(state.reservations) >= MAX_RESERVATIONS:
        return [StockRefused(order_id, pieces, "TooManyReservations")]
    return [StockReserved(order_id, pieces)]


def evolve(state: State, event: Event) -> State:
    match event:
        case ProductDefined(name, amount, categories):
            return replace(state, defined=True, name=name, price=amount, categories=categories)
        case PriceChanged(amount):
            return replace(state, price=amount)
        case Restocked(pieces):
            return replace(state, available=state.available + pieces)
        case StockReserved(order_id, pieces):
            reservations = {**state.reservations, order_id: pieces}
            return replace(state, available=state.available - pieces, reservations=reservations)
        case StockRefused():
            return state
        case StockReleased(order_id, pieces):
            return replace(_finish(state, order_id, "released"), available=state.available + pieces)
        case StockShipped(order_id):
            return _finish(state, order_id, "shipped")
        case _:
            assert_never(event)


def _finish(state: State, order_id: str, how: Literal["released", "shipped"]) -> State:
    reservations = {other: pieces for other, pieces in state.reservations.items() if other != order_id}
    kept = islice(state.finished.items(), max(0, len(state.finished) - REMEMBERED + 1), None)
    return replace(state, reservations=reservations, finished={**dict(kept), order_id: how})


product = Decider("product", State(), decide, evolve, state_version=2)

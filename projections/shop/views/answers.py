"""The answers of the shop's views: what their JSON has. Money is a decimal string, never a float."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from aggregates.shop.order import Kind
from projections.views.personal_rows import ErasedValue

Money = Annotated[
    str,
    msgspec.Meta(pattern=r"^-?[0-9]+[.][0-9]{2,4}$", description="A decimal string", examples=["426047.851"]),
]
Ratio = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+([.][0-9]+)?$", description="A rounded decimal string")]
Status = Literal["open", "placed", "confirmed", "rejected", "cancelled", "shipped"]
Next = Annotated[str | None, msgspec.Meta(description="What to give as `after` for the next page; null at the end")]


class OrderLine(TypedDict):
    """The pieces of one stock code at one price."""

    sku: str
    description: str
    quantity: int
    unit_price: Money


class _Order(TypedDict):
    id: str
    user_id: str
    kind: Kind
    country: str | None
    opened_at: str
    status: Status
    total: Money
    placed_at: NotRequired[str]
    position: str


class _CurrentOrder(_Order):
    reason: NotRequired[str]
    sequence: int


class Order(_CurrentOrder):
    """An order as it stands now."""

    lines: list[OrderLine]


class OrderInList(_CurrentOrder):
    """An order in a list: instead of its lines their number."""

    lines: int


class Orders(TypedDict):
    """A page of orders."""

    orders: list[OrderInList]
    next: Next


class OrdersOfUser(TypedDict):
    """A page of the orders of a user."""

    user_id: str
    orders: list[OrderInList]
    next: Next


class ArchivedOrder(_Order):
    """An order that was placed, with the day that it counts for."""

    day: str
    lines: int


class ArchiveOfUser(TypedDict):
    """A page of the placed orders of a user, newest first."""

    user_id: str
    orders: list[ArchivedOrder]
    next: Next


class Product(TypedDict):
    """A product and its stock. One that was never defined has neither name nor price."""

    sku: str
    name: str | None
    price: Money | None
    categories: list[str]
    available: int
    reserved: int
    shipped: int
    position: str
    sequence: int


class ProductInCatalogue(TypedDict):
    """A product that is defined."""

    sku: str
    name: str
    price: Money
    categories: list[str]
    available: int
    position: str
    sequence: int


class Catalogue(TypedDict):
    """A page of the catalogue, by stock code."""

    products: list[ProductInCatalogue]
    next: Next


class User(TypedDict):
    """A customer. `email_id` and `email_pending_id` are the ids of the `email` that decides who has the address."""

    id: str
    status: Literal["active", "deactivated"]
    country: str
    name: str | ErasedValue | None
    email: str | ErasedValue | None
    email_id: str | None
    email_pending: str | ErasedValue | None
    email_pending_id: str | None
    email_refused: str | ErasedValue | None
    position: str
    sequence: int


class Checkout(TypedDict):
    """How far the order of this id is, and why it ended."""

    id: str
    status: Literal["reserving", "reserved", "rejected", "cancelled", "shipped"]
    lines: int
    waiting: int
    reason: str | None
    deadline: str
    position: str
    sequence: int


# -- analytics --------------------------------------------------------------------------------------------------


class RevenueOf(TypedDict):
    """The revenue of a day, a month (`period`) or a country."""

    period: NotRequired[str]
    country: NotRequired[str]
    revenue: Money


class RevenueBy(TypedDict):
    """Revenue: a sale counts when it is placed, not any more when it is withdrawn, and a credit negative."""

    by: Literal["day", "month", "country"]
    revenue: list[RevenueOf]


class TopProduct(TypedDict):
    """A product, and what it has sold."""

    sku: str
    description: str
    quantity: int
    revenue: Money


class TopProducts(TypedDict):
    """The products that earn the most, the best first."""

    products: list[TopProduct]


class Averages(TypedDict):
    """Of one basket."""

    products: Ratio
    lines: Ratio
    items: Ratio
    revenue: Ratio


class BasketsOfMonth(TypedDict):
    """The sales of a month; `sizes` counts them by their different products."""

    month: str
    orders: int
    products: int
    lines: int
    items: int
    revenue: Money
    averages: Averages
    sizes: dict[str, int]
    wholesale: int


class Baskets(TypedDict):
    """Baskets by month, oldest first."""

    baskets: list[BasketsOfMonth]


class BoughtWith(TypedDict):
    """Another product, in how many sales together, and their share of all sales with the one that was asked for."""

    sku: str
    count: int
    share: Ratio


class Recommendations(TypedDict):
    """What is bought together with a product."""

    sku: str
    baskets: int
    products: list[BoughtWith]


class OrdersByStatus(TypedDict):
    """How many orders there are, and how many of each status."""

    orders: int
    statuses: dict[str, int]

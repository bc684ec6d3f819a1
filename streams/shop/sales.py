"""Sales as commands: the rows of the file that count, and the commands that are sent for them.

Pure: rows in, values out. Nothing here knows Kafka. Money is `Decimal`, and decimal text in a command's data.

The rules, which are the contract's: a row is left out when it has no CustomerID, a UnitPrice not above 0, or a
quantity whose sign does not fit its invoice (an InvoiceNo starting with `C` is a credit: negative; any other a sale:
positive). What is kept becomes one line each.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from streams.shop.generated_sales import generate
from streams.shop.sales_file import Row, SalesError, read_rows

__all__ = ["Command", "Invoice", "Line", "Plan", "Product", "Row", "SalesError", "generate", "plan", "read_rows"]


NO_CUSTOMER = "no CustomerID"
NO_PRICE = "UnitPrice not above 0"
WRONG_SIGN = "quantity does not fit the invoice's kind"


class Line(NamedTuple):
    """One line of an invoice; the quantity is positive, for credits too."""

    sku: str
    description: str
    quantity: int
    price: Decimal


class Command(NamedTuple):
    """One command to send: aggregate type and id, command id, command type, data."""

    aggregate: str
    key: str
    id: str
    type: str
    data: dict[str, Any]


@dataclass(slots=True)
class Invoice:
    """The kept rows of one InvoiceNo; customer, country and `opened_at` are those of the first."""

    number: str
    is_credit: bool
    customer: str
    country: str
    opened_at: datetime
    lines: list[Line] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        """The amount that it adds to the revenue: negative for a credit."""
        total = sum((line.quantity * line.price for line in self.lines), Decimal(0))
        return -total if self.is_credit else total

    def commands(self) -> Iterator[Command]:
        """Open, one AddLine per kept row, place. The ids follow from the number, so a second run repeats them."""
        name = f"replay/{self.number}"
        opened_at = self.opened_at.isoformat() + "Z"
        kind = "credit" if self.is_credit else "sale"
        data: dict[str, Any] = {"user_id": self.customer, "kind": kind, "country": self.country, "opened_at": opened_at}
        yield Command("order", self.number, f"{name}/open", "OpenOrder", data)
        for index, (sku, description, quantity, price) in enumerate(self.lines):
            data = {"sku": sku, "description": description, "quantity": quantity, "unit_price": money(price)}
            yield Command("order", self.number, f"{name}/line/{index}", "AddLine", data)
        yield Command("order", self.number, f"{name}/place", "PlaceOrder", {})


class Product:
    """A stock code in the whole file: its last description and price, and the pieces that are sold of it."""

    __slots__ = ("_sales", "name", "price", "sold")

    def __init__(self) -> None:
        self.name, self.price, self.sold = "", Decimal(0), 0
        self._sales = hashlib.blake2b(digest_size=6)

    def add(self, row: Row) -> None:
        self.name, self.price = row.description or row.sku, row.price
        if not row.is_credit:
            self.sold += row.quantity
            self._sales.update(f"{row.invoice} {row.quantity}\n".encode())

    def commands(self, sku: str) -> Iterator[Command]:
        """Define, and restock unless nothing is sold.

        Both cover the whole file, whatever part of it is replayed, so that a part and later the rest restock once. The
        ids end with a digest of what they are for: another file sells more of this code and needs stock of its own,
        and would not get it if the id were the code alone.
        """
        text = hashlib.blake2b(f"{self.name}\n{money(self.price)}".encode(), digest_size=6).hexdigest()
        yield Command(
            "product",
            sku,
            f"replay/product/{sku}/define/{text}",
            "DefineProduct",
            {"name": self.name, "price": money(self.price)},
        )
        if self.sold:
            command_id = f"replay/product/{sku}/restock/{self._sales.hexdigest()}"
            yield Command("product", sku, command_id, "Restock", {"quantity": self.sold})


@dataclass
class Plan:
    """The commands of a replay, and the figures due afterwards. `rows`, `kept` and `left_out` count the whole file."""

    rows: int = 0
    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    customers: dict[str, str] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    invoices: list[Invoice] = field(default_factory=list)

    @property
    def lines(self) -> int:
        return sum(len(invoice.lines) for invoice in self.invoices)

    def revenue(self) -> dict[str, Decimal]:
        """Expected revenue by month (`2010-12`) of `opened_at`, credits negative, months in order."""
        months: defaultdict[str, Decimal] = defaultdict(Decimal)
        for invoice in self.invoices:
            months[f"{invoice.opened_at:%Y-%m}"] += invoice.total
        return dict(sorted(months.items()))

    def preparations(self) -> Iterator[Command]:
        """Commands to users and products, which are to be in Kafka before the first order is: see `replay`."""
        for customer, country in self.customers.items():
            yield Command("user", customer, f"replay/user/{customer}", "RegisterUser", {"country": country})
        for sku, product in self.products.items():
            yield from product.commands(sku)

    def orders(self) -> Iterator[Command]:
        for invoice in self.invoices:
            yield from invoice.commands()

    @property
    def commands(self) -> int:
        """The number of commands to send."""
        return (
            len(self.customers)
            + sum(1 + (p.sold > 0) for p in self.products.values())
            + self.lines
            + 2 * len(self.invoices)
        )


def money(amount: Decimal) -> str:
    """Decimal text without exponent, as it came: `2.10` stays `2.10`."""
    return format(amount, "f")


def reason_to_leave_out(row: Row) -> str | None:
    """Why a row is not replayed, or None for a row to keep."""
    if not row.customer:
        return NO_CUSTOMER
    if row.price <= 0:
        return NO_PRICE
    if row.quantity == 0 or (row.quantity < 0) != row.is_credit:
        return WRONG_SIGN
    return None


def plan(rows: Iterable[Row], limit: int | None = None, since: date | None = None, until: date | None = None) -> Plan:
    """Judge the rows, gather them by invoice, and choose: the first `limit` invoices opened on the days from `since`
    to `until`, both included.

    An invoice is chosen whole or not at all, and its rows need not be next to each other in the file.
    """
    result = Plan()
    invoices: dict[str, Invoice] = {}
    countries: dict[str, str] = {}
    products: defaultdict[str, Product] = defaultdict(Product)
    for row in rows:
        result.rows += 1
        if reason := reason_to_leave_out(row):
            result.left_out[reason] += 1
            continue
        result.kept += 1
        countries.setdefault(row.customer, row.country)
        products[row.sku].add(row)
        invoice = invoices.get(row.invoice)
        if invoice is None:
            invoice = invoices[row.invoice] = Invoice(row.invoice, row.is_credit, row.customer, row.country, row.at)
        invoice.lines.append(Line(row.sku, row.description, abs(row.quantity), row.price))
    for invoice in invoices.values():
        if len(result.invoices) == limit:
            break
        day = invoice.opened_at.date()
        if (since and day < since) or (until and day > until):
            continue
        result.invoices.append(invoice)
        result.customers[invoice.customer] = countries[invoice.customer]
        result.products.update((line.sku, products[line.sku]) for line in invoice.lines)
    return result

"""What the rows of a sales file say, added up by nothing of ours: `csv`, `Decimal` and `Counter`."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any


@dataclass
class Invoice:
    """Its rows that count: stock code, description, pieces (above 0) and price."""

    number: str
    country: str
    at: str
    rows: list[tuple[str, str, int, Decimal]] = field(default_factory=list)
    counts: bool = True

    @property
    def is_credit(self) -> bool:
        return self.number.startswith("C")

    @property
    def sign(self) -> int:
        """0 when it is withdrawn."""
        return self.counts * (-1 if self.is_credit else 1)

    @property
    def month(self) -> str:
        return self.at[:7]

    @property
    def total(self) -> Decimal:
        return sum((pieces * price for _, _, pieces, price in self.rows), Decimal(0))

    @property
    def products(self) -> set[str]:
        return {sku for sku, _, _, _ in self.rows}

    def names(self) -> Iterator[tuple[str, str]]:
        """What its products are called: rows of one price are one line, called as the first; the last line counts."""
        lines = {}
        for sku, description, _, price in self.rows:
            lines.setdefault((sku, price), description)
        yield from {sku: description for (sku, _), description in lines.items()}.items()


class ByHand:
    """The invoices of the days from `since` to `until`, by the first of their rows that count. `withdraw` some."""

    def __init__(self, file: Path, since: str, until: str) -> None:
        invoices: dict[str, Invoice] = {}
        for row in _rows(file):
            number, pieces, price = row["InvoiceNo"], int(row["Quantity"]), Decimal(row["UnitPrice"])
            if not row["CustomerID"] or price <= 0 or pieces == 0 or (pieces < 0) != number.startswith("C"):
                continue
            invoice = invoices.setdefault(number, Invoice(number, row["Country"], row["InvoiceDate"]))
            invoice.rows.append((row["StockCode"], row["Description"], abs(pieces), price))
        self.invoices = [invoice for invoice in invoices.values() if since <= invoice.at[:10] <= until]

    @property
    def months(self) -> list[str]:
        return sorted({invoice.month for invoice in self.invoices})

    def withdraw(self, numbers: Collection[str]) -> None:
        for invoice in self.invoices:
            invoice.counts = invoice.number not in numbers

    def _of(self, months: Collection[str] | None, country: str | None = None) -> list[Invoice]:
        return [
            invoice
            for invoice in self.invoices
            if (months is None or invoice.month in months) and (country is None or invoice.country == country)
        ]

    def revenue(self, by: str, country: str | None = None, months: Collection[str] | None = None) -> dict[str, Decimal]:
        """By day, month or country; 0 where all of it is withdrawn."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for invoice in self._of(months, country):
            group = {"day": invoice.at[:10], "month": invoice.month, "country": invoice.country}[by]
            sums[group] += invoice.sign * invoice.total
        return dict(sums)

    def products(self, months: Collection[str] | None = None) -> list[tuple[str, str, int, Decimal]]:
        """Stock code, newest description, pieces and revenue, the one that earns the most first."""
        pieces: Counter[str] = Counter()
        money: defaultdict[str, Decimal] = defaultdict(Decimal)
        names: dict[str, tuple[str, str]] = {}
        counting = set()
        for invoice in self._of(months):
            for sku, _, count, price in invoice.rows:
                pieces[sku] += invoice.sign * count
                money[sku] += invoice.sign * count * price
            for sku, name in invoice.names():
                names[sku] = max(names.get(sku, ("", "")), (invoice.at, name))
            counting |= invoice.products if invoice.counts else set()
        best = sorted(counting, key=lambda sku: (-money[sku], sku))
        return [(sku, names[sku][1], pieces[sku], money[sku]) for sku in best]

    def _baskets(self, months: Collection[str] | None) -> list[Invoice]:
        return [invoice for invoice in self._of(months) if invoice.counts and not invoice.is_credit]

    def baskets(self, month: str, sizes: dict[str, tuple[int, int]]) -> dict[str, Any]:
        """Of the sales of a month: sums, and how many are of each size, which has a least and a most of products."""
        sales = self._baskets({month})
        counts = [len(sale.products) for sale in sales]
        return {
            "month": month,
            "orders": len(sales),
            "products": sum(counts),
            "lines": sum(len({(sku, price) for sku, _, _, price in sale.rows}) for sale in sales),
            "items": sum(pieces for sale in sales for _, _, pieces, _ in sale.rows),
            "revenue": sum((sale.total for sale in sales), Decimal(0)),
            "sizes": {size: sum(least <= n <= most for n in counts) for size, (least, most) in sizes.items()},
        }

    def together(
        self, most: int, months: Collection[str] | None = None
    ) -> tuple[Counter[str], defaultdict[str, Counter[str]]]:
        """In how many sales of at most so many products each product is, and with which others how often."""
        alone: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for sale in self._baskets(months):
            if len(sale.products) <= most:
                alone.update(sale.products)
                pairs.update(combinations(sorted(sale.products), 2))
        others: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (one, other), count in pairs.items():
            others[one][other] = others[other][one] = count
        return alone, others


def rounded(part: Decimal | int, whole: int, decimals: int) -> Decimal:
    """Their ratio, half to even."""
    return Decimal(round(Fraction(part) / whole * 10**decimals)).scaleb(-decimals)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="latin-1", newline="") as text:
        yield from csv.DictReader(text)

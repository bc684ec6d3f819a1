"""Read the rows of the UCI "Online Retail" file: CSV, plain or gzip, whatever the order of its columns."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


class SalesError(Exception):
    """A file that cannot be used; the message names the file, the line and what is wrong."""


class Row(NamedTuple):
    """One row of the file, its fields read but not yet judged."""

    invoice: str
    sku: str
    description: str
    quantity: int
    at: datetime
    price: Decimal
    customer: str
    country: str

    @property
    def is_credit(self) -> bool:
        return self.invoice.startswith("C")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a sales file, plain or gzip, one at a time. Raises `SalesError`."""
    try:
        with path.open("rb") as raw:
            start = raw.read(2)
            raw.seek(0)
            if start == b"PK":
                raise SalesError(f"{path} is an Excel or zip file: save the sheet as CSV first")
            with gzip.open(raw) if start == b"\x1f\x8b" else raw as file:  # by content, as names lie
                yield from _parse(path, file)
    except OSError as error:
        raise SalesError(f"{path} cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise SalesError(f"{path} is a damaged gzip file: {error}") from None


def _text(file: BinaryIO | gzip.GzipFile) -> Iterator[str]:
    """The lines as text: UTF-8, or else ISO-8859-1 as in the original; decided by line, so nothing is read twice."""
    for number, line in enumerate(file):
        try:
            yield line.decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError:
            yield line.decode("latin-1")


def _parse(path: Path, file: BinaryIO | gzip.GzipFile) -> Iterator[Row]:
    reader = csv.reader(_text(file), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            found = ", ".join(header)[:100] or "nothing"
            raise SalesError(
                f"{path} is not an Online Retail CSV: its first line lacks {', '.join(missing)}; found: {found!r}"
            )
        places = [header.index(name) for name in COLUMNS]
        shared: dict[str, str] = {}  # one string object for the many rows that name the same thing
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} fields instead of {len(header)}")
            invoice, sku, description, quantity, at, price, customer, country = (fields[place] for place in places)
            names = [
                shared.setdefault(text, text)
                for text in (invoice.strip(), sku.strip(), description, _customer(customer), country.strip())
            ]
            if not names[0] or not names[1]:
                raise ValueError("InvoiceNo or StockCode is empty")
            yield Row(
                invoice=names[0],
                sku=names[1],
                description=names[2],
                quantity=_quantity(quantity),
                at=_date(at),
                price=_price(price),
                customer=names[3],
                country=names[4],
            )
    except (csv.Error, ValueError) as error:
        raise SalesError(f"{path}, line {reader.line_num}: {error}") from None


@lru_cache(10_000)
def _customer(text: str) -> str:
    """`17850.0`, as spreadsheets write it, is customer `17850`."""
    whole, _, fraction = text.strip().partition(".")
    return text.strip() if fraction.strip("0") else whole


@lru_cache(10_000)
def _quantity(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"Quantity {text!r} is not a whole number") from None


@lru_cache(10_000)
def _price(text: str) -> Decimal:
    try:
        price = Decimal(text.strip())
        if round(price, 4) == price:
            return price
    except InvalidOperation:
        pass
    raise ValueError(f"UnitPrice {text!r} is not a number with at most 4 decimals")


@lru_cache(10_000)
def _date(text: str) -> datetime:
    """`2010-12-01 08:26:00`, or `12/1/2010 8:26` as some copies have it."""
    for form in ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M"):
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    raise ValueError(f"InvoiceDate {text!r} is not like 2010-12-01 08:26:00")

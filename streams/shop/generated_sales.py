"""Sales in the form of the UCI "Online Retail" file, where that is missing. The same arguments give the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import IO

from streams.shop.sales_file import COLUMNS, SalesError

_STYLES = ("WHITE", "RED", "RETROSPOT", "VINTAGE", "CREAM", "WOODEN", "GLASS", "KNITTED", "BLUE,GREEN", "SET/6")
_THINGS = ("LANTERN", "T-LIGHT HOLDER", "CAKE STAND", "MUG", "BUNTING", "DOORMAT", "LUNCH BAG", "CLOCK", "APRON")
_FINISHES = ("", "LARGE", "SMALL", "HANGING", "FELTCRAFT", "UNION FLAG", "POLKADOT", '"HOME" SIGN', "PACK OF 12")
_PRICES = ("0.29", "0.42", "0.55", "0.85", "1.25", "1.65", "2.10", "2.55", "3.39", "4.95", "9.95", "0.001", "1.785")
_COUNTRIES = ["United Kingdom"] * 46 + ["Germany", "France", "EIRE", "Norway"]

_Fields = tuple[str, ...]


def generate(path: Path, days: int, seed: int, start: date) -> int:
    """Write `days` days of sales from `start` on, gzip when the name ends in `.gz`. Returns the rows written.

    A day has 30 to 60 invoices of about 15 lines. As in the original: few goods and customers make most of the sales,
    every eighth invoice is a cancellation, a fifth of the rows has no CustomerID, and there are gifts at price 0,
    write-offs, postage, prices of three decimals, and invoices with one stock code at two prices. More days leave the
    days before as they are. Raises `SalesError`.
    """
    count = 0
    try:
        with ExitStack() as stack:
            raw: IO[bytes] = stack.enter_context(path.open("wb"))
            if path.suffix == ".gz":  # no name and no time in the gzip header: the bytes depend on the arguments alone
                raw = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))  # type: ignore[arg-type]
            text = stack.enter_context(io.TextIOWrapper(raw, "utf-8", newline=""))
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in _rows(days, random.Random(seed), start, 600_001 + seed * 100_000):
                writer.writerow(row)
                count += 1
    except OSError as error:
        raise SalesError(f"{path} cannot be written: {error.strerror or error}") from None
    return count


def _rows(days: int, random: random.Random, start: date, number: int) -> Iterator[_Fields]:
    goods = [
        (
            f"{20_000 + 7 * n}{random.choice(['', '', '', 'A', 'B'])}",
            " ".join(filter(None, (random.choice(_STYLES), random.choice(_THINGS), random.choice(_FINISHES)))),
            random.choice(_PRICES),
        )
        for n in range(800)
    ]
    goods_weights = list(accumulate(1 / (n + 8) for n in range(len(goods))))
    customers = [(f"{12_346 + 11 * n}.0", random.choice(_COUNTRIES)) for n in range(500)]
    customer_weights = list(accumulate(1 / (n + 20) for n in range(len(customers))))
    recent: list[_Fields] = []  # what was sold to customers lately, for cancellations
    for day in range(days):
        opening = datetime.combine(start + timedelta(days=day), datetime.min.time()) + timedelta(hours=8)
        minutes = sorted(random.sample(range(600), random.randint(30, 60)))
        for index, minute in enumerate(minutes):
            at = str(opening + timedelta(minutes=minute))
            number += 1
            if index % 8 == 7 and recent:
                sold = random.choice(recent)
                back = random.randint(1, int(sold[3]))
                yield (f"C{number}", sold[1], sold[2], str(-back), at, *sold[5:])
                continue
            customer, country = random.choices(customers, cum_weights=customer_weights)[0]
            if index % 5 == 4:
                customer = ""
            lines: list[_Fields] = []
            for sku, name, price in random.choices(
                goods, cum_weights=goods_weights, k=min(80, 1 + int(random.expovariate(1 / 14)))
            ):
                quantity = random.choice((1, 1, 2, 3, 4, 6, 6, 8, 10, 12, 12, 24, 48))
                lines.append((str(number), sku, name, str(quantity), at, price, customer, country))
            first = lines[0]
            if index % 20 == 1:  # the same goods again, cheaper
                lines.append((*first[:5], str(Decimal(first[5]) / 2), *first[6:]))
            if index % 20 == 2:
                lines.append((str(number), "POST", "POSTAGE", "1", at, "18.00", customer, country))
            if index % 20 == 3:
                lines.append((*first[:5], "0.0", *first[6:]))
            yield from lines
            if customer:
                recent = [*recent[-200:], *(line for line in lines if Decimal(line[5]))]
        number += 1
        yield (
            str(number),
            goods[day % 800][0],
            "damaged",
            "-5",
            str(opening + timedelta(hours=10)),
            "0.0",
            "",
            "United Kingdom",
        )

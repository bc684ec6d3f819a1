"""Python's `eventsourcing`, asked in its own process: `python -m tests.bench.rivals.eventsourcing_orders FILE`.

Orders that are kept in an SQLite file, with a cache of the aggregates in memory and a snapshot every 100 events: as its
documentation has it. Says `ready`, then answers each line `COUNT ORDERS` with a line of JSON. It decides one command at
a time, and each is one transaction.
"""

from __future__ import annotations

import json
import random
import sys
import time
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

CACHE = 100_000


class Order(Aggregate):
    """Lines by product."""

    @event("Opened")
    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.total = Decimal(0)

    @event("LineAdded")
    def add_line(self, sku: str, description: str, quantity: int, unit_price: Decimal) -> None:
        """Add a line; lines of one product are one."""
        self.lines[sku] = self.lines.get(sku, 0) + quantity
        self.total += quantity * unit_price


class Orders(Application[UUID]):
    """All of them."""

    snapshotting_intervals: ClassVar = {Order: 100}


def main() -> None:
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": sys.argv[1],
        "AGGREGATE_CACHE_MAXSIZE": str(CACHE),
    }
    app = Orders(env=settings)
    open_orders: list[UUID] = []
    print("ready", flush=True)
    for line in sys.stdin:
        count, orders = (int(word) for word in line.split())
        while len(open_orders) < orders:
            order = Order()
            app.save(order)
            open_orders.append(order.id)
        choose = random.Random(count).randrange
        began = time.perf_counter()
        for _ in range(count):
            order = app.repository.get(open_orders[choose(orders)])
            order.add_line("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.55"))
            app.save(order)
        print(json.dumps({"rate": count / (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()

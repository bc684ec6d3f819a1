"""Wait until the checkout has brought every order to its end, and compare orders and stock: `replay --confirmed`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from streams.cli.progress import Meter
from streams.shop.replay_wait import PAUSE, Door, ReplayError
from streams.shop.sales import Plan

PAGE = 1_000
AT_ONCE = 20


@dataclass
class Confirmed:
    """The outcome of the orders of a plan, and the stock of its products that is not as it should be.

    orders     by kind and status
    seconds    from the last command's sending until no order waited any more
    reserved   pieces that the plan's sales take
    wrong      by stock code the pieces that are free and taken, and the pieces that should be
    """

    orders: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    reserved: int = 0
    wrong: dict[str, tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=dict)

    def lines(self, plan: Plan) -> Iterator[str]:
        """A table for people."""
        yield f"{'orders':<9}{'expected':>14}{'confirmed':>14}"
        for kind, name in (("sale", "sales"), ("credit", "credits")):
            expected = sum((kind == "credit") == invoice.is_credit for invoice in plan.invoices)
            others = {status: count for (its, status), count in self.orders.items() if its == kind}
            confirmed = others.pop("confirmed", 0) + others.pop("shipped", 0)
            rest = ", ".join(f"{count:,} {status}" for status, count in sorted(others.items()))
            mark = "equal" if confirmed == expected else f"differs by {confirmed - expected:+,}: {rest}"
            yield f"{name:<9}{expected:>14,}{confirmed:>14,}  {mark}"
        rate = len(plan.invoices) / self.seconds if self.seconds else 0
        yield f"all confirmed {self.seconds:,.1f} s after the first was sent, {rate:,.0f} orders a second"
        yield ""
        stock = f"stock of {len(plan.products):,} products, {self.reserved:,} pieces reserved of what was restocked"
        if not self.wrong:
            yield f"{stock}: equal"
            return
        sku, (found, expected_stock) = next(iter(self.wrong.items()))
        yield (
            f"{stock}: differs for {len(self.wrong):,}, such as {sku}: {found[0]:,} free and {found[1]:,} taken, not "
            f"{expected_stock[0]:,} and {expected_stock[1]:,}: has the system other orders or stock?"
        )


async def wait_for_checkout(door: Door, plan: Plan, started: float, timeout: float) -> Confirmed:
    """Wait until no order waits for its stock; returns how the orders ended, and whether stock is as it should be.

    `started` is by the monotonic clock. Raises `ReplayError` after `timeout` seconds.
    """
    deadline, total = time.monotonic() + timeout, len(plan.invoices)
    with Meter("checkout", total, "orders") as meter:
        while waiting := await _waiting(door):
            meter.at(max(total - waiting, 0), rate=(total - waiting) / (time.monotonic() - started))
            if time.monotonic() > deadline:
                raise ReplayError(
                    f"{waiting:,} orders are still placed after {timeout:g} s: do the workers of checkout and products "
                    "run (make start)? Nothing is lost. The same replay with --confirmed may be run again"
                )
            await asyncio.sleep(PAUSE)
        meter.at(total, rate=total / (time.monotonic() - started))
    result = Confirmed(seconds=time.monotonic() - started)
    result.orders = await _orders(door, plan)
    await _compare_stock(door, plan, result)
    return result


async def _waiting(door: Door) -> int:
    return int((await door.get("/analytics/orders-by-status"))["statuses"]["placed"])


async def _orders(door: Door, plan: Plan) -> Counter[tuple[str, str]]:
    """The number of the plan's orders by kind and status."""
    ours = {invoice.number for invoice in plan.invoices}
    found: Counter[tuple[str, str]] = Counter()
    after = ""
    while True:
        answer = await door.get("/orders", limit=str(PAGE), after=after)
        found.update((row["kind"], row["status"]) for row in answer["orders"] if row["id"] in ours)
        if answer["next"] is None:
            return found
        after = answer["next"]


async def _compare_stock(door: Door, plan: Plan, result: Confirmed) -> None:
    taken: Counter[str] = Counter()
    for invoice in plan.invoices:
        if not invoice.is_credit:
            for line in invoice.lines:
                taken[line.sku] += line.quantity
    result.reserved = taken.total()
    turns = asyncio.Semaphore(AT_ONCE)

    async def compare(sku: str, sold: int) -> None:
        async with turns:
            row: Any = await door.get(f"/products/{quote(sku, safe='')}")
        found = row["available"], row["reserved"] + row["shipped"]
        expected = sold - taken[sku], taken[sku]
        if found != expected:
            result.wrong[sku] = found, expected

    await asyncio.gather(*(compare(sku, product.sold) for sku, product in plan.products.items()))

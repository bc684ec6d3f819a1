"""Queries by key where the row is, through a worker that has not got it, and queries that all workers answer."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.asking import ask
from tests.bench.door import Door
from tests.bench.worker import START_SECONDS, Worker, say
from tests.bench.written import ORDERS_A_USER, Written, order_id

SECONDS = 3.0
ALONE, MANY, FEW = 1, 16, 4


async def measure_queries(written: Written, first: Worker, second: Worker, orders: int) -> list[tuple[str, float]]:
    """Two workers that have the partitions of so many orders between them; `first` is asked."""
    async with Door.open(first.url) as one, Door.open(second.url) as other:
        near, far = set(await one.serves(START_SECONDS)), set(await other.serves(START_SECONDS))
    if not near or not far or near & far or len(near | far) != written.settings.partitions:
        raise RuntimeError(f"the workers have the partitions {sorted(near)} and {sorted(far)}")
    at_owner = [f"/orders/{order_id(n)}" for n in range(orders) if written.partition(n) in near]
    routed = [f"/orders/{order_id(n)}" for n in range(orders) if written.partition(n) in far]
    results = []
    for name, paths in (("by key, at the owner", at_owner), ("by key, through the other worker", routed)):
        results += await _asked(name, first, second, paths, MANY)
    users = [f"/users/u{n}/orders" for n in range(orders // ORDERS_A_USER)]
    results += await _asked("orders of a user, by all workers", first, second, users, FEW)
    periods = [f"/analytics/revenue?by={by}" for by in ("day", "month")]
    results += await _asked("revenue, by all workers", first, second, periods, FEW)
    return results


async def _asked(
    name: str, first: Worker, second: Worker, paths: Sequence[str], in_flight: int
) -> list[tuple[str, float]]:
    alone = await ask(first.url, paths, ALONE, SECONDS)
    cpu = first.cpu_seconds() + second.cpu_seconds()
    many = await ask(first.url, paths, in_flight, SECONDS)
    each = (first.cpu_seconds() + second.cpu_seconds() - cpu) / (many.rate * SECONDS) * 1e6
    say(f"{name}: {many.rate:,.0f}/s; one at a time {alone.p50:.2f} ms, p99 {alone.p99:.2f} ms")
    return [
        (f"{name}: queries/s, {in_flight} at a time", many.rate),
        (f"{name}: ms, p50 / {in_flight} at a time", many.p50),
        (f"{name}: ms, p99 / {in_flight} at a time", many.p99),
        (f"{name}: ms, p50 / one at a time", alone.p50),
        (f"{name}: ms, p99 / one at a time", alone.p99),
        (f"{name}: CPU of both workers per query, microseconds", each),
    ]

"""What the console costs over a shop of some size: its pages, the routes that it asks, and those who look at it.

The events are written into the journal as owners write them, published by the product's own tailer, and applied to all
tables of the shop by the one worker of the read side. Beside it is a worker of orders, so that a console has somebody
to ask of the write side; of the other contexts there is none, which is a finding.

* *page*: opened in Chromium with an empty cache, until it shows what it is for: the time, the requests and the bytes on
  the wire; and what it asks afterwards in a minute in which somebody looks at it.
* *first byte*: a route is asked for the first time after a rest, then again and again, over one connection; until the
  first byte of the answer.
* *processor time of the worker*: that it takes while nobody looks, while ten people look at Now, and while ten look at
  all pages; each in a tab of Chromium's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from statistics import median
from urllib.parse import quote

import aiohttp
from playwright.async_api import Browser

from streams.cli.progress import Meter
from tests.bench.console_pages import Address, browser, looked_at, opened
from tests.bench.door import Door
from tests.bench.report import Figure
from tests.bench.space import Space, space
from tests.bench.usage import Usage
from tests.bench.worker import Worker, say
from tests.bench.written import Written, one_by_one, order_id
from tests.e2e.worker import ORDERS, PROJECTIONS, free_port

CHUNK = 50_000
"""Events that are in memory at once while they are written."""
A_COMMIT = 500
TIMES = 10
READERS = 10
APPLY_SECONDS = 900.0
READY_SECONDS = 300.0
LOOK_SECONDS = 6.0
"""A page that was opened is looked at for so long, at least three of its askings."""
SETTLE_SECONDS = 3.0


async def measure_console(orders: int, events: int, seconds: float, pages: Sequence[str] = ()) -> list[Figure]:
    """Over about `events` events of so many orders. Processor time is looked at for so many seconds each time; `pages`
    are the names of some, by default all."""
    async with space(PARTITIONS="8") as here:
        written = Written(here.settings, derives=True)
        async with written.open():
            first = await _write(written, orders, events)
            async with _workers(here) as (door, url):
                began = time.perf_counter()
                async with Door.open(url) as asked:
                    await door.says("ready: ", READY_SECONDS)
                    await asked.all_reached(written.ends, APPLY_SECONDS)
                say(f"console: {written.count:,} events are in the tables after {time.perf_counter() - began:.0f} s")
                paths = _addresses(first)
                some = [address for address in paths if not pages or address.name in pages]
                async with browser() as chromium:
                    await asyncio.sleep(SETTLE_SECONDS)
                    figures = await _routes(url, first, TIMES)
                    for address in some:
                        figures += await _page(chromium, url, address, min(seconds, LOOK_SECONDS))
                    figures += await _usage(chromium, door, url, paths, seconds)
    return [("orders in the journal", orders), ("events", written.count), *figures]


async def _write(written: Written, orders: int, events: int) -> str:
    """Write and publish; the position of an event."""
    stream = one_by_one(orders, events)
    first = ""
    with Meter("console: events in the journal", events, "events") as meter:
        while chunk := list(itertools.islice(stream, CHUNK)):
            commits = await written.append(chunk, A_COMMIT)
            first = first or f"{next(iter(commits))}:0"
            meter.advance(len(chunk))
    tailed = await written.publish()
    say(f"console: published {tailed.rate:,.0f} events/s")
    return first


@contextlib.asynccontextmanager
async def _workers(here: Space) -> AsyncIterator[tuple[Worker, str]]:
    """One of the read side, and one of orders."""
    with here.worker(ORDERS, port=free_port()) as owner:
        await here.all_served(owner)
        with here.worker(PROJECTIONS, port=free_port()) as door:
            try:
                yield door, door.url
            except Exception:
                say(f"the log of the read side ends so:\n{door.tail()}")
                raise


def _addresses(position: str) -> list[Address]:
    id = quote(order_id(0), safe="")
    return [
        Address("Now", "now", ".verdict"),
        Address("Aggregate", f"aggregate/order/{id}", ".state ins, .state del"),
        Address("Story", f"story/{position}", ".story .step"),
        Address("Logs and owners", "logs", ".places"),
        Address("Tables", "tables", "#projection-orders"),
        Address("Step through", f"steps/orders/{id}?at=2", ".state ins, .state del"),
        Address("Schemas", "schemas/order", "article"),
        Address("Timers", "timers", "main .empty, main tbody tr"),
        Address("Dead letters", "letters", "main .empty, main article"),
        Address("Audit", "audit", "main .empty, main tbody tr"),
    ]


def _paths(position: str) -> Mapping[str, str]:
    id = quote(order_id(0), safe="")
    return {
        "/findings": "/findings",
        "/contexts": "/contexts",
        "/lag": "/lag",
        "/figures": "/figures",
        "/projections": "/projections",
        "/orders/{id}": f"/orders/{id}",
        "/orders/{id}/history": f"/orders/{id}/history",
        "/orders/{id}/state": f"/orders/{id}/state",
        "/orders/{id}/rows": f"/orders/{id}/rows",
        "/stories/{position}": f"/stories/{position}",
        "/timers": "/timers?limit=50",
        "/dead-letters": "/dead-letters",
        "/audit": "/audit?limit=50",
        "/openapi.json": "/openapi.json",
    }


async def _routes(url: str, position: str, times: int) -> list[Figure]:
    figures: list[Figure] = []
    async with aiohttp.ClientSession() as http:
        for name, path in _paths(position).items():
            took = [await _first_byte(http, url + path) for _ in range(1 + times)]
            figures += [
                (f"{name}: ms to the first byte, the first time", took[0]),
                (f"{name}: ms to the first byte, again", median(took[1:])),
            ]
    return figures


async def _first_byte(http: aiohttp.ClientSession, url: str) -> float:
    """Milliseconds. Raises `RuntimeError` for any answer but 200."""
    began = time.perf_counter()
    async with http.get(url) as response:
        await response.content.readany()
        took = time.perf_counter() - began
        rest = await response.read()
        if response.status != 200:
            raise RuntimeError(f"{url} answered {response.status}: {rest[:500]!r}")
    return took * 1e3


async def _page(chromium: Browser, url: str, address: Address, seconds: float) -> list[Figure]:
    found = await opened(chromium, url, address, seconds)
    say(f"console: {address.name}: {found.seconds:.2f} s, {found.requests} requests, {found.kilobytes:.0f} kB")
    return [
        (f"{address.name}: s until shown, empty cache", found.seconds),
        (f"{address.name}: requests until then", found.requests),
        (f"{address.name}: kB until then", found.kilobytes),
        (f"{address.name}: requests a minute afterwards", found.requests_a_minute),
        (f"{address.name}: kB a minute afterwards", found.kilobytes_a_minute),
    ]


async def _usage(
    chromium: Browser, door: Worker, url: str, addresses: Sequence[Address], seconds: float
) -> list[Figure]:
    all_pages = [address for address, _ in zip(itertools.cycle(addresses), range(READERS), strict=False)]
    figures: list[Figure] = []
    looking: list[tuple[str, Sequence[Address]]] = [
        ("nobody looks", []),
        (f"{READERS} look at Now", [addresses[0]] * READERS),
        (f"{READERS} look at all pages", all_pages),
    ]
    for what, looked_at_now in looking:
        async with looked_at(chromium, url, looked_at_now):
            await asyncio.sleep(SETTLE_SECONDS)
            usage = Usage({"worker": [door.pid]})
            await asyncio.sleep(seconds)
            spent = usage.spent(1)
            share = spent.each["worker"] / 1e4 / spent.seconds
        say(f"console: {what}: {share:.1f} % of a core")
        figures.append((f"processor time of the worker, % of a core: {what}", share))
    return figures

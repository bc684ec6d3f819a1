"""Sales files replayed with the checkout on: what the system shows afterwards is what the files say, to the cent."""

from __future__ import annotations

import asyncio
import csv
import gzip
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker
from tests.real_sales import REAL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = ("order", "product", "user")
WEEK = ("2010-12-01", "2010-12-07")
LEASE = 2.0
"""For so long a worker may show who was forgotten."""
FIGURES = (
    *(f"/analytics/revenue?by={by}" for by in ("month", "day", "country")),
    *(f"/analytics/{name}" for name in ("orders-by-status", "top-products", "baskets")),
    "/products",
)


@dataclass
class Expected:
    """What the rows of a file say, added up by nothing but this."""

    lines: defaultdict[str, Counter[tuple[str, Decimal]]] = field(default_factory=lambda: defaultdict(Counter))
    users: dict[str, str] = field(default_factory=dict)
    days: dict[str, str] = field(default_factory=dict)
    restocked: Counter[str] = field(default_factory=Counter)

    def add(self, file: Path, since: str, until: str) -> None:
        """The rows that count, of the invoices whose first such row is of these days. What these have is restocked once
        with all that the whole file sells of it."""
        sold: Counter[str] = Counter()
        wanted: set[str] = set()
        for row in _rows(file):
            invoice, quantity, price = row["InvoiceNo"], int(row["Quantity"]), Decimal(row["UnitPrice"])
            credit = invoice.startswith("C")
            if not row["CustomerID"] or price <= 0 or quantity == 0 or (quantity < 0) != credit:
                continue
            sold[row["StockCode"]] += max(quantity, 0)
            day = self.days.setdefault(invoice, row["InvoiceDate"][:10])
            if since <= day <= until:
                self.lines[invoice][row["StockCode"], price] += abs(quantity)
                self.users.setdefault(invoice, row["CustomerID"].removesuffix(".0"))
                wanted.add(row["StockCode"])
        self.restocked.update({sku: sold[sku] for sku in wanted})

    def revenue(self, length: int) -> dict[str, Decimal]:
        """By month (7 characters) or day (10)."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for invoice, lines in self.lines.items():
            total = sum((quantity * price for (_, price), quantity in lines.items()), Decimal(0))
            sums[self.days[invoice][:length]] += -total if invoice.startswith("C") else total
        return dict(sums)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="latin-1", newline="") as text:
        yield from csv.DictReader(text)


@dataclass
class Replayed:
    """The system after the replays: its door, what it was given, and how to give it the same again."""

    system: System
    door: Worker
    expected: Expected
    runs: list[list[str]]

    async def get(self, path: str) -> Any:
        """A good answer's JSON."""
        status, body, _ = await self.system.get(self.door, path)
        assert 200 == status, body
        return body

    async def revenue(self, by: str) -> dict[str, Decimal]:
        """As the tables have it."""
        rows = (await self.get(f"/analytics/revenue?by={by}"))["revenue"]
        return {row["period"]: Decimal(row["revenue"]) for row in rows}

    async def replay(self) -> None:
        """All of the runs, one after another; each ends well, and says so."""
        for run in self.runs:
            ended = await self.system.run("-A", PROJECTIONS, "replay", *run, "--confirmed", "--url", self.door.url)
            assert 0 == ended.returncode, ended.stdout + ended.stderr
            assert 3 <= ended.stdout.count("equal"), ended.stdout  # a month at least, sales and credits
            figures, stock, _ = ended.stdout.partition("stock of")
            assert stock
            assert "differs" not in figures


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(system: System) -> Replayed:
    """Three days of generated sales, and with `SALES` a week of the original ones."""
    modules = PRODUCTS, ORDERS, USERS, CHECKOUT, PROJECTIONS
    workers = [system.start(module, KEY_LEASE_SECONDS=f"{LEASE:g}") for module in modules]
    for worker in workers:
        await system.all_served(worker)
    file = system.data / "sales.csv.gz"
    made = await system.run("-A", PROJECTIONS, "generate-sales", str(file), "--days", "3", "--start", "2011-06-29")
    assert 0 == made.returncode, made.stderr
    expected, runs = Expected(), [[str(file)]]
    expected.add(file, "2011-06-29", "2011-07-01")
    if REAL is not None:
        expected.add(REAL, *WEEK)
        runs.append([str(REAL), "--since", WEEK[0], "--until", WEEK[1]])
    replayed = Replayed(system, workers[-1], expected, runs)
    await replayed.replay()
    return replayed


@pytest.mark.parametrize(("by", "length"), [("month", 7), ("day", 10)])
async def test_revenue_is_that_of_the_file(replayed: Replayed, by: str, length: int) -> None:
    """Revenue by month and by day equals the sum of quantity x price over the rows kept."""
    assert replayed.expected.revenue(length) == await replayed.revenue(by)


async def test_every_row_is_in_its_order(replayed: Replayed) -> None:
    """Each order shows the pieces of each stock code at each price that the file has, and nothing else."""
    turns = asyncio.Semaphore(20)

    async def shown(invoice: str) -> Counter[tuple[str, Decimal]]:
        async with turns:
            lines = (await replayed.get(f"/orders/{invoice}"))["lines"]
            return Counter({(line["sku"], Decimal(line["unit_price"])): line["quantity"] for line in lines})

    invoices = list(replayed.expected.lines)
    found = await asyncio.gather(*map(shown, invoices))
    assert dict(replayed.expected.lines) == dict(zip(invoices, found, strict=True))


async def test_stock_is_what_the_orders_left(replayed: Replayed) -> None:
    """Every order is confirmed, and of each product so much is reserved as the sales have of it; the rest is free."""
    statuses = (await replayed.get("/analytics/orders-by-status"))["statuses"]
    assert {"confirmed": len(replayed.expected.lines)} == {name: count for name, count in statuses.items() if count}
    taken: Counter[str] = Counter()
    for invoice, lines in replayed.expected.lines.items():
        for (sku, _), quantity in lines.items():
            taken[sku] += 0 if invoice.startswith("C") else quantity
    turns = asyncio.Semaphore(20)

    async def shown(sku: str) -> tuple[int, int]:
        async with turns:
            row = await replayed.get(f"/products/{sku}")
            return row["available"], row["reserved"]

    found = dict(zip(taken, await asyncio.gather(*map(shown, taken)), strict=True))
    assert {sku: (replayed.expected.restocked[sku] - pieces, pieces) for sku, pieces in taken.items()} == found


async def test_users_have_their_orders(replayed: Replayed) -> None:
    """`/users/{id}/orders` lists exactly the invoices of that customer."""
    invoices: defaultdict[str, set[str]] = defaultdict(set)
    for invoice, user in replayed.expected.users.items():
        invoices[user].add(invoice)
    for user in random.Random(1).sample(sorted(invoices), min(100, len(invoices))):
        orders = (await replayed.get(f"/users/{user}/orders"))["orders"]
        assert invoices[user] == {order["id"] for order in orders}
        assert len(invoices[user]) == len(orders)


@pytest.mark.parametrize("type", TYPES)
async def test_events_are_complete_and_in_order(replayed: Replayed, type: str) -> None:
    """The events topic has no event twice, and each aggregate's numbers from 1 in one partition without a gap."""
    seen: set[bytes] = set()
    sequences: defaultdict[tuple[int, bytes], int] = defaultdict(int)
    for record in await replayed.system.read(f"{type}-events"):
        attributes = dict(record.headers)
        assert attributes["ce_id"] not in seen
        seen.add(attributes["ce_id"])
        assert record.key == attributes["ce_subject"]
        sequences[record.partition, record.key] += 1
        assert sequences[record.partition, record.key] == int(attributes["ce_sequence"])
    assert len(sequences) == len({key for _, key in sequences})
    expected = {
        "order": set(replayed.expected.lines),
        "product": {sku for lines in replayed.expected.lines.values() for sku, _ in lines},
        "user": set(replayed.expected.users.values()),
    }
    assert expected[type] == {key.decode() for _, key in sequences}


async def test_nothing_lags(replayed: Replayed) -> None:
    """`/lag` names every stream, and comes to 0."""

    async def level() -> Any:
        lag = await replayed.system.lag(replayed.door)
        return lag if lag and lag["total"] == 0 else None

    lag = await eventually(level, 10, replayed.door.tail)
    expected = {f"{type}-{p}" for type in TYPES for p in range(4)}
    assert expected <= {stream["stream"] for stream in lag["streams"]}
    assert all(stream["lag"] == 0 for stream in lag["streams"])


async def test_history_and_state_tell_how_it_came(replayed: Replayed) -> None:
    """An order's history is its opening, a line a row, its placing; its state at N is that of the first N events."""
    for invoice in random.Random(2).sample(sorted(replayed.expected.lines), 20):
        events = (await replayed.get(f"/orders/{invoice}/history"))["events"]
        assert list(range(1, len(events) + 1)) == [event["sequence"] for event in events]
        lines = [event for event in events if event["type"] == "LineAdded"]
        expected = ["OrderOpened", *["LineAdded"] * len(lines), "OrderPlaced", "OrderConfirmed"]
        assert expected == [event["type"] for event in events]
        assert sum(replayed.expected.lines[invoice].values()) == sum(event["data"]["quantity"] for event in lines)
        pieces = 0
        for sequence, event in enumerate(events[: len(lines) + 1], 1):
            pieces += event["data"].get("quantity", 0)
            at = await replayed.get(f"/orders/{invoice}/state?sequence={sequence}")
            assert (sequence, "open", pieces) == (at["sequence"], at["state"]["status"], at["state"]["pieces"])
        assert len(events) == (await replayed.get(f"/orders/{invoice}/state"))["sequence"]


async def test_running_it_again_changes_nothing(replayed: Replayed) -> None:
    """A second replay of the same files adds no event, and the revenue is the same."""
    before = {type: await replayed.system.ends(f"{type}-events") for type in TYPES}
    await replayed.replay()
    await test_nothing_lags(replayed)
    assert before == {type: await replayed.system.ends(f"{type}-events") for type in TYPES}
    assert replayed.expected.revenue(7) == await replayed.revenue("month")


async def test_who_is_forgotten_changes_no_figure(replayed: Replayed) -> None:
    """A third of the users who have an address are forgotten, and every table is built from nothing: rows and figures
    equal those that served, revenue and stock are what the files say, and the journal is whole. The other addresses are
    there."""
    system, door = replayed.system, replayed.door
    timers = system.start(TIMERS, KEY_LEASE_SECONDS=f"{LEASE:g}")
    customers = sorted({*replayed.expected.users.values()})
    users = random.Random(3).sample(customers, min(30, len(customers)))
    forgotten = users[::3]
    orders = [invoice for invoice, user in replayed.expected.users.items() if user in users]
    turns = asyncio.Semaphore(20)

    async def address(user: str) -> str:
        async with turns:
            reply = await system.ask("user", user, "ChangeEmail", {"email": f"{user}@example.org"}, seconds=60)
            return str(reply["status"])

    async def get(path: str) -> Any:
        async with turns:
            return await replayed.get(path)

    async def forget(user: str) -> str:
        async with turns, system.http.post(door.url + f"/subjects/{user}/forget", json={"reason": "asked"}) as response:
            return str((await response.json())["state"])

    async def addresses() -> list[Any]:
        return [row["email"] for row in await asyncio.gather(*(get(f"/users/{user}") for user in users))]

    async def shown() -> dict[str, Any]:
        """The rows of these users, their orders, and the products of these, and the figures of all."""
        skus = {sku for invoice in orders for sku, _ in replayed.expected.lines[invoice]}
        keys = {"orders": orders, "products": skus, "users": users}
        paths = [f"/{name}/{key}/rows" for name, all_of_them in keys.items() for key in all_of_them]
        found = dict(zip(FIGURES, await asyncio.gather(*map(get, FIGURES)), strict=True))
        for path, answer in zip(paths, await asyncio.gather(*map(get, paths)), strict=True):
            found[path] = {its["projection"]: its["row"] for its in answer["rows"]}  # whatever the table is called
        return found

    async def tables() -> dict[str, str]:
        return {its["name"]: its["serving"] for its in (await replayed.get("/projections"))["projections"]}

    await system.all_served(timers)
    assert {"accepted"} == {*await asyncio.gather(*map(address, users))}
    everybody = [f"{user}@example.org" for user in users]

    async def all_have_theirs() -> bool:
        return await addresses() == everybody

    await eventually(all_have_theirs, 60, door.tail)
    await test_nothing_lags(replayed)
    before, served = await shown(), await tables()
    assert {"erased"} == {*await asyncio.gather(*map(forget, forgotten))}
    for name in served:
        async with system.http.post(door.url + f"/projections/{name}/rebuild", json={"again": True}) as response:
            assert 202 == response.status, await response.text()

    async def are_others() -> bool:
        found = await tables()
        return all(found[name] != table for name, table in served.items())

    await eventually(are_others, 120, door.tail)
    await test_nothing_lags(replayed)
    assert before == await shown()
    for by, length in (("month", 7), ("day", 10)):
        assert replayed.expected.revenue(length) == await replayed.revenue(by)
    await test_stock_is_what_the_orders_left(replayed)

    async def are_gone() -> bool:
        return await addresses() == [{"erased": True} if user in forgotten else f"{user}@example.org" for user in users]

    await eventually(are_gone, 10 * LEASE, door.tail)
    verified = await system.run("-A", USERS, "journal", "verify", "user")
    assert 0 == verified.returncode, verified.stdout + verified.stderr

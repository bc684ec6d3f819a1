"""The shop with its journals in SQLite, where it needs Kafka alone, and in PostgreSQL: all works as in Cassandra."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from streams.journal.sql.postgres import PostgresAddress
from streams.journal.sql.sqlite import SqliteAddress
from tests.e2e.client import eventually
from tests.e2e.invariants import check_log, check_replies
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker
from tests.stores import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS_OPEN = 50
COMMANDS = 600

OPEN = {"user_id": "17850", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}


@dataclass(frozen=True)
class Shop:
    """Two workers for orders, and one for the tables."""

    one: Worker
    two: Worker
    door: Worker


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest) -> str:
    """The files or schemas of this module's systems."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """Started all at once: each makes the tables that it misses."""
    shop = Shop(system.start(ORDERS), system.start(ORDERS), system.start(PROJECTIONS))
    await system.all_served(shop.one, shop.two)
    await system.all_served(shop.door)
    return shop


async def test_a_command_is_answered_and_told_of(system: System, shop: Shop) -> None:
    """Reply, row, `show` and `history` agree, and the same id again changes nothing."""
    await system.ask("order", "5363", "OpenOrder", OPEN)
    reply = await system.ask("order", "5363", "AddLine", LINE, id="line-1")
    assert ("accepted", ["LineAdded"], 2) == (reply["status"], reply["events"], reply["aggregate"]["sequence"])
    assert reply == await system.ask("order", "5363", "AddLine", LINE, id="line-1")
    status, row, _ = await system.get(shop.door, "/orders/5363", At_Least=reply["position"], Prefer="wait=30")
    assert (200, "15.30") == (status, row["total"])
    shown, told = await asyncio.gather(
        system.run("-A", ORDERS, "--json", "show", "order", "5363"),
        system.run("-A", ORDERS, "--json", "history", "order", "5363"),
    )
    assert 2 == json.loads(shown.stdout)["sequence"], shown.stderr
    history = [json.loads(line) for line in told.stdout.splitlines()]
    assert [("OrderOpened", 1), ("LineAdded", 2)] == [(event["type"], event["sequence"]) for event in history]
    assert history[1]["position"].startswith(reply["position"] + ":")


async def test_a_journal_that_is_locked_is_waited_for(system: System, shop: Shop) -> None:
    """While somebody holds the tables no command is answered; the workers say that they wait, and go on afterwards."""
    inbox = await system.answers()

    def waits() -> int:
        return sum("waiting for it" in line for worker in (shop.one, shop.two) for line in worker.lines)

    before = waits()
    async with locked(system):
        id = await system.command("order", "5363", "AddLine", LINE, reply_to=system.topic("answers"))
        await eventually(lambda: waits() > before, 15, "no worker waits")
        assert [] == inbox.by_key[id]
    assert "accepted" == (await inbox.answer(id))["status"]
    assert shop.one.running
    assert shop.two.running


async def test_a_killed_worker_loses_nothing(system: System, shop: Shop) -> None:
    """kill -9 of one of two under load: the other takes over, and every command ends with one effect and one reply."""
    load = Load(system, [f"load-{number}" for number in range(ORDERS_OPEN)])
    await load.open_orders()
    first = await load.lines(COMMANDS // 2)
    rest = asyncio.create_task(load.lines(COMMANDS // 2))
    inbox = await system.answers()
    before = len(inbox.records)
    await eventually(lambda: len(inbox.records) > before + 50, 20, "the load is not served")
    shop.two.signal(signal.SIGKILL)
    ids = first + await rest
    await system.all_served(shop.one)
    await load.answered(ids)
    effects = await check_log(system, "order", await system.commits("orders", "order"))
    assert dict.fromkeys(load.sent, 1) == {id: len(effects[id]) for id in load.sent}
    await check_replies(load, effects)
    replies = [await inbox.answer(id) for id in ids]
    assert {"accepted"} == {reply["status"] for reply in replies}
    status, row, _ = await system.get(
        shop.door, f"/orders/{replies[-1]['aggregate']['id']}", At_Least=replies[-1]["position"], Prefer="wait=30"
    )
    assert (200, "open") == (status, row["status"])


@asynccontextmanager
async def locked(system: System) -> AsyncIterator[None]:
    """Somebody else holds the orders' journal."""
    url = system.journal_url
    if url.startswith("sqlite"):
        file = SqliteAddress.parse(url, system.namespace, "orders").file
        with sqlite3.connect(file, isolation_level=None) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            yield
            somebody.execute("ROLLBACK")
    else:
        schema = PostgresAddress.parse(url, system.namespace, "orders").schema
        async with postgres(url) as somebody, somebody.transaction():
            await somebody.execute(f"LOCK TABLE {schema}.commits IN EXCLUSIVE MODE")
            yield

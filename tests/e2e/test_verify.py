"""`journal verify` on a running system: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import re

import pytest

from streams.open_journal import open_journal
from tests.e2e.client import PARTITIONS
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import ORDERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS_OPEN = 40


async def test_journal_verify(system: System) -> None:
    """Healthy under load and after it: 0. A row deleted: 1, and it says where;
    repaired: 0, and it says what it did. Wrong use: 2."""
    await system.all_served(system.start(ORDERS), system.start(ORDERS))
    load = Load(system, [f"load-{number}" for number in range(ORDERS_OPEN)])
    await load.open_orders()
    enough = asyncio.Event()

    async def keep_loading() -> list[str]:
        ids: list[str] = []
        while not enough.is_set():
            ids += await load.lines(100)
        return ids

    loading = asyncio.create_task(keep_loading())
    for _ in range(3):
        live = await system.run("-A", ORDERS, "journal", "verify", "order")
        assert 0 == live.returncode, live.stdout + live.stderr
    enough.set()
    await load.answered(await loading)
    await load.lines(50)  # their commits say what is derived before them
    await system.covered("orders", "order")

    healthy = await system.run("-A", ORDERS, "journal", "verify", "order")
    assert 0 == healthy.returncode, healthy.stdout
    assert re.fullmatch(
        rf"verified order: \d[\d,]* commits, {len(load.sent):,} events, {ORDERS_OPEN} aggregates, \d+ snapshots in .* s"
        r" \(.* events/s\): 0 disagreements, 0 notes\n",
        healthy.stdout,
    ), healthy.stdout

    journal = open_journal(system.journal_url, system.namespace, "orders")
    await journal.open()
    row = (await journal.events("order", "load-7"))[5]
    await journal.remove_events("order", [row])
    await journal.close()
    for _ in range(2):  # it only reads
        damaged = await system.run("-A", ORDERS, "journal", "verify", "order")
        assert 1 == damaged.returncode
        found = re.match(r"(order-\d):(\d+):(\d+): load-7: row 6 is missing\n", damaged.stdout)
        assert found, damaged.stdout
        assert (row.nr, row.index) == (int(found[2]), int(found[3]))
    partition = found[1].removeprefix("order-")
    elsewhere = str((int(partition) + 1) % PARTITIONS)
    other = await system.run("-A", ORDERS, "journal", "verify", "order", "--partition", elsewhere)
    assert 0 == other.returncode, other.stdout

    repaired = await system.run("-A", ORDERS, "journal", "verify", "order", "--partition", partition, "--repair")
    assert 0 == repaired.returncode, repaired.stdout
    assert "1 disagreements" in repaired.stdout
    assert re.search(
        r"\n  repaired: load-7: commits derived again: 1, rows removed: 0, snapshot dropped\n", repaired.stdout
    )
    assert "0 disagreements" in repaired.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "settings", "why"),
    [
        (["order", "--partition", "4"], {}, "no partition 4: PARTITIONS=4, so they are 0 to 3"),
        (["invoice"], {}, "no aggregate type invoice"),
        (["order"], {"PARTITIONS": "2"}, "belongs to PARTITIONS=4, and here is PARTITIONS=2"),
        (["order"], {"JOURNAL_URL": "cassandra://127.0.0.1:1/test"}, "the journal does not answer"),
        (["order"], {"JOURNAL_URL": "memory://"}, "where the command line cannot look"),
    ],
)
async def test_wrong_use(system: System, arguments: list[str], settings: dict[str, str], why: str) -> None:
    """One line says what is wrong; the exit code is 2, as 1 would mean that the journal is damaged."""
    ended = await system.run("-A", ORDERS, "journal", "verify", *arguments, **settings)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert why in ended.stderr
    assert 1 == len(ended.stderr.splitlines())

"""The console while workers are killed: what it says meanwhile, and that it goes on by itself."""

from __future__ import annotations

import signal

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
NOTICED = 60_000
"""Milliseconds in which Kafka has noticed that a member of a group is gone, and its logs are with others."""


async def test_workers_are_killed(open_tab: OpenTab, system: System) -> None:
    """A worker of orders: its logs go to the other one, and each takeover says from whom. The worker that the page is
    from: what is shown stays, is said to be older, and is new again when a worker is there, without a hand."""
    one, other, door = system.start(ORDERS), system.start(ORDERS), system.start(PROJECTIONS)
    await system.all_served(one, other)
    await system.all_served(door)
    await system.ask("order", "o-1", "OpenOrder", {"user_id": "u-1", "kind": "sale"})
    tab = await open_tab(f"{door.url}/console#/logs")
    tab.expect_wrong("ERR_CONNECTION_REFUSED")
    logs = tab.page.get_by_role("region", name="Logs of orders").get_by_role("row")
    of_one = logs.filter(has_text=f":{one.port}")
    await expect(of_one.first).to_be_visible()
    lost = await of_one.count()
    one.signal(signal.SIGKILL)
    one.end()
    await expect(of_one).to_have_count(0, timeout=NOTICED)
    takeovers = tab.page.get_by_role("region", name="Takeovers of the last hour").get_by_role("row")
    taken = takeovers.filter(has_text=f":{other.port}").filter(has_text=f":{one.port}")
    await expect(taken).to_have_count(lost, timeout=NOTICED)
    await expect(logs.filter(has_text="no owner")).to_have_count(0, timeout=NOTICED)
    await tab.page.goto(f"{door.url}/console#/aggregate/order/o-1")
    await expect(tab.page.locator(".events li")).to_have_count(1)
    door.signal(signal.SIGKILL)
    door.end()
    older = tab.page.get_by_text("What you see is older.")
    await expect(older).to_be_visible(timeout=NOTICED)
    await expect(tab.page.locator(".events li")).to_have_count(1)
    assert [] == await tab.obstacles()
    again = system.start(PROJECTIONS, folder=door.folder, port=door.port)
    await system.all_served(again)
    await system.ask("order", "o-1", "AddLine", {"sku": "tea", "description": "Tea", "quantity": 1, "unit_price": "1"})
    await expect(tab.page.locator(".events li")).to_have_count(2, timeout=NOTICED)
    await expect(older).to_have_count(0)
    tab.wrong[:] = [line for line in tab.wrong if "/figures" not in line]

"""`/docs` in a browser: the page shows the views of a running shop, and asks one of them."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Worker:
    """A worker of projections, over one order."""
    workers = system.start(ORDERS), system.start(PROJECTIONS)
    for worker in workers:
        await system.all_served(worker)
    position = (await system.ask("order", "o-1", "OpenOrder", {"user_id": "u-1", "kind": "sale"}))["position"]
    await system.get(workers[1], "/orders/o-1", At_Least=position, Prefer="wait=30")
    return workers[1]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)], ids=["desk", "phone"])
async def test_an_operation_is_tried(open_tab: OpenTab, shop: Worker, width: int, dark: bool) -> None:
    """All that the page needs it has from the worker, within its policy; what it is told to ask is answered."""
    tab = await open_tab(shop.url + "/docs", width=width, dark=dark)
    await tab.page.locator("#operations-tag-orders").click()
    operation = tab.page.locator(".opblock-get", has=tab.page.locator('[data-path="/orders/{id}"]'))
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_placeholder("id", exact=True).fill("o-1")
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table")).to_contain_text('"user_id": "u-1"')

"""Pages of the console about what people do to a system: what they have ordered, and what failed and is set right."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
HOSTILE = "<img src=x onerror=alert(1)>'\"&%2F?#"
WIDTHS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)], ids=["desk", "phone"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Worker:
    """A worker of projections over orders."""
    orders, door = workers = system.start(ORDERS), system.start(PROJECTIONS)
    for worker in workers:
        await system.all_served(worker)
    assert orders.running
    return door


@WIDTHS
async def test_audit(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """Orders with their outcome, found by what is about them; what was typed is text."""
    for path, body in (("orders/pause", {"reason": HOSTILE}), ("orders/resume", {}), ("nobody/pause", {"reason": "x"})):
        async with system.http.post(f"{shop.url}/projections/{path}", json=body) as response:
            await response.read()
    tab = await open_tab(f"{shop.url}/console#/audit", width=width, dark=dark)
    rows = tab.page.get_by_role("row")
    refused = rows.filter(has_text="nobody")
    await expect(refused.first).to_contain_text("refused")
    await expect(rows.filter(has_text="projections pause").filter(has_text=HOSTILE).first).to_contain_text("accepted")
    await rows.nth(1).get_by_text("Details").click()
    await expect(rows.nth(1)).to_contain_text(PROJECTIONS)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.get_by_label("What").fill("nobody")
    await tab.page.get_by_role("button", name="Show").click()
    await expect(rows.filter(has_text=HOSTILE)).to_have_count(0)
    await expect(refused.first).to_be_visible()
    assert tab.page.url.endswith("?what=nobody")


async def test_older_orders(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """Those behind the first page are one step away, and the newest are one step back."""
    for number in range(55):
        async with system.http.post(f"{shop.url}/projections/orders/resume", json={"reason": f"n-{number}"}) as answer:
            await answer.read()
    tab = await open_tab(f"{shop.url}/console#/audit?what=resume")
    await expect(tab.page.get_by_text("n-54", exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name="Older").click()
    await expect(tab.page.get_by_text("n-0", exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name="Newest").click()
    await expect(tab.page.get_by_text("n-54", exact=True)).to_be_visible()
